//! What is never passed on: faulty requests, even if the route relays without a look at them, and parts of a Request-URI that may
//! not stand there.

mod common;

use common::{CALLEE, CALLER, Proxy};
use kemi_core::Value;
use sip_modules::modules::core::seturi;
use sip_modules::modules::tm;

fn request(method: &str) -> String {
    format!(
        "{method} sip:bob@{CALLEE} SIP/2.0\r\n\
         Via: SIP/2.0/UDP {CALLER};branch=z9hG4bKfaulty\r\n\
         Max-Forwards: 70\r\n\
         From: <sip:alice@example.net>;tag=from\r\n\
         To: <sip:bob@{CALLEE}>;tag=to\r\n\
         Call-ID: faulty\r\n\
         CSeq: 1 {method}\r\n\
         Content-Length: 4\r\n\r\nbody"
    )
}

/// The first lines of what is sent to the caller and the callee.
fn relayed(text: &str) -> (Vec<String>, Vec<String>) {
    let mut proxy = Proxy::new(|cx, script, _| {
        tm::t_relay(cx, script);
        Ok(Value::Nil)
    });
    proxy.receive(CALLER, text);
    (first_lines(&mut proxy, CALLER), first_lines(&mut proxy, CALLEE))
}

fn first_lines(proxy: &mut Proxy, to: &str) -> Vec<String> {
    proxy.taken(to).iter().map(|message| message.lines().next().unwrap_or_default().to_owned()).collect()
}

#[test]
fn a_faulty_request_is_answered_where_that_can_be_done_and_never_passed_on() {
    let bad = Some("SIP/2.0 400 Bad Request");
    for (from, into, answer) in [
        (" SIP/2.0\r\n", "  SIP/2.0\r\n", Some("SIP/2.0 400 Bad Request Line")),
        ("SIP/2.0/UDP 127", "SIPX/2.0/UDP 127", Some("SIP/2.0 400 Bad Via Header")),
        (";branch", ";;branch", Some("SIP/2.0 400 Bad Via Header")),
        ("faulty\r\nMax", "faulty,,\r\nMax", Some("SIP/2.0 400 Bad Via Header")),
        ("SIP/2.0/UDP 127", "SIP/2.0 127", None),
        ("Via:", "X-Via:", None),
        ("alice@", "al\rice@", None),
        ("alice@example.net>;tag=from", "al\rice@example.net>;;", None),
        ("CSeq:", "X-CSeq:", None),
        ("\r\nTo: ", "\r\nt: <sip:x@h>\r\nTo: ", Some("SIP/2.0 400 Multiple To Headers")),
        ("\r\nTo: ", "\r\nf: <sip:x@h>\r\nTo: ", Some("SIP/2.0 400 Multiple From Headers")),
        ("\r\nTo: ", "\r\ni: 1\r\nTo: ", Some("SIP/2.0 400 Multiple Call-ID Headers")),
        ("\r\nTo: ", "\r\nMax-Forwards: 1\r\nTo: ", Some("SIP/2.0 400 Multiple Max-Forwards Headers")),
        ("\r\nTo: ", "\r\ncseq: 2 BYE\r\nTo: ", Some("SIP/2.0 400 Multiple CSeq Headers")),
        ("\r\nTo: ", "\r\nl: 4\r\nTo: ", Some("SIP/2.0 400 Multiple Content-Length Headers")),
        ("Length: 4", "Length: -4", Some("SIP/2.0 400 Content-Length Failure")),
        ("Length: 4", "Length: 5", bad),
        ("\r\n\r\nbody", "\r\n", bad),
        ("\r\n\r\nbody", "", bad),
        ("CSeq: 1 ", "CSeq: abc ", bad),
        ("CSeq: 1 ", "CSeq: 4294967296 ", bad),
    ] {
        for method in ["MESSAGE", "INVITE", "CANCEL", "ACK"] {
            let text = request(method).replacen(from, into, 1);
            assert_ne!(text, request(method), "{into:?}");
            let (caller, callee) = relayed(&text);
            let answer = answer.filter(|_| method != "ACK");
            assert_eq!(caller, Vec::from_iter(answer), "{method} {into:?}");
            assert!(callee.is_empty(), "{method} {into:?}: {callee:?}");
        }
    }
    assert_eq!(relayed(&request("MESSAGE")).1, [format!("MESSAGE sip:bob@{CALLEE} SIP/2.0")]);
    assert_eq!(relayed(&request("ACK")).1, [format!("ACK sip:bob@{CALLEE} SIP/2.0")]);
}

#[test]
fn a_new_request_uri_loses_what_may_not_stand_there() {
    let mut proxy = Proxy::new(|cx, script, _| {
        seturi(cx, format!("sip:bob@{CALLEE};method=INVITE;line=7?Subject=hi").as_bytes());
        tm::t_relay(cx, script);
        Ok(Value::Nil)
    });
    proxy.receive(CALLER, &request("MESSAGE"));
    assert_eq!(first_lines(&mut proxy, CALLEE), [format!("MESSAGE sip:bob@{CALLEE};line=7 SIP/2.0")]);
}
