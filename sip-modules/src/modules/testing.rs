//! A context around one message, for the tests of the modules.

use std::collections::BTreeMap;
use std::sync::Arc;

use kemi_core::{ArgumentPolicy, Registry};

use crate::message::Message;
use crate::proxy::{Cx, Identity, Listener, MessageState, Outbox, ProxySettings, RouteNames, Routes, Shared};

/// A request with most headers that the functions look at; it came from 127.0.0.9:5090.
pub(crate) const INVITE: &str = "\
    INVITE sip:bob:pw@example.org:5070;transport=udp?x=y SIP/2.0\r\n\
    Via: SIP/2.0/UDP 127.0.0.9:5090;branch=z9hG4bK1\r\n\
    From: \"Alice A.\" <sip:alice@example.net:5072>;tag=from1\r\n\
    To: Bob <sip:bob@example.org>;tag=to1\r\n\
    Call-ID: call-1@example.net\r\n\
    CSeq: 7 INVITE\r\n\
    m: <sip:alice@127.0.0.9:5090>\r\n\
    User-Agent: test phone\r\n\
    X-List: one\r\n\
    X-List: two\r\n\
    Content-Type: text/plain\r\n\
    Content-Length: 4\r\n\
    x-list: three\r\n\
    \r\n\
    body";

/// A reply to it.
pub(crate) const RINGING: &str = "\
    SIP/2.0 180 Ringing\r\n\
    Via: SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bK2\r\n\
    From: <sip:alice@example.net>;tag=from1\r\n\
    To: <sip:bob@example.org>;tag=to1\r\n\
    Call-ID: call-1@example.net\r\n\
    CSeq: 7 INVITE\r\n\
    Content-Length: 0\r\n\
    \r\n";

/// Returns a worker's context with a message, of a proxy at 127.0.0.1:5060 called `example.org` that has no sockets.
pub(crate) fn cx(message: &str) -> Cx {
    cx_with(message, ProxySettings::default(), BTreeMap::new())
}

/// As [`cx`], with settings and definitions.
pub(crate) fn cx_with(message: &str, settings: ProxySettings, defines: BTreeMap<String, String>) -> Cx {
    cx_under(ArgumentPolicy::Strict, message, settings, defines)
}

/// As [`cx`], under the policy `compat`.
pub(crate) fn lenient_cx(message: &str) -> Cx {
    cx_under(ArgumentPolicy::Compat, message, ProxySettings::default(), BTreeMap::new())
}

fn cx_under(policy: ArgumentPolicy, message: &str, settings: ProxySettings, defines: BTreeMap<String, String>) -> Cx {
    let (callbacks, routes) = Routes::declare(&RouteNames::default());
    let builder = Registry::builder().root(crate::dialect::ROOT).policy(policy);
    let registry = builder.callbacks(callbacks).build().unwrap();
    let listeners = vec![Listener::new("127.0.0.1:5060".parse().unwrap())];
    let identity = Identity::new(listeners, vec![("example.org".to_owned(), None)]);
    let shared = Arc::new(Shared::new(settings, identity, registry, routes, defines));
    let mut cx = Cx::new(shared, Outbox::new(Arc::from([])));
    receive(&mut cx, message);
    cx
}

/// Puts another message in the context's place of the one before.
pub(crate) fn receive(cx: &mut Cx, message: &str) {
    let message = Arc::new(Message::parse(message.as_bytes()).unwrap());
    cx.msg = MessageState::new(message, "127.0.0.9:5090".parse().unwrap(), 0);
}

/// Returns the message as it would leave with the edits made so far.
pub(crate) fn edited(cx: &Cx) -> String {
    let mut out = Vec::new();
    cx.msg.edits.serialise(&cx.msg.message, &mut out);
    String::from_utf8(out).unwrap()
}
