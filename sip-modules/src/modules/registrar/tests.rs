use super::*;
use crate::location::SaveRules;
use crate::modules::sl::wire::{Wire, reply, request};
use crate::proxy::{ExtraBranch, ProxySettings, RegistrarSettings};

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
    let code = save(&mut wire.cx, TABLE, 0).unwrap();
    (code, wire.sent().unwrap())
}

fn invite(wire: &mut Wire, uri: &str) {
    wire.receive(&request("INVITE", uri, ""));
}

fn text(value: &Option<Vec<u8>>) -> Option<&str> {
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

#[test]
fn a_refusal_says_why() {
    let bound = contact("<sip:b@10.0.0.1>");
    let long = contact(&format!("<sip:{}@h>", "b".repeat(255)));
    for (text, status, line) in [
        (register(4, &bound), "400 Bad Request", "P-Registrar-Error: Invalid CSeq number"),
        (
            register(6, "Contact: *\r\n"),
            "400 Bad Request",
            "P-Registrar-Error: * used in contact and expires is not zero",
        ),
        (register(6, "").replace("Bob@", ""), "400 Bad Request", "P-Registrar-Error: No username in To URI"),
        (
            register(6, &contact("<sip:b@h>;q=2")),
            "400 Bad Request",
            "P-Registrar-Error: Invalid q parameter in Contact",
        ),
        (
            register(6, &contact("<sip:b@h>;q=0.1234")),
            "400 Bad Request",
            "P-Registrar-Error: Invalid q parameter in Contact",
        ),
        (register(6, &contact("<sip:b@>")), "400 Bad Request", "P-Registrar-Error: Contact URI cannot be read"),
        (register(6, &contact("<sip:b b@h>")), "400 Bad Request", "P-Registrar-Error: Contact URI cannot be read"),
        (register(6, &contact("<sip:b@h")), "400 Bad Request", "P-Registrar-Error: Contact header cannot be read"),
        (register(6, &long), "400 Bad Request", "P-Registrar-Error: Contact is too long"),
        (register(6, &(bound.clone() + "Require: outbound\r\n")), "420 Bad Extension", "Unsupported: outbound"),
    ] {
        let mut wire = with(RegistrarSettings::default());
        assert_eq!(save_it(&mut wire, &register(5, &bound)).0, 1);
        let (code, answer) = save_it(&mut wire, &text);
        assert_eq!(code, -1, "{line}");
        assert!(answer.starts_with(&format!("SIP/2.0 {status}\r\n")), "{answer}");
        assert!(answer.contains(&format!("\r\n{line}\r\n")), "{answer}");
        // Nothing has changed.
        let (_, answer) = save_it(&mut wire, &register(9, ""));
        assert!(answer.contains("\r\nContact: <sip:b@10.0.0.1>;expires=3600\r\n"), "{answer}");
    }
}

#[test]
fn too_many_contacts_are_a_503() {
    let rules = SaveRules { max_contacts: 1, ..SaveRules::default() };
    let mut wire = with(RegistrarSettings { rules, ..RegistrarSettings::default() });
    assert_eq!(save_it(&mut wire, &register(1, &contact("<sip:b@10.0.0.1>"))).0, 1);
    let (code, answer) = save_it(&mut wire, &register(2, &contact("<sip:b@10.0.0.2>")));
    assert_eq!(code, -2);
    assert!(answer.starts_with("SIP/2.0 503 Service Unavailable\r\n"), "{answer}");
    assert!(answer.contains("\r\nP-Registrar-Error: Too many registered contacts\r\n"), "{answer}");
}

#[test]
fn flags_may_silence_the_answer_and_unknown_ones_are_an_error() {
    let mut wire = with(RegistrarSettings::default());
    wire.receive(&register(1, &contact("<sip:b@10.0.0.1>")));
    assert_eq!(save(&mut wire.cx, TABLE, 0x02 | 0x01), Ok(1));
    assert_eq!(wire.sent(), None);
    assert_eq!(registered_uri(&wire.cx, TABLE, b"sip:bob@x"), 1);
    assert!(save(&mut wire.cx, TABLE, 0x04).unwrap_err().contains("0x4"));
    wire.receive(&reply("200 OK", "REGISTER", &contact("<sip:b@10.0.0.2>")));
    assert_eq!(save(&mut wire.cx, TABLE, 0), Ok(-1));
}

#[test]
fn the_address_of_record_may_be_given() {
    let mut wire = with(RegistrarSettings::default());
    wire.receive(&register(1, &contact("<sip:b@10.0.0.1>")));
    assert_eq!(save_uri(&mut wire.cx, TABLE, 0, b"sip:carol@example.org"), Ok(1));
    assert_eq!(registered_uri(&wire.cx, TABLE, b"sip:carol@example.org"), 1);
    assert_eq!(registered_uri(&wire.cx, TABLE, b"sip:bob@example.org"), -1);
    invite(&mut wire, "sip:nobody@example.org");
    assert_eq!(lookup(&mut wire.cx, TABLE), -1);
    assert_eq!(lookup_uri(&mut wire.cx, TABLE, b"sip:Carol@x"), 1);
    assert_eq!(text(&wire.cx.msg.new_ruri), Some("sip:b@10.0.0.1"));
}

#[test]
fn lookup_makes_the_best_contact_the_destination_and_the_others_branches() {
    let mut wire = with(RegistrarSettings::default());
    let lines = contact("<sip:b@10.0.0.1>;q=0.1, <sip:b@10.0.0.2>;q=0.9");
    wire.receive(&register(1, &lines));
    wire.cx.msg.branch_flags = 1 << 6;
    wire.cx.msg.socket = 1;
    assert_eq!(save(&mut wire.cx, TABLE, 0), Ok(1));

    invite(&mut wire, "sip:BOB@example.org");
    wire.cx.msg.branch_flags = 1 << 2;
    wire.cx.msg.dst_uri = Some(b"sip:elsewhere".to_vec());
    assert_eq!(lookup(&mut wire.cx, TABLE), 1);
    let msg = &wire.cx.msg;
    assert_eq!(text(&msg.new_ruri), Some("sip:b@10.0.0.2"));
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
    for (uri, code) in [("sip:bob@example.org", -1), ("sip:example.org", -3), ("http://h", -3)] {
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
fn a_path_is_stored_answered_and_followed_if_the_phone_supports_it() {
    let path = "Path: <sip:10.9.9.1;lr>, <sip:10.9.9.2;lr>\r\n";
    let lines = contact("<sip:b@10.0.0.1>") + path;
    let mut wire = with(RegistrarSettings::default());
    let (_, answer) = save_it(&mut wire, &register(1, &(lines.clone() + "Supported: gruu, path\r\n")));
    assert!(answer.contains(&format!("\r\n{path}")), "{answer}");
    invite(&mut wire, "sip:bob@example.org");
    assert_eq!(lookup(&mut wire.cx, TABLE), 1);
    assert_eq!(text(&wire.cx.msg.dst_uri), Some("sip:10.9.9.1;lr"));
    assert_eq!(text(&wire.cx.msg.path), Some("<sip:10.9.9.1;lr>, <sip:10.9.9.2;lr>"));

    let (_, answer) = save_it(&mut wire, &register(2, &lines));
    assert!(!answer.contains("Path"), "{answer}");
    invite(&mut wire, "sip:bob@example.org");
    assert_eq!(lookup(&mut wire.cx, TABLE), 1);
    assert_eq!((text(&wire.cx.msg.dst_uri), text(&wire.cx.msg.path)), (None, None));

    let bad = register(3, &(contact("<sip:b@10.0.0.1>") + "Path: <nonsense>\r\nSupported: path\r\n"));
    assert_eq!(save_it(&mut wire, &bad).0, -1);
}

#[test]
fn an_instance_is_one_binding_whether_or_not_outbound_is_supported() {
    let first = contact("<sip:b@10.0.0.1>;+sip.instance=\"<urn:uuid:1>\";reg-id=1");
    let second = first.replace("10.0.0.1", "10.0.0.2");
    for (supported, code) in [("Supported: path, outbound\r\n", 2), ("", 2)] {
        let mut wire = with(RegistrarSettings::default());
        assert_eq!(save_it(&mut wire, &register(1, &(first.clone() + supported))).0, 1);
        assert_eq!(save_it(&mut wire, &register(2, &(second.clone() + supported))).0, code, "{supported}");
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
