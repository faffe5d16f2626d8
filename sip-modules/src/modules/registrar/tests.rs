use super::*;
use crate::location::{SaveRules, StoreSettings};
use crate::modules::sl::wire::{Wire, reply, request};
use crate::proxy::{ExtraBranch, PathMode, ProxySettings, RegistrarSettings};

const TABLE: &str = "location";

/// A REGISTER for Bob with more header lines.
fn register(cseq: u32, more: &str) -> String {
    request("REGISTER", "sip:example.org", more)
        .replace("CSeq: 1 ", &format!("CSeq: {cseq} "))
        .replace("<sip:bob@example.org>", "<sip:Bob@example.org>")
}

fn contact(value: &str) -> String {
    format!("Contact: {value}\r\n")
}

fn with(registrar: RegistrarSettings) -> Wire {
    Wire::with(ProxySettings { registrar, ..ProxySettings::default() }, &register(1, ""))
}

/// Saves and returns the code and the answer.
fn save_it(wire: &mut Wire, text: &str) -> (i64, String) {
    wire.receive(text);
    let code = save(&mut wire.cx, TABLE, 0);
    (code, wire.sent().unwrap())
}

fn invite(wire: &mut Wire, uri: &str) {
    wire.receive(&request("INVITE", uri, ""));
}

fn text_of(value: &Option<Vec<u8>>) -> Option<&str> {
    value.as_deref().map(|bytes| std::str::from_utf8(bytes).unwrap())
}

#[test]
fn each_kind_of_register_has_its_code_and_lists_the_bindings() {
    let mut wire = with(RegistrarSettings::default());
    for (rule, text, code, line) in [
        ("query", register(1, ""), 4, None),
        ("insert", register(2, &contact("<sip:b@10.0.0.1>;q=0.50")), 1, Some("<sip:b@10.0.0.1>;q=0.5;expires=3600")),
        ("again", register(2, &contact("<sip:b@10.0.0.1>;q=0.50")), 1, Some("<sip:b@10.0.0.1>;q=0.5;expires=3600")),
        ("update", register(3, &contact("sip:b@10.0.0.1;expires=600")), 2, Some("<sip:b@10.0.0.1>;expires=600")),
        ("equivalent", register(4, &contact("<SIP:%62@10.0.0.1:>")), 2, Some("<SIP:%62@10.0.0.1:>;expires=3600")),
        (
            "a second one",
            register(5, &contact("<sip:b@10.0.0.2>;q=1")),
            1,
            Some("<sip:b@10.0.0.2>;q=1;expires=3600, <SIP:%62@10.0.0.1:>;expires=3600"),
        ),
        (
            "query again",
            register(6, ""),
            4,
            Some("<sip:b@10.0.0.2>;q=1;expires=3600, <SIP:%62@10.0.0.1:>;expires=3600"),
        ),
        ("remove", register(7, &contact("<sip:b@10.0.0.2>;expires=0")), 3, Some("<SIP:%62@10.0.0.1:>;expires=3600")),
        ("remove all", register(8, "Contact: *\r\nExpires: 0\r\n"), 3, None),
    ] {
        let (result, answer) = save_it(&mut wire, &text);
        assert_eq!(result, code, "{rule}");
        assert!(answer.starts_with("SIP/2.0 200 OK\r\n"), "{rule}: {answer}");
        let found = answer.lines().find_map(|line| line.strip_prefix("Contact: "));
        assert_eq!(found, line, "{rule}");
        assert!(wire.cx.msg.final_reply && wire.cx.msg.reply_headers.is_empty());
    }
}

#[test]
fn the_expiry_is_the_contacts_or_the_headers_within_the_limits() {
    for (lines, expires) in [
        (contact("<sip:b@h>"), 3600),
        (contact("<sip:b@h>") + "Expires: 700\r\n", 700),
        (contact("<sip:b@h>;expires=800") + "Expires: 700\r\n", 800),
        (contact("<sip:b@h>;expires=\"800\""), 800),
        (contact("<sip:b@h>;expires=5"), 60),
        (contact("<sip:b@h>;expires=99999"), 3600),
        (contact("<sip:b@h>;expires=soon") + "Expires: 700\r\n", 3600),
        (contact("<sip:b@h>") + "Expires: soon\r\n", 3600),
    ] {
        let mut wire = with(RegistrarSettings::default());
        let (_, answer) = save_it(&mut wire, &register(1, &lines));
        assert!(answer.contains(&format!("<sip:b@h>;expires={expires}\r\n")), "{lines}: {answer}");
    }
}

/// The value of a header of an answer.
fn header<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    answer.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

#[test]
fn a_refusal_says_why() {
    let bound = contact("<sip:b@10.0.0.1>");
    let long = contact(&format!("<sip:{}@h>", "b".repeat(255)));
    let instance = |value: &str| contact(&format!("<sip:b@h>;+sip.instance=\"{value}\""));
    let listed = Some("<sip:b@10.0.0.1>;expires=3600");
    for (text, reason, list) in [
        (register(4, &bound), "Invalid CSeq number", listed),
        (register(6, "Contact: *\r\n"), "* used in contact and expires is not zero", None),
        (register(6, &contact("*, <sip:b@h>")), "* used in contact and more than 1 contact", None),
        (register(6, "").replace("<sip:Bob@example.org>", "<http://h>"), "Error while parsing AOR", None),
        (register(6, &contact("<sip:b@h>;q=2")), "Invalid q param in contact", listed),
        (register(6, &contact("<sip:b@h>;q=0.1234")), "Invalid q param in contact", listed),
        (register(6, &contact("<sip:b@>")), "Contact parse error", None),
        (register(6, &contact("<sip:b b@h>")), "Contact parse error", None),
        (register(6, &contact("<sip:b\\@h>")), "Contact parse error", None),
        (register(6, &contact("<sip:b@h")), "Contact parse error", None),
        (register(6, &contact("<sip:b@h> <sip:c@h>")), "Contact parse error", None),
        (register(6, &contact("<sip:b@h>q=1")), "Contact parse error", None),
        (register(6, "Contact:\r\n"), "Contact parse error", None),
        (register(6, "Contact: ,\r\n"), "Contact parse error", None),
        (register(6, &(contact("<sip:b@h>") + "m:\r\n")), "Contact parse error", None),
        (register(6, &long), "Contact/received too long", None),
        (register(6, &contact(&format!("<sip:b@h>{}", ";a".repeat(65)))), "Contact parse error", None),
        (register(6, &instance(&"i".repeat(256))), "Contact/received too long", None),
        (register(6, &instance("a\\\"b")), "Contact parse error", None),
        (register(6, &(instance("i").replace("\r\n", ";reg-id=0\r\n"))), "Invalid Reg-Id number", None),
        (register(6, &(instance("i").replace("\r\n", ";reg-id=x\r\n"))), "Invalid Reg-Id number", None),
        (register(6, &bound).replace("Call-ID: c1", &format!("Call-ID: {}", "c".repeat(256))), "Callid too long", None),
        // What the core leaves to a script's sanity_check, for a script that has none.
        (register(6, &bound).replace("Length: 0", "Length: 1"), "Message is cut off or faulty", None),
        (register(6, &bound).replace("\r\n\r\n", "\r\n"), "Message is cut off or faulty", None),
        (register(6, &bound).replace("CSeq: 6 ", "CSeq: 4294967296 "), "Message is cut off or faulty", None),
    ] {
        let mut wire = with(RegistrarSettings::default());
        assert_eq!(save_it(&mut wire, &register(5, &bound)).0, 1);
        let (code, answer) = save_it(&mut wire, &text);
        assert_eq!(code, -1, "{text}");
        assert!(answer.starts_with("SIP/2.0 400 Bad Request\r\n"), "{text}{answer}");
        assert_eq!(header(&answer, "P-Registrar-Error"), Some(reason), "{text}");
        assert_eq!(header(&answer, "Contact"), list, "{text}");
        // Nothing has changed.
        let (_, answer) = save_it(&mut wire, &register(9, ""));
        assert_eq!(header(&answer, "Contact"), listed, "{text}");
    }
}

#[test]
fn too_many_contacts_are_a_503() {
    let rules = SaveRules { max_contacts: 1, ..SaveRules::default() };
    for (retry_after, line) in [(0, None), (30, Some("30"))] {
        let mut wire = with(RegistrarSettings { rules, retry_after, ..RegistrarSettings::default() });
        assert_eq!(save_it(&mut wire, &register(1, &contact("<sip:b@10.0.0.1>"))).0, 1);
        let (code, answer) = save_it(&mut wire, &register(2, &contact("<sip:b@10.0.0.2>")));
        assert_eq!(code, -2);
        assert!(answer.starts_with("SIP/2.0 503 Service Unavailable\r\n"), "{answer}");
        assert_eq!(header(&answer, "P-Registrar-Error"), Some("Too many registered contacts"));
        assert_eq!(header(&answer, "Contact"), Some("<sip:b@10.0.0.1>;expires=3600"));
        assert_eq!(header(&answer, "Retry-After"), line);
    }
}

#[test]
fn a_full_store_says_when_to_try_again() {
    let store = StoreSettings { max_records: 1, ..StoreSettings::default() };
    let mut wire = with(RegistrarSettings { store, ..RegistrarSettings::default() });
    let bound = contact("<sip:b@10.0.0.1>");
    assert_eq!(save_it(&mut wire, &register(1, &bound)).0, 1);
    let (code, answer) = save_it(&mut wire, &register(2, &bound).replace("Bob@", "Carol@"));
    assert_eq!(code, -2);
    assert!(answer.starts_with("SIP/2.0 503 Service Unavailable\r\n"), "{answer}");
    assert_eq!(header(&answer, "Retry-After"), Some("10"));
    assert_eq!(save_it(&mut wire, &register(3, &bound)).0, 2);
    assert_eq!(save_it(&mut wire, &register(4, &contact("<sip:b@10.0.0.1>;expires=0"))).0, 3);
    assert_eq!(save_it(&mut wire, &register(2, &bound).replace("Bob@", "Carol@")).0, 1);
}

#[test]
fn flags_silence_the_answer_or_replace_all_contacts_and_others_do_nothing() {
    let mut wire = with(RegistrarSettings::default());
    wire.receive(&register(1, &contact("<sip:b@10.0.0.1>")));
    assert_eq!(save(&mut wire.cx, TABLE, 0x02 | 0x01), 1);
    assert_eq!(wire.sent(), None);
    assert_eq!(registered_uri(&wire.cx, TABLE, b"sip:bob@x"), 1);
    for (cseq, (flags, code, list)) in [
        (0x08, 1, "<sip:b@10.0.0.1>;expires=3600, <sip:b0@h>;expires=3600"),
        (0x04, 1, "<sip:b1@h>;expires=3600"),
        (0x10, 1, "<sip:b1@h>;expires=3600, <sip:b2@h>;expires=3600"),
        (0x7fff_ffe0, 1, "<sip:b1@h>;expires=3600, <sip:b2@h>;expires=3600, <sip:b3@h>;expires=3600"),
        (!0x02, 1, "<sip:b4@h>;expires=3600"),
    ]
    .into_iter()
    .enumerate()
    {
        wire.receive(&register(cseq as u32 + 2, &contact(&format!("<sip:b{cseq}@h>"))));
        assert_eq!(save(&mut wire.cx, TABLE, flags), code, "{flags:#x}");
        assert_eq!(header(&wire.sent().unwrap(), "Contact"), Some(list), "{flags:#x}");
    }
    wire.receive(&reply("200 OK", "REGISTER", &contact("<sip:b@10.0.0.2>")));
    assert_eq!(save(&mut wire.cx, TABLE, 0), -1);
}

#[test]
fn contacts_with_one_address_written_in_two_ways_are_one() {
    for (first, second, count) in [
        ("<sip:b@[2001:db8::1]:5070>", "<sip:b@[2001:DB8:0:0::1]:5070>", 1),
        ("<sip:b@H;a=1;b=2>", "<sip:%62@h;B=2;A=1>", 1),
        ("<sip:b@h>", "<sip:b@h:5060>", 2),
        ("<sip:b@h>", "<sips:b@h>", 2),
        ("<sip:b@h>", "<sip:b@h;line=2>", 2),
        ("<sip:b@h;line=1>", "<sip:b@h;line=2>", 2),
        ("<sip:b@h>", "<sip:B@h>", 2),
    ] {
        let mut wire = with(RegistrarSettings::default());
        save_it(&mut wire, &register(1, &contact(first)));
        let (code, answer) = save_it(&mut wire, &register(2, &contact(second)));
        assert_eq!(code, if count == 1 { 2 } else { 1 }, "{first} {second}");
        assert_eq!(answer.matches(";expires=").count(), count, "{first} {second}");
    }
}

#[test]
fn the_answer_names_all_that_identifies_a_contact_and_the_date() {
    let mut wire = with(RegistrarSettings::default());
    let flow = contact("<sip:b@10.0.0.1>;reg-id=7;q=0.5;+sip.instance=\"<urn:uuid:1>\"");
    let (_, answer) = save_it(&mut wire, &register(1, &flow));
    let expected = "<sip:b@10.0.0.1>;q=0.5;expires=3600;+sip.instance=\"<urn:uuid:1>\";reg-id=7";
    assert_eq!(header(&answer, "Contact"), Some(expected));
    let date = header(&answer, "Date").unwrap();
    assert!(date.ends_with(" GMT") && date.len() == "Sat, 13 Nov 2010 23:29:00 GMT".len(), "{date}");
    assert_eq!(header(&answer, "Require"), None);
    // A reg-id without an instance says nothing.
    let (_, answer) = save_it(&mut wire, &register(2, &contact("<sip:c@h>;reg-id=0")));
    assert_eq!(header(&answer, "Contact"), Some(&*format!("{expected}, <sip:c@h>;expires=3600")));
}

#[test]
fn outbound_is_promised_where_the_flow_was_obeyed_and_is_kept() {
    let flow = contact("<sip:b@10.0.0.1>;reg-id=1;+sip.instance=\"<urn:uuid:1>\"");
    let plain = contact("<sip:b@10.0.0.1>");
    let supported = "Supported: path, outbound\r\n";
    let behind = "Via: SIP/2.0/UDP 10.0.0.9;branch=z9hG4bK9\r\n";
    let with_ob = "Path: <sip:10.0.0.9;lr;ob>\r\n";
    let without_ob = "Path: <sip:10.0.0.9;lr>\r\n";
    for (use_path, lines, promised) in [
        (false, [&flow, supported].concat(), true),
        (false, [&flow, "Require: outbound\r\n", supported].concat(), true),
        (false, flow.clone(), false),
        (false, [&plain, supported].concat(), false),
        (false, [&flow, supported, behind].concat(), false),
        (false, [&flow, supported, behind, with_ob].concat(), true),
        (false, [&flow, supported, behind, without_ob].concat(), false),
        (true, [&flow, supported, behind, with_ob].concat(), true),
        (true, [&flow, supported, behind, without_ob].concat(), false),
    ] {
        let mut wire = with(RegistrarSettings { use_path, ..RegistrarSettings::default() });
        let (code, answer) = save_it(&mut wire, &register(1, &lines));
        assert_eq!((code, header(&answer, "Require")), (1, promised.then_some("outbound")), "{lines}");
    }
}

#[test]
fn an_instance_moves_whether_or_not_the_phone_supports_outbound() {
    let first = contact("<sip:b@10.0.0.1>;+sip.instance=\"<urn:uuid:1>\";reg-id=1");
    for supported in ["Supported: path, outbound\r\n", ""] {
        for first in [first.clone(), first.replace(";reg-id=1", "")] {
            let second = first.replace("10.0.0.1", "10.0.0.2");
            let mut wire = with(RegistrarSettings::default());
            assert_eq!(save_it(&mut wire, &register(1, &(first + supported))).0, 1);
            let (code, answer) = save_it(&mut wire, &register(2, &(second + supported)));
            assert_eq!((code, answer.matches("<sip:b@10.0.0.").count()), (2, 1), "{answer}");
        }
    }
}

#[test]
fn an_answer_is_a_few_times_longer_than_its_request_at_most() {
    let mut wire = with(RegistrarSettings::default());
    let long = |n: usize| format!("<sip:b@10.0.0.1;n={n};{}>", "x".repeat(200));
    for batch in 0..10 {
        let contacts: Vec<_> = (0..10).map(|n| long(batch * 10 + n)).collect();
        let text = register(batch as u32 + 1, &contact(&contacts.join(", ")));
        let (code, answer) = save_it(&mut wire, &text);
        assert_eq!(code, 1);
        // What the request itself has set is listed.
        assert!(contacts.iter().all(|contact| answer.contains(contact)), "{answer}");
    }
    let query = register(99, "");
    for text in [query.clone(), query.replace("c1", &"c".repeat(500)), register(3, &contact(&long(5)))] {
        let (_, answer) = save_it(&mut wire, &text);
        assert!(answer.len() <= 9 * text.len(), "{} for {}", answer.len(), text.len());
        assert!(answer.contains(&long(0)) || answer.contains(&long(5)), "{answer}");
    }
}

#[test]
fn an_ordinary_list_is_whole() {
    let mut wire = with(RegistrarSettings::default());
    let contacts: Vec<_> = (0..30).map(|n| format!("<sip:device{n}@192.0.2.{n}:5060>")).collect();
    assert_eq!(save_it(&mut wire, &register(1, &contact(&contacts.join(", ")))).0, 1);
    let (_, answer) = save_it(&mut wire, &register(2, ""));
    assert_eq!(answer.matches("<sip:device").count(), 30, "{answer}");
}

#[test]
fn what_is_kept_of_a_request_is_bounded() {
    let mut wire = with(RegistrarSettings::default());
    let agent = format!("User-Agent: {}\r\n", "x".repeat(60_000));
    assert_eq!(save_it(&mut wire, &register(1, &(contact("<sip:b@h>") + &agent))).0, 1);
    let stats = wire.cx.shared.location.stats(TABLE).unwrap();
    assert!(stats.bytes < 1000, "{stats:?}");
}

#[test]
fn a_gruu_leads_to_its_phone() {
    let instance = |n: u32| format!(";+sip.instance=\"<urn:uuid:{n}>\"");
    let lines = contact(&format!("<sip:b@10.0.0.1>{}, <sip:b@10.0.0.2>{}, <sip:b@10.0.0.3>", instance(1), instance(2)));
    let text = register(1, &(lines + "Supported: gruu\r\n"));
    let mut wire = with(RegistrarSettings::default());
    let (_, answer) = save_it(&mut wire, &text);
    let gruus = |answer: &str, name: &str| -> Vec<String> {
        let name = format!(";{name}=\"");
        answer.split(&name).skip(1).map(|rest| rest.split('"').next().unwrap().to_owned()).collect()
    };
    let public = gruus(&answer, "pub-gruu");
    assert_eq!(public, ["sip:Bob@example.org;gr=urn:uuid:1", "sip:Bob@example.org;gr=urn:uuid:2"]);
    let temporary = gruus(&answer, "temp-gruu");
    assert!(temporary.iter().all(|uri| uri.starts_with("sip:uloc-") && uri.ends_with("@example.org;gr")), "{answer}");
    for uris in [&public, &temporary] {
        for (uri, contact) in uris.iter().zip(["sip:b@10.0.0.1", "sip:b@10.0.0.2"]) {
            invite(&mut wire, uri);
            assert_eq!(lookup(&mut wire.cx, TABLE), 1, "{uri}");
            assert_eq!((text_of(&wire.cx.msg.new_ruri), wire.cx.msg.branches.len()), (Some(contact), 0), "{uri}");
        }
    }
    let other = format!("sip:uloc-1{}", temporary[0].strip_prefix("sip:uloc-").unwrap());
    for (uri, code) in [
        ("sip:bob@example.org;gr=urn:uuid:3", -1),
        (&*other, -1),
        ("sip:bob@example.org;gr", -3),
        ("sip:uloc-x-y@example.org;gr", -3),
    ] {
        invite(&mut wire, uri);
        assert_eq!(lookup(&mut wire.cx, TABLE), code, "{uri}");
    }
    // Who does not ask for them gets none, and neither does anybody if they are switched off.
    let (_, answer) = save_it(&mut wire, &register(2, ""));
    assert!(!answer.contains("gruu"), "{answer}");
    let mut wire = with(RegistrarSettings { gruu: false, ..RegistrarSettings::default() });
    assert!(!save_it(&mut wire, &text).1.contains("gruu="));
    invite(&mut wire, &public[0]);
    assert_eq!((lookup(&mut wire.cx, TABLE), wire.cx.msg.branches.len()), (1, 2));
}

#[test]
fn a_gruu_is_made_of_what_may_stand_in_one() {
    let instance = |text: &str| contact(&format!("<sip:b@h>;+sip.instance=\"{text}\"")) + "Supported: gruu\r\n";
    for (text, public) in [
        (register(1, &instance("<urn:gsma:imei:1-2>")), Some("\"sip:Bob@example.org;gr=urn:gsma:imei:1-2\"")),
        (register(1, &instance("a b;c")), None),
        (
            register(1, &instance("i")).replace("sip:Bob@example.org", "sips:b%20b:p@[::1]:5071;x?y"),
            Some("\"sips:b%20b@[::1]:5071;gr=i\""),
        ),
        (register(1, &instance("i")).replace("<sip:Bob@", "<sip:B\"b@"), None),
        (register(1, &instance("i")).replace("<sip:Bob@", "<sip:"), None),
    ] {
        let mut wire = with(RegistrarSettings::default());
        let (code, answer) = save_it(&mut wire, &text);
        let found = answer.split(";pub-gruu=").nth(1).and_then(|rest| rest.split(";temp-gruu").next());
        assert_eq!((code, found), (1, public), "{text}");
    }
}

#[test]
fn the_source_of_a_register_is_where_its_requests_go() {
    let settings = RegistrarSettings { received_avp: Some(b"RECEIVED".to_vec()), ..RegistrarSettings::default() };
    let long = format!("sip:{}", "h".repeat(300));
    for (avp, code, received) in [
        (None, 1, None),
        (Some("sip:198.51.100.7:4000"), 1, Some("sip:198.51.100.7:4000")),
        (Some("198.51.100.7"), 1, None),
        (Some("sip:h\r\nX: y"), 1, None),
        (Some("sip:h\";x=\""), 1, None),
        (Some(&*long), -1, None),
    ] {
        let mut wire = with(settings.clone());
        wire.receive(&register(1, &contact("<sip:b@10.0.0.1>")));
        if let Some(avp) = avp {
            assert!(wire.cx.msg.avps.push(b"RECEIVED", avp.into()));
        }
        assert_eq!(save(&mut wire.cx, TABLE, 0), code, "{avp:?}");
        let answer = wire.sent().unwrap();
        let shown = received.map(|uri| format!(";received=\"{uri}\""));
        assert!(shown.as_deref().is_none_or(|shown| answer.contains(shown)), "{answer}");
        assert_eq!(answer.contains("received=\""), received.is_some(), "{answer}");
        invite(&mut wire, "sip:bob@example.org");
        lookup(&mut wire.cx, TABLE);
        assert_eq!(text_of(&wire.cx.msg.dst_uri), received);
    }
}

#[test]
fn an_address_without_a_user_is_its_host() {
    let mut wire = with(RegistrarSettings::default());
    let (code, _) = save_it(&mut wire, &register(1, &contact("<sip:b@10.0.0.1>")).replace("Bob@", ""));
    assert_eq!(code, 1);
    invite(&mut wire, "sip:EXAMPLE.org:5070");
    assert_eq!(lookup(&mut wire.cx, TABLE), 1);
    assert_eq!(text_of(&wire.cx.msg.new_ruri), Some("sip:b@10.0.0.1"));
}

#[test]
fn the_address_of_record_may_be_given() {
    let mut wire = with(RegistrarSettings::default());
    wire.receive(&register(1, &contact("<sip:b@10.0.0.1>")));
    assert_eq!(save_uri(&mut wire.cx, TABLE, 0, b"sip:carol@example.org"), 1);
    assert_eq!(registered_uri(&wire.cx, TABLE, b"sip:carol@example.org"), 1);
    assert_eq!(registered_uri(&wire.cx, TABLE, b"sip:bob@example.org"), -1);
    invite(&mut wire, "sip:nobody@example.org");
    assert_eq!(lookup(&mut wire.cx, TABLE), -1);
    assert_eq!(lookup_uri(&mut wire.cx, TABLE, b"sip:Carol@x"), 1);
    assert_eq!(text_of(&wire.cx.msg.new_ruri), Some("sip:b@10.0.0.1"));
}

#[test]
fn lookup_makes_the_best_contact_the_destination_and_the_others_branches() {
    let mut wire = with(RegistrarSettings::default());
    let lines = contact("<sip:b@10.0.0.1>;q=0.1, <sip:b@10.0.0.2>;q=0.9");
    wire.receive(&register(1, &lines));
    wire.cx.msg.branch_flags = 1 << 6;
    wire.cx.msg.socket = 1;
    assert_eq!(save(&mut wire.cx, TABLE, 0), 1);

    invite(&mut wire, "sip:BOB@example.org");
    wire.cx.msg.branch_flags = 1 << 2;
    wire.cx.msg.dst_uri = Some(b"sip:elsewhere".to_vec());
    assert_eq!(lookup(&mut wire.cx, TABLE), 1);
    let msg = &wire.cx.msg;
    assert_eq!(text_of(&msg.new_ruri), Some("sip:b@10.0.0.2"));
    assert_eq!(msg.dst_uri, None);
    assert_eq!(msg.branch_flags, 1 << 6 | 1 << 2);
    assert_eq!(msg.send_socket, Some(1));
    let other =
        ExtraBranch { ruri: b"sip:b@10.0.0.1".to_vec(), flags: 1 << 6, send_socket: Some(1), ..ExtraBranch::default() };
    assert_eq!(msg.branches, [other]);
}

#[test]
fn lookup_without_branches_and_with_too_many() {
    let many: Vec<_> = (0..15).map(|n| format!("<sip:b@10.0.0.{n}>")).collect();
    for (append_branches, expected) in [(true, 11), (false, 0)] {
        let mut wire = with(RegistrarSettings { append_branches, ..RegistrarSettings::default() });
        assert_eq!(save_it(&mut wire, &register(1, &contact(&many.join(", ")))).0, 1);
        invite(&mut wire, "sip:bob@example.org");
        assert_eq!(lookup(&mut wire.cx, TABLE), 1);
        assert_eq!(wire.cx.msg.branches.len(), expected);
    }
}

#[test]
fn lookup_without_contact_or_user() {
    let mut wire = with(RegistrarSettings::default());
    for (uri, code) in [("sip:bob@example.org", -1), ("sip:example.org", -1), ("http://h", -3)] {
        invite(&mut wire, uri);
        assert_eq!(lookup(&mut wire.cx, TABLE), code, "{uri}");
        assert_eq!(wire.cx.msg.new_ruri, None);
    }
    wire.receive(&reply("200 OK", "INVITE", ""));
    assert_eq!(lookup(&mut wire.cx, TABLE), -3);
}

#[test]
fn methods_are_filtered_for_requests_that_start_a_dialog() {
    let filtering = RegistrarSettings { method_filtering: true, ..RegistrarSettings::default() };
    for (lines, invites, messages) in [
        (contact("<sip:b@10.0.0.1>"), 1, 1),
        (contact("<sip:b@10.0.0.1>") + "Allow: INVITE, ACK\r\n", 1, -2),
        (contact("<sip:b@10.0.0.1>;methods=\"MESSAGE,OPTIONS\"") + "Allow: INVITE\r\n", -2, 1),
    ] {
        let mut wire = with(filtering.clone());
        assert_eq!(save_it(&mut wire, &register(1, &lines)).0, 1);
        for (method, code) in [("INVITE", invites), ("MESSAGE", messages)] {
            let text = request(method, "sip:bob@example.org", "");
            wire.receive(&text);
            assert_eq!(lookup(&mut wire.cx, TABLE), code, "{lines} {method}");
            wire.receive(&text.replace("bob@example.org>", "bob@example.org>;tag=t"));
            assert_eq!(lookup(&mut wire.cx, TABLE), 1, "{lines} {method}");
        }
    }
    let mut wire = with(RegistrarSettings::default());
    assert_eq!(save_it(&mut wire, &register(1, &(contact("<sip:b@10.0.0.1>") + "Allow: BYE\r\n"))).0, 1);
    invite(&mut wire, "sip:bob@example.org");
    assert_eq!(lookup(&mut wire.cx, TABLE), 1);
}

#[test]
fn a_path_counts_if_the_settings_and_the_phone_say_so() {
    let path = "<sip:10.9.9.1;lr>, <sip:10.9.9.2;lr>";
    let lines = format!("{}Path: {path}\r\n", contact("<sip:b@10.0.0.1>"));
    let supported = "Supported: gruu, path\r\n";
    for (use_path, path_mode, supported, code, answered, used) in [
        (false, PathMode::Strict, supported, 1, false, false),
        (false, PathMode::Strict, "", 1, false, false),
        (true, PathMode::Strict, supported, 1, true, true),
        (true, PathMode::Strict, "", -1, true, false),
        (true, PathMode::Lazy, supported, 1, true, true),
        (true, PathMode::Lazy, "", 1, false, true),
        (true, PathMode::Off, supported, 1, false, true),
    ] {
        let rule = format!("{use_path} {path_mode:?} {supported}");
        let mut wire = with(RegistrarSettings { use_path, path_mode, ..RegistrarSettings::default() });
        let (result, answer) = save_it(&mut wire, &register(1, &(lines.clone() + supported)));
        assert_eq!(result, code, "{rule}");
        assert_eq!(header(&answer, "Path"), answered.then_some(path), "{rule}");
        if code < 0 {
            assert!(answer.starts_with("SIP/2.0 420 Bad Extension\r\n"), "{answer}");
            assert_eq!(header(&answer, "Unsupported"), Some("path"));
            assert_eq!(header(&answer, "P-Registrar-Error"), Some("No support for found Path indicated"));
            continue;
        }
        invite(&mut wire, "sip:bob@example.org");
        assert_eq!(lookup(&mut wire.cx, TABLE), 1);
        let msg = &wire.cx.msg;
        let expected = if used { (Some("sip:10.9.9.1;lr"), Some(path)) } else { (None, None) };
        assert_eq!((text_of(&msg.dst_uri), text_of(&msg.path)), expected, "{rule}");
    }
}

#[test]
fn a_path_whose_first_proxy_keeps_the_flow_counts_in_any_case() {
    for (path, supported, used) in [
        ("<sip:10.9.9.1;lr;ob>, <sip:10.9.9.2;lr>", "Supported: path\r\n", true),
        ("<sip:10.9.9.1;lr;ob>", "", false),
        ("<sip:10.9.9.1;lr>, <sip:10.9.9.2;lr;ob>", "Supported: path\r\n", false),
    ] {
        let mut wire = with(RegistrarSettings::default());
        let lines = format!("{}Path: {path}\r\n{supported}", contact("<sip:b@10.0.0.1>"));
        let (result, answer) = save_it(&mut wire, &register(1, &lines));
        assert_eq!((result, header(&answer, "Path")), (1, used.then_some(path)));
        invite(&mut wire, "sip:bob@example.org");
        assert_eq!(lookup(&mut wire.cx, TABLE), 1);
        assert_eq!(text_of(&wire.cx.msg.dst_uri), used.then_some("sip:10.9.9.1;lr;ob"), "{path} {supported}");
    }
}

#[test]
fn a_path_that_cannot_be_followed_is_refused_and_this_proxy_is_left_out_of_it() {
    let settings = RegistrarSettings {
        use_path: true,
        path_use_received: true,
        nat_flags: 1 << 6,
        ..RegistrarSettings::default()
    };
    let long = format!("<sip:{}>", "h".repeat(1100));
    for path in ["<nonsense>", "<sip:h", &long] {
        let mut wire = with(settings.clone());
        let lines = format!("{}Path: {path}\r\nSupported: path\r\n", contact("<sip:b@10.0.0.1>"));
        let (code, answer) = save_it(&mut wire, &register(1, &lines));
        assert_eq!((code, header(&answer, "P-Registrar-Error")), (-1, Some("Path parse error")));
    }
    for (path, proxy, rest, flags) in [
        ("<sip:127.0.0.1:5060;lr>", None, None, 0),
        ("<sip:127.0.0.1:5060;lr>, <sip:10.9.9.2;lr>", Some("sip:10.9.9.2;lr"), Some("<sip:10.9.9.2;lr>"), 0),
        ("<sip:example.org;lr>,<sip:h>,<sip:i>", Some("sip:h"), Some("<sip:h>, <sip:i>"), 0),
        (
            "<sip:127.0.0.1:5060;lr;received=sip:198.51.100.7:4000%3Btransport%3Dudp>",
            Some("sip:198.51.100.7:4000;transport=udp"),
            None,
            1 << 6,
        ),
        ("<sip:127.0.0.1:5060;lr;received=sip:h%0D%0AX:y>", None, None, 0),
    ] {
        let mut wire = with(settings.clone());
        let lines = format!("{}Path: {path}\r\nSupported: path\r\n", contact("<sip:b@10.0.0.1>"));
        assert_eq!(save_it(&mut wire, &register(1, &lines)).0, 1, "{path}");
        invite(&mut wire, "sip:bob@example.org");
        assert_eq!(lookup(&mut wire.cx, TABLE), 1);
        let msg = &wire.cx.msg;
        assert_eq!((text_of(&msg.dst_uri), text_of(&msg.path), msg.branch_flags), (proxy, rest, flags), "{path}");
    }
}

#[test]
fn registered_and_unregister() {
    let mut wire = with(RegistrarSettings::default());
    assert_eq!(unregister(&mut wire.cx, TABLE, b"sip:bob@example.org"), -3);
    assert_eq!(save_it(&mut wire, &register(1, &contact("<sip:b@10.0.0.1>"))).0, 1);
    for (uri, code) in [("sip:bob@example.org", 1), ("sip:carol@example.org", -1), ("sip:example.org", -1)] {
        invite(&mut wire, uri);
        assert_eq!(registered(&wire.cx, TABLE), code, "{uri}");
        assert_eq!(registered_uri(&wire.cx, TABLE, uri.as_bytes()), code, "{uri}");
    }
    invite(&mut wire, "sip:bob@example.org");
    assert_eq!(registered(&wire.cx, "another"), -1);
    wire.receive(&reply("200 OK", "INVITE", ""));
    assert_eq!(registered(&wire.cx, TABLE), 1);
    assert_eq!(unregister(&mut wire.cx, TABLE, b"nonsense"), -1);
    assert_eq!(unregister(&mut wire.cx, TABLE, b"sip:BOB@example.org"), 1);
    assert_eq!(registered(&wire.cx, TABLE), -1);
}

#[test]
fn the_clock_of_registrations_is_not_that_of_the_day() {
    let wire = with(RegistrarSettings::default());
    // It begins with the proxy, so nobody can have set it.
    assert!(wire.cx.shared.registrar_now() < 60);
    assert!(wire.cx.shared.unix_now() > 60);
}
