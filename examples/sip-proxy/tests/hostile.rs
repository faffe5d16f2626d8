//! Hostile input over UDP: the right error reply or silence, and nothing lost for the others.
//!
//! No message here names an address outside the loopback.

mod support;

use std::time::Duration;

use support::{Phone, Proxy, unique};

/// Shorter than a reply takes to be missed, longer than one takes to come.
const A_WHILE: Duration = Duration::from_millis(150);

fn options(phone: &Phone, to: &str, more: &str) -> String {
    let (id, me) = (unique(), phone.address);
    format!(
        "OPTIONS sip:{to} SIP/2.0\n\
         Via: SIP/2.0/UDP {me};branch=z9hG4bKhostile{id};rport\n\
         Max-Forwards: 70\n\
         From: <sip:me@{me}>;tag=x{id}\n\
         To: <sip:{to}>\n\
         Call-ID: hostile-{id}\n\
         CSeq: 1 OPTIONS\n\
         {more}\
         Content-Length: 0\n\n"
    )
}

fn answers(phone: &Phone, proxy: &Proxy) {
    phone.send(&options(phone, &proxy.address.to_string(), ""));
    phone.reply(200);
}

fn resident_kib(proxy: &Proxy) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", proxy.pid())).expect("the proxy runs");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("the kernel tells");
    line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("a number")
}

#[test]
fn what_is_no_sip_message_is_dropped_in_silence() {
    let proxy = Proxy::basic("lua");
    let (good, bad) = (Phone::new(&proxy), Phone::new(&proxy));
    let to = proxy.address.to_string();
    let valid = options(&bad, &to, "");
    let many_headers: String = (0..600).map(|i| format!("X-{i}: y\n")).collect();
    let rows: Vec<(&str, String)> = vec![
        ("empty", String::new()),
        ("keepalive", "\n\n\n\n".into()),
        ("noise", "\u{0}\u{1}\u{2}hello".into()),
        ("a first line alone", "OPTIONS sip:a SIP/2.0\n\n".into()),
        ("another protocol", "GET / HTTP/1.1\nHost: x\n\n".into()),
        ("cut in the middle of a header", valid[..valid.len() / 2].into()),
        ("no Via", valid.replace("Via:", "X-Via:")),
        ("no From", valid.replace("From:", "X-From:")),
        ("no To", valid.replace("To:", "X-To:")),
        ("no Call-ID", valid.replace("Call-ID:", "X-Call-ID:")),
        ("no CSeq", valid.replace("CSeq:", "X-CSeq:")),
        ("a CSeq beyond 32 bits", valid.replace("CSeq: 1 ", "CSeq: 99999999999 ")),
        ("a length that is no number", valid.replace("Content-Length: 0", "Content-Length: lots")),
        ("a negative length", valid.replace("Content-Length: 0", "Content-Length: -1")),
        ("a length beyond the datagram", valid.replace("Content-Length: 0", "Content-Length: 9999")),
        ("lengths that contradict each other", valid.replace("Content-Length: 0", "Content-Length: 0\nl: 5")),
        ("more headers than anybody needs", options(&bad, &to, &many_headers)),
        (
            "a status line without a transaction",
            "SIP/2.0 200 OK\nVia: SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bKx\n\n".into(),
        ),
    ];
    for (what, text) in rows {
        bad.send(&text);
        if let Some(answer) = bad.receive_within(A_WHILE) {
            panic!("{what}: expected silence, got:\n{}", answer.text);
        }
        answers(&good, &proxy);
    }
}

#[test]
fn odd_but_legal_messages_are_answered() {
    let proxy = Proxy::basic("lua");
    let phone = Phone::new(&proxy);
    let to = proxy.address.to_string();
    let valid = options(&phone, &to, "");
    let fresh = |text: &str| text.replace("z9hG4bKhostile", &format!("z9hG4bKodd{}", unique()));
    for text in [
        valid.replace("Call-ID:", "i:").replace("Via:", "v:").replace("From:", "f:").replace("To:", "t:"),
        valid.replace("CSeq: 1 OPTIONS", "CSeq:\n  1\n\tOPTIONS"),
        valid.replace("Via:", "Via  :").replace("From:", "FROM :"),
        options(&phone, &to, "X-Long: ").replace("X-Long: ", &format!("X-Long: {}\n", "y".repeat(40_000))),
        options(&phone, &to, "X-Empty:\nX-Colons: ::::\n"),
    ] {
        phone.send(&fresh(&text));
        phone.reply(200);
    }
}

#[test]
fn bombs_of_headers_cost_nobody_anything() {
    let proxy = Proxy::basic("lua");
    let (good, bad) = (Phone::new(&proxy), Phone::new(&proxy));
    let to = proxy.address.to_string();
    let me = bad.address;
    let vias: String = (0..400).map(|i| format!("Via: SIP/2.0/UDP {me};branch=z9hG4bKv{i}\n")).collect();
    let one_line = format!("Via: {}\n", vec![format!("SIP/2.0/UDP {me};branch=z9hG4bKw"); 900].join(", "));
    let routes: String = (0..400).map(|_| format!("Route: <sip:{to};lr>\n")).collect();
    let in_dialog =
        |more: &str| options(&bad, &to, more).replace(&format!("To: <sip:{to}>"), &format!("To: <sip:{to}>;tag=d"));
    let before = resident_kib(&proxy);
    for round in 0..50 {
        for text in [options(&bad, &to, &vias), options(&bad, &to, &one_line), in_dialog(&routes)] {
            bad.send(&text);
        }
        if round % 10 == 0 {
            answers(&good, &proxy);
        }
    }
    while bad.receive_within(A_WHILE).is_some() {}
    answers(&good, &proxy);
    let after = resident_kib(&proxy);
    assert!(after < before + 64 * 1024, "memory grew from {before} to {after} KiB");
}

#[test]
fn a_stray_reply_reaches_nobody() {
    let proxy = Proxy::basic("lua");
    let (good, bad, victim) = (Phone::new(&proxy), Phone::new(&proxy), Phone::new(&proxy));
    for branch in ["z9hG4bKguess", "z9hG4bK0.0000000000000000.0", "z9hG4bK00000000000000000000000000000000.0"] {
        bad.send(&format!(
            "SIP/2.0 200 OK\n\
             Via: SIP/2.0/UDP {proxy};branch={branch}\n\
             Via: SIP/2.0/UDP {victim};branch=z9hG4bKv\n\
             From: <sip:a@{victim}>;tag=1\n\
             To: <sip:b@{victim}>;tag=2\n\
             Call-ID: stray-{branch}\n\
             CSeq: 1 INVITE\n\
             Content-Length: 0\n\n",
            proxy = proxy.address,
            victim = victim.address
        ));
    }
    answers(&good, &proxy);
    assert!(victim.receive_within(A_WHILE).is_none(), "the victim got something");
}

#[test]
fn a_flood_from_one_source_does_not_silence_the_others() {
    let proxy = Proxy::basic("lua");
    let (good, bad) = (Phone::new(&proxy), Phone::new(&proxy));
    let to = proxy.address.to_string();
    for _ in 0..20 {
        for _ in 0..200 {
            bad.send(&options(&bad, &to, ""));
        }
        // The flood may fill the socket's buffer; whoever sends again, as every SIP client does, gets through.
        let request = options(&good, &to, "");
        let answered = (0..20).any(|_| {
            good.send(&request);
            good.receive_within(Duration::from_millis(500)).is_some()
        });
        assert!(answered, "the flood silenced another client");
        while good.receive_within(Duration::from_millis(20)).is_some() {}
    }
}
