//! `KSR.sl`: replies without a transaction, and replies that go through one if there is one (Kamailio's module `sl`).

use kemi_macros::kemi_export;

use crate::proxy::{Cx, ReplyError, send_stateless, with_lines};
use crate::tm;

/// Answers the request without a transaction.
///
/// Code and reason make the status line; a 3xx names the destinations of the request in its Contact. Returns 1, or -1
/// for a reply, an ACK, an empty reason or one that is no single line, and a code outside of 100 to 699.
#[kemi_export(module = "sl", cost = 10)]
pub fn sl_send_reply(cx: &mut Cx, code: i64, reason: &[u8]) -> i64 {
    answer(cx, "sl_send_reply", code, reason, send_stateless)
}

/// Answers the request through its transaction, or without one if there is none.
///
/// Returns 1, or -1 for what cannot be answered: a reply, an ACK, a transaction that was answered already, an empty
/// reason or one that is no single line, and a code outside of 100 to 699.
#[kemi_export(module = "sl", cost = 10)]
pub fn send_reply(cx: &mut Cx, code: i64, reason: &[u8]) -> i64 {
    answer(cx, "send_reply", code, reason, send_reply_any)
}

/// Answers the request with an error, unless an answer was given or will be.
///
/// Returns 1 when `500 I'm terribly sorry, server error occurred (1/SL)` was sent, -2 when a final reply was sent before,
/// -3 when the transaction layer answers as soon as the route is over, -1 when nothing can be sent.
#[kemi_export(module = "sl", cost = 10)]
pub fn sl_reply_error(cx: &mut Cx) -> i64 {
    if cx.msg.delayed_error.is_some() {
        return -3;
    }
    if cx.msg.final_reply {
        return -2;
    }
    answer(cx, "sl_reply_error", 500, b"I'm terribly sorry, server error occurred (1/SL)", send_stateless)
}

/// Answers the request being routed through its transaction, or without one if there is none.
///
/// # Errors
/// When there is nothing to answer, it was answered already, or code and reason make no valid reply.
pub(crate) fn send_reply_any(cx: &mut Cx, code: u16, reason: &[u8]) -> Result<(), ReplyError> {
    if cx.msg.transaction.is_none() {
        return send_stateless(cx, code, reason);
    }
    tm::reply(cx, code, reason)?;
    // `sl_reply_error` must not add a second answer.
    cx.msg.final_reply |= code >= 200;
    Ok(())
}

/// As [`send_reply_any`], with header lines that only this reply has.
///
/// # Errors
/// As [`send_reply_any`], and when the lines are no header lines.
pub(crate) fn send_reply_with(cx: &mut Cx, code: u16, reason: &[u8], lines: &[u8]) -> Result<(), ReplyError> {
    with_lines(cx, lines, |cx| send_reply_any(cx, code, reason))
}

/// The status code of a reply, as far as it may be one at all; else that goes to the log.
pub(super) fn status_code(function: &str, code: i64) -> Option<u16> {
    let status = u16::try_from(code).ok();
    if status.is_none() {
        tracing::warn!(target: "script", "{function} {code}: status code {code} is not between 100 and 699");
    }
    status
}

fn answer(
    cx: &mut Cx,
    function: &str,
    code: i64,
    reason: &[u8],
    send: fn(&mut Cx, u16, &[u8]) -> Result<(), ReplyError>,
) -> i64 {
    if reason.is_empty() {
        tracing::warn!(target: "script", "{function} {code}: the reason is empty; pass a reason phrase");
        return -1;
    }
    let Some(code) = status_code(function, code) else { return -1 };
    let contact = if (300..400).contains(&code) { redirect_contact(cx) } else { Vec::new() };
    match with_lines(cx, &contact, |cx| send(cx, code, reason)) {
        Ok(()) => {
            // The script may go on for long.
            cx.out.release();
            1
        }
        Err(error) => {
            tracing::warn!(target: "script", "{function} {code}: {error}");
            -1
        }
    }
}

/// The Contact of a redirection: the R-URI if it was changed, and all further branches.
fn redirect_contact(cx: &Cx) -> Vec<u8> {
    let mut line = Vec::new();
    let branches = cx.msg.branches.iter().map(|branch| branch.ruri.as_slice());
    for uri in cx.msg.new_ruri.as_deref().into_iter().chain(branches) {
        line.extend_from_slice(if line.is_empty() { b"Contact: <" } else { b", <" });
        line.extend_from_slice(uri);
        line.push(b'>');
    }
    if !line.is_empty() {
        line.extend_from_slice(b"\r\n");
    }
    line
}

/// A context with real sockets, whose peer reads what the proxy sends.
#[cfg(test)]
pub(crate) mod wire {
    use std::collections::BTreeMap;
    use std::net::{Ipv4Addr, UdpSocket as PeerSocket};
    use std::sync::Arc;

    use kemi_core::Registry;

    use crate::message::Message;
    use crate::proxy::{Cx, Identity, Listener, MessageState, Outbox, ProxySettings, RouteNames, Routes, Shared};
    use crate::transport::UdpSocket;

    /// A worker's context and the peer whose request it works on.
    pub(crate) struct Wire {
        pub(crate) cx: Cx,
        peer: PeerSocket,
    }

    impl Wire {
        /// A proxy with default settings that has just received the message.
        pub(crate) fn new(text: &str) -> Wire {
            Wire::with(ProxySettings::default(), text)
        }

        /// A proxy called 127.0.0.1:5060 and 127.0.0.2:5070 that has just received the message by the former.
        pub(crate) fn with(settings: ProxySettings, text: &str) -> Wire {
            let local = (Ipv4Addr::LOCALHOST, 0);
            let peer = PeerSocket::bind(local).unwrap();
            peer.set_nonblocking(true).unwrap();
            let sockets: Vec<_> = (0..2).map(|_| UdpSocket::bind(local.into(), false, None).unwrap()).collect();
            let listeners = ["127.0.0.1:5060", "127.0.0.2:5070"].map(|a| Listener::new(a.parse().unwrap()));
            let identity = Identity::new(listeners.into(), vec![("example.org".to_owned(), None)]);
            let (callbacks, routes) = Routes::declare(&RouteNames::default());
            let registry = Registry::builder().root(crate::dialect::ROOT).callbacks(callbacks).build().unwrap();
            let shared = Arc::new(Shared::new(settings, identity, registry, routes, BTreeMap::new()));
            let cx = Cx::new(shared, Outbox::new(sockets.into_iter().map(Arc::new).collect()));
            let mut wire = Wire { cx, peer };
            wire.receive(text);
            wire
        }

        /// Starts over with another message from the same peer.
        pub(crate) fn receive(&mut self, text: &str) {
            let message = Arc::new(Message::parse(text.as_bytes()).unwrap());
            self.cx.msg = MessageState::new(message, self.peer.local_addr().unwrap(), 0);
        }

        /// The next message that the peer got; loopback delivers at once.
        pub(crate) fn sent(&mut self) -> Option<String> {
            self.cx.out.flush();
            let mut buffer = [0; 65_535];
            let length = self.peer.recv(&mut buffer).ok()?;
            Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
        }

        /// The status line of the next message that the peer got.
        pub(crate) fn status(&mut self) -> Option<String> {
            let text = self.sent()?;
            let line = text.lines().next()?;
            Some(line.strip_prefix("SIP/2.0 ")?.to_owned())
        }

        /// The request as it would leave.
        pub(crate) fn leaving(&self) -> String {
            let mut out = Vec::new();
            self.cx.msg.edits.serialise(&self.cx.msg.message, &mut out);
            String::from_utf8(out).unwrap()
        }
    }

    /// A request with the header lines every request has; `more` adds lines, each with its CRLF.
    pub(crate) fn request(method: &str, uri: &str, more: &str) -> String {
        format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bK1;rport\r\n\
             From: <sip:alice@example.org>;tag=f1\r\nTo: <sip:bob@example.org>\r\nCall-ID: c1\r\n\
             CSeq: 1 {method}\r\n{more}Content-Length: 0\r\n\r\n"
        )
    }

    /// A reply to such a request, with more lines.
    pub(crate) fn reply(status: &str, method: &str, more: &str) -> String {
        format!(
            "SIP/2.0 {status}\r\nVia: SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bK1\r\n\
             From: <sip:alice@example.org>;tag=f1\r\nTo: <sip:bob@example.org>;tag=t1\r\nCall-ID: c1\r\n\
             CSeq: 1 {method}\r\n{more}Content-Length: 0\r\n\r\n"
        )
    }
}

#[cfg(test)]
mod tests {
    use kemi_core::{Arg, CallbackId, Outcome, Registry, ScriptError};

    use super::wire::{Wire, reply, request};
    use super::*;
    use crate::proxy::{Caller, ExtraBranch, RouteNames, Routes};

    #[test]
    fn a_stateless_reply_goes_to_the_sender() {
        for send in [sl_send_reply, send_reply] {
            let mut wire = Wire::new(&request("OPTIONS", "sip:example.org", ""));
            assert_eq!(send(&mut wire.cx, 200, b"Keepalive"), 1);
            let text = wire.sent().unwrap();
            assert!(text.starts_with("SIP/2.0 200 Keepalive\r\n"), "{text}");
            assert!(text.contains("\r\nTo: <sip:bob@example.org>;tag="), "{text}");
            assert!(wire.cx.msg.final_reply);
            assert_eq!(wire.sent(), None);
        }
    }

    #[test]
    fn a_provisional_reply_is_not_final() {
        let mut wire = Wire::new(&request("INVITE", "sip:example.org", ""));
        assert_eq!(sl_send_reply(&mut wire.cx, 183, b"Progress"), 1);
        assert!(!wire.cx.msg.final_reply);
    }

    #[test]
    fn what_cannot_be_answered_is_minus_one_and_nothing_is_sent() {
        let invite = request("INVITE", "sip:example.org", "");
        for (text, code, reason) in [
            (invite.as_str(), 200, &b""[..]),
            (&invite, 200, b"OK\r\nX-Injected: 1"),
            (&invite, 99, b"Low"),
            (&invite, 700, b"High"),
            (&invite, 65_536 + 200, b"Higher"),
            (&invite, -200, b"Negative"),
            (&request("ACK", "sip:example.org", ""), 200, b"OK"),
            (&reply("200 OK", "INVITE", ""), 200, b"OK"),
        ] {
            for send in [sl_send_reply, send_reply] {
                let mut wire = Wire::new(text);
                assert_eq!(send(&mut wire.cx, code, reason), -1, "{code} {reason:?}");
                assert_eq!(wire.sent(), None);
                assert!(!wire.cx.msg.final_reply);
            }
        }
    }

    #[test]
    fn a_redirection_names_the_destinations() {
        let mut wire = Wire::new(&request("INVITE", "sip:bob@example.org", ""));
        assert_eq!(sl_send_reply(&mut wire.cx, 302, b"Moved"), 1);
        assert!(!wire.sent().unwrap().contains("Contact"));
        wire.cx.msg.reply_headers = b"X-Mine: 1".to_vec();
        wire.cx.msg.new_ruri = Some(b"sip:b@10.0.0.1".to_vec());
        wire.cx.msg.branches.push(ExtraBranch { ruri: b"sip:b@10.0.0.2".to_vec(), ..ExtraBranch::default() });
        assert_eq!(sl_send_reply(&mut wire.cx, 302, b"Moved"), 1);
        let text = wire.sent().unwrap();
        assert!(text.contains("\r\nX-Mine: 1\r\nContact: <sip:b@10.0.0.1>, <sip:b@10.0.0.2>\r\n"), "{text}");
        assert_eq!(wire.cx.msg.reply_headers, b"X-Mine: 1");
        assert_eq!(sl_send_reply(&mut wire.cx, 404, b"Not Found"), 1);
        assert!(!wire.sent().unwrap().contains("Contact"));
    }

    #[test]
    fn with_a_transaction_the_reply_goes_through_it_and_only_once() {
        struct Nobody;
        impl Caller for Nobody {
            fn call(&self, _: CallbackId, _: &mut Cx, _: &[Arg<'_>]) -> Result<Outcome, ScriptError> {
                panic!("no callback is set")
            }
        }
        let mut wire = Wire::new(&request("INVITE", "sip:example.org", ""));
        assert!(matches!(tm::create(&mut wire.cx, &Nobody), tm::Created::New));
        while wire.sent().is_some() {}
        assert_eq!(send_reply(&mut wire.cx, 404, b"Not Found"), 1);
        assert_eq!(wire.status().as_deref(), Some("404 Not Found"));
        assert!(wire.cx.msg.final_reply);
        let handle = wire.cx.msg.transaction.clone().unwrap();
        assert_eq!(handle.lock().machine.last_status(), Some(404));
        assert_eq!(send_reply(&mut wire.cx, 486, b"Busy Here"), -1);
        assert_eq!(sl_reply_error(&mut wire.cx), -2);
        assert_eq!(wire.sent(), None);
    }

    #[test]
    fn every_function_of_these_modules_returns_an_integer() {
        let modules = ["corex", "maxfwd", "registrar", "rr", "sanity", "siputils", "sl", "textops"];
        let builder = modules
            .into_iter()
            .fold(Registry::<Cx>::builder().root(crate::dialect::ROOT), |builder, name| builder.module(name));
        let (callbacks, _) = Routes::declare(&RouteNames::default());
        let registry = builder.callbacks(callbacks).build().unwrap();
        let mut seen = 0;
        for export in registry.exports().iter().filter(|export| modules.contains(&export.def().module)) {
            assert_eq!(export.def().returns.to_string(), "int", "{}", registry.script_name(export.def()));
            seen += 1;
        }
        assert_eq!(seen, 64);
    }

    #[test]
    fn the_error_reply_is_sent_only_if_nobody_else_answers() {
        let mut wire = Wire::new(&request("INVITE", "sip:example.org", ""));
        assert_eq!(sl_reply_error(&mut wire.cx), 1);
        assert_eq!(wire.status().unwrap(), "500 I'm terribly sorry, server error occurred (1/SL)");
        assert_eq!(sl_reply_error(&mut wire.cx), -2);
        wire.cx.msg.delayed_error = Some((478, "Unresolvable destination (478/TM)"));
        assert_eq!(sl_reply_error(&mut wire.cx), -3);
        assert_eq!(wire.sent(), None);
        wire.receive(&request("ACK", "sip:example.org", ""));
        assert_eq!(sl_reply_error(&mut wire.cx), -1);
    }
}
