//! The torture messages of RFC 4475 and RFC 5118 by their names there, and flows of RFC 3261 §24 and RFC 3665: what is
//! passed on differs from what came in by what a proxy has to change only, and the rest is answered as the RFCs want.

mod common;

use std::net::SocketAddr;

use kemi_core::Value;
use sip_modules::message::{Edits, HeaderName, Message};
use sip_modules::modules::sanity::sanity_check;
use sip_modules::modules::{core, maxfwd, sl, tm};

const MESSAGES: &str = include_str!("torture.txt");

const CALLER: &str = "192.0.2.200:5060";
const CALLEE: &str = "192.0.2.201:5070";

/// The name, the fate and the bytes of each message.
fn messages() -> impl Iterator<Item = (&'static str, &'static str, Vec<u8>)> {
    let begin = MESSAGES.find("== ").unwrap();
    MESSAGES[begin + 3..].strip_suffix('\n').unwrap().split("\n== ").map(|entry| {
        let (title, text) = entry.split_once('\n').unwrap();
        let (name, fate) = title.split_once(": ").unwrap();
        // A comment stands before the next group.
        let text = text.split("\n#\n").next().unwrap();
        (name, fate, wire(text))
    })
}

fn wire(text: &str) -> Vec<u8> {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('«') {
        let (number, after) = after.split_once('»').unwrap();
        plain += &before.replace('\n', "\r\n");
        plain.extend(u32::from_str_radix(number, 16).ok().and_then(char::from_u32));
        rest = after;
    }
    plain += &rest.replace('\n', "\r\n");
    plain.into_bytes()
}

/// Routes one message as a careful script does; returns what became of it and what was passed on.
fn route(bytes: &[u8]) -> (String, Vec<u8>) {
    let proxy = common::Proxy::new(|cx, script, _| {
        if maxfwd::process_maxfwd(cx, 70) == -1 {
            sl::send_reply(cx, 483, b"Too Many Hops");
            return Ok(Value::Nil);
        }
        if sanity_check(cx, 17_895 | 512, 7) < 0 {
            return Ok(Value::Nil);
        }
        core::setdsturi(cx, format!("sip:{CALLEE}").as_bytes());
        tm::t_relay(cx, script);
        Ok(Value::Nil)
    });
    let common::Proxy { harness: mut proxy, program: _program, .. } = proxy;
    let (caller, callee): (SocketAddr, SocketAddr) = (CALLER.parse().unwrap(), CALLEE.parse().unwrap());
    proxy.receive(bytes, caller);
    proxy.end_turn();
    let (mut fate, mut passed_on) = ("silence".to_owned(), Vec::new());
    proxy.sent(|bytes, dest| {
        if dest == callee {
            (fate, passed_on) = ("passed on".to_owned(), bytes.to_vec());
            return;
        }
        assert_eq!(dest.ip(), caller.ip(), "replies go to where the request came from");
        let status = Message::parse(bytes).unwrap().status().unwrap();
        if status >= 200 {
            fate = status.to_string();
        }
    });
    (fate, passed_on)
}

/// Everything of a message that a proxy has no business to change.
fn untouched(message: &Message) -> Vec<&[u8]> {
    let changed = |name| matches!(name, HeaderName::Via | HeaderName::MaxForwards);
    let lines = message.header_lines().iter().filter(|header| !changed(header.name));
    let first_line = message.bytes().get(..message.headers_start() as usize).unwrap();
    lines.map(|header| message.text(header.line)).chain([first_line, message.body()]).collect()
}

#[test]
fn a_message_that_nobody_edits_is_written_as_it_came() {
    for (name, _, bytes) in messages().filter(|(name, ..)| *name != "no blank line") {
        let Ok(message) = Message::parse(&bytes) else {
            assert_eq!(name, "bigcode");
            continue;
        };
        let mut out = Vec::new();
        Edits::new().serialise(&message, &mut out);
        assert!(bytes.starts_with(&out), "{name}: {}", out.escape_ascii());
        // Bytes behind the body belong to nothing (RFC 3261 18.3).
        assert_eq!(out.len() < bytes.len(), name == "dblreq", "{name}");
    }
}

#[test]
fn each_message_has_its_fate() {
    assert_eq!(messages().count(), 73);
    for (name, expected, bytes) in messages() {
        let (fate, sent) = route(&bytes);
        assert_eq!(fate, expected, "{name}");
        if fate != "passed on" {
            continue;
        }
        let (before, after) = (Message::parse(&bytes).unwrap(), Message::parse(&sent).unwrap());
        assert_eq!(untouched(&after), untouched(&before), "{name}");
        let vias = |message: &Message, skip| Vec::from_iter(message.vias().skip(skip).map(|item| item.raw.to_vec()));
        assert_eq!(vias(&after, 2), vias(&before, 1), "{name}");
        assert_eq!(after.top_via().unwrap().host, b"127.0.0.1", "{name}");
        let hops = before.max_forwards().map_or(70, |hops| (hops - 1).min(70));
        assert_eq!(after.max_forwards(), Some(hops), "{name}");
    }
}

#[test]
fn odd_reasons_are_read() {
    for (name, _, bytes) in messages() {
        let expected = match name {
            "unreason" => "= 2**3 * 5**2 но сто девяносто девять - простое",
            "noreason" => "",
            "bcast" => "OK",
            _ => continue,
        };
        assert_eq!(Message::parse(&bytes).unwrap().reason(), Some(expected.as_bytes()), "{name}");
    }
}
