//! A worker without sockets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use kemi_core::{CallbackId, Program, ScriptError};

use crate::message::Message;
use crate::proxy::worker::{look_at_timers, receive, reply_route};
use crate::proxy::{Cx, Identity, Listener, MessageState, Outbox, Setup, Shared};
use crate::transport::Datagram;

/// A proxy of one worker that takes datagrams from its owner and hands back what it would send.
///
/// Everything between the sockets is the real thing: the parser, the script, the modules, the transactions. Time is
/// the real one, too, unless it is [let pass](Self::let_pass) faster. Made for tests of a script, and for measuring a route
/// without the network.
///
/// It belongs to the thread that makes it.
#[derive(Debug)]
pub struct Harness {
    cx: Cx,
    script: kemi_core::Worker<Cx>,
    reply_route: Option<CallbackId>,
    spare: Arc<Message>,
}

impl Harness {
    /// Loads the program. `setup.listen` is what the proxy calls its addresses; nothing is bound, and the number of
    /// workers and the buffers are not looked at.
    ///
    /// # Errors
    /// What loading the script reports.
    pub fn new(setup: Setup, program: &Arc<Program<Cx>>) -> Result<Harness, ScriptError> {
        let listeners: Vec<_> = setup.listen.into_iter().map(Listener::new).collect();
        let outbox = Outbox::detached(listeners.len());
        let identity = Identity::new(listeners, setup.aliases);
        let shared = Shared::new(setup.settings, identity, setup.registry, setup.routes, setup.defines);
        let script = program.worker("harness", None)?;
        let cx = Cx::new(Arc::new(shared), outbox);
        let reply_route = reply_route(&cx, script.instance());
        Ok(Harness { cx, script, reply_route, spare: Arc::new(Message::new()) })
    }

    /// Routes one datagram that came from `source` to the first listener.
    pub fn receive(&mut self, bytes: &[u8], source: SocketAddr) {
        let datagram = Datagram { bytes, source, truncated: false };
        receive(&mut self.cx, self.script.instance(), self.reply_route, &mut self.spare, datagram, 0);
    }

    /// Ends a turn as a worker does: looks at the timers, forgets the last message, takes a new version of the program up.
    pub fn end_turn(&mut self) {
        look_at_timers(&mut self.cx, self.script.instance());
        self.cx.msg = MessageState::default();
        if self.script.refresh() {
            self.reply_route = reply_route(&self.cx, self.script.instance());
        }
    }

    /// Lets time pass for transactions and registrations without waiting for it; [`end_turn`](Self::end_turn) does what has
    /// become due.
    ///
    /// Returns whether it has: not if somebody else holds on to what [`shared`](Self::shared) returns, nor if the system's
    /// clock cannot go so far.
    pub fn let_pass(&mut self, time: Duration) -> bool {
        Arc::get_mut(&mut self.cx.shared).is_some_and(|shared| shared.age(time))
    }

    /// Hands over everything that is to be sent, in order, with its destination.
    pub fn sent(&mut self, mut sink: impl FnMut(&[u8], SocketAddr)) {
        self.cx.out.drain(|_, bytes, dest| sink(bytes, dest));
    }

    /// Returns the state behind the modules: transactions, registrations, settings.
    #[must_use]
    pub fn shared(&self) -> &Arc<Shared> {
        &self.cx.shared
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use kemi_core::engine::NativeCallback;
    use kemi_core::{NativeEngine, Registry, Value};

    use super::*;
    use crate::modules::core::seturi;
    use crate::modules::sl::sl_send_reply;
    use crate::modules::testing::INVITE;
    use crate::modules::tm::t_relay;
    use crate::proxy::{ProxySettings, RouteNames, Routes};

    fn proxy(route: NativeCallback<Cx>) -> Harness {
        let (callbacks, routes) = Routes::declare(&RouteNames::default());
        let registry = Registry::builder().root(crate::dialect::ROOT).callbacks(callbacks).build().unwrap();
        let engine = NativeEngine::new("rust").callback("ksr_request_route", route);
        let program = Program::open(Arc::new(engine), &registry, &[]).unwrap();
        let setup = Setup {
            listen: vec!["127.0.0.1:5060".parse().unwrap()],
            workers: 1,
            receive_buffer: None,
            aliases: Vec::new(),
            settings: ProxySettings::default(),
            registry,
            routes,
            defines: BTreeMap::new(),
        };
        Harness::new(setup, &program).unwrap()
    }

    fn first_lines(proxy: &mut Harness) -> Vec<String> {
        let mut lines = Vec::new();
        proxy.sent(|bytes, _| lines.push(String::from_utf8_lossy(bytes).lines().next().unwrap().to_owned()));
        lines
    }

    #[test]
    fn what_the_script_sends_is_handed_over_once() {
        let mut proxy = proxy(|cx, _, _| {
            sl_send_reply(cx, 404, b"Nobody");
            Ok(Value::Nil)
        });
        let phone = "127.0.0.9:5090".parse().unwrap();
        proxy.receive(INVITE.as_bytes(), phone);
        proxy.receive(b"nonsense", phone);
        proxy.end_turn();
        let mut sent = Vec::new();
        proxy.sent(|bytes, dest| sent.push((bytes.to_vec(), dest)));
        let [(bytes, dest)] = sent.as_slice() else { panic!("{sent:?}") };
        assert!(bytes.starts_with(b"SIP/2.0 404 Nobody\r\n"), "{}", bytes.escape_ascii());
        assert_eq!(*dest, phone);
        proxy.sent(|bytes, _| panic!("a second time: {}", bytes.escape_ascii()));
    }

    #[test]
    fn time_can_be_let_pass() {
        let mut proxy = proxy(|cx, script, _| {
            seturi(cx, b"sip:bob@127.0.0.8:5070");
            t_relay(cx, script);
            Ok(Value::Nil)
        });
        proxy.receive(INVITE.as_bytes(), "127.0.0.9:5090".parse().unwrap());
        const TRYING: &str = "SIP/2.0 100 trying -- your call is important to us";
        const RELAYED: &str = "INVITE sip:bob@127.0.0.8:5070 SIP/2.0";
        const TIMED_OUT: &str = "SIP/2.0 408 Request Timeout";
        assert_eq!(first_lines(&mut proxy), [TRYING, RELAYED]);
        for (milliseconds, expected) in
            [(1, &[][..]), (600, &[RELAYED]), (40_000, &[TIMED_OUT]), (600, &[TIMED_OUT]), (60_000, &[])]
        {
            assert!(proxy.let_pass(Duration::from_millis(milliseconds)));
            proxy.end_turn();
            assert_eq!(first_lines(&mut proxy), expected, "{milliseconds}");
        }
        let _shared = proxy.shared().clone();
        assert!(!proxy.let_pass(Duration::from_millis(1)));
    }
}
