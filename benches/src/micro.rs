//! The five calls that are also measured in Kamailio, on a real message.

use std::collections::BTreeMap;
use std::sync::Arc;

use kemi::{Arg, ArgumentPolicy, CallbackId, Instance, Limits, Outcome, Registry, Source, find_engine};
use sip_modules::message::Message;
use sip_modules::proxy::{Cx, Identity, Listener, MessageState, Outbox, ProxySettings, RouteNames, Routes, Shared};

use crate::{Language, scripts};

/// The calls, each by its name and as scripts of all languages write it; the first is the empty loop.
pub const CALLS: [(&str, &str); 6] = [
    ("empty", ""),
    ("is_OPTIONS", "KSR.is_OPTIONS()"),
    ("pv.get", "KSR.pv.get(\"$rm\")"),
    ("setflag", "KSR.setflag(1)"),
    ("hdr.is_present", "KSR.hdr.is_present(\"Via\")"),
    ("pv.sets", "KSR.pv.sets(\"$var(x)\", \"abc\")"),
];

const OPTIONS: &str = "\
    OPTIONS sip:alice@127.0.0.1:5060 SIP/2.0\r\n\
    Via: SIP/2.0/UDP 127.0.0.9:5090;branch=z9hG4bK1\r\n\
    Max-Forwards: 70\r\n\
    From: <sip:alice@127.0.0.1>;tag=1\r\n\
    To: <sip:alice@127.0.0.1>\r\n\
    Call-ID: micro-1@127.0.0.9\r\n\
    CSeq: 1 OPTIONS\r\n\
    Contact: <sip:alice@127.0.0.9:5090>\r\n\
    Content-Length: 0\r\n\
    \r\n";

/// An instance whose script has a loop for each call, with a worker's context to call it with.
#[derive(Debug)]
pub struct Micro {
    instance: Instance<Cx>,
    loops: Vec<CallbackId>,
    cx: Cx,
}

impl Micro {
    /// Loads the script, with all modules of the proxy.
    ///
    /// # Panics
    /// If it does not load.
    #[must_use]
    pub fn new(language: Language, limits: Limits, policy: ArgumentPolicy) -> Micro {
        kemi::link();
        sip_modules::link();
        let (mut callbacks, routes) = Routes::declare(&RouteNames::default());
        let mut text = String::new();
        let mut loops = Vec::new();
        scripts::push_function(&mut text, language, "ksr_request_route", "");
        for (name, call) in CALLS {
            let name = scripts::loop_name(&name.replace('.', "_"));
            // The result goes to a variable, as in a route.
            let statement = match (call, language) {
                ("", _) => String::new(),
                (call, Language::Lua) => format!("local v = {call}"),
                (call, Language::Python) => format!("v = {call}"),
                (call, Language::Rhai) => format!("let v = {call}"),
                (call, Language::Js) => format!("const v = {call};"),
            };
            scripts::push_loop(&mut text, language, &name, None, &statement);
            loops.push(callbacks.required("request_route", &name, &["n"]));
        }
        let registry = Registry::builder().root("KSR").all_modules().callbacks(callbacks).limits(limits).policy(policy);
        let registry = registry.build().unwrap_or_else(|error| panic!("{error}"));
        let engine = find_engine(language.engine()).unwrap_or_else(|error| panic!("{error}"));
        let source = Source::text(format!("micro.{}", language.ending()), text);
        let instance = Instance::load(engine, &registry, &[source]).unwrap_or_else(|error| panic!("{error}"));
        Micro { instance, loops, cx: context(registry, routes) }
    }

    /// Runs the loop of a call of [`CALLS`] so many turns.
    ///
    /// # Panics
    /// If the script fails.
    pub fn repeat(&mut self, call: usize, turns: u64) {
        match self.instance.call(self.loops[call], &mut self.cx, &[Arg::Int(turns as i64)]) {
            Ok(Outcome::Value(_)) => {}
            other => panic!("the script failed: {other:?}"),
        }
    }
}

/// Returns the context of a worker of a proxy at 127.0.0.1:5060 with an OPTIONS.
fn context(registry: Registry<Cx>, routes: Routes) -> Cx {
    let address = |text: &str| text.parse().expect("an address");
    let identity = Identity::new(vec![Listener::new(address("127.0.0.1:5060"))], Vec::new());
    let shared = Shared::new(ProxySettings::default(), identity, registry, routes, BTreeMap::new());
    let mut cx = Cx::new(Arc::new(shared), Outbox::new(Arc::from([])));
    let message = Message::parse(OPTIONS.as_bytes()).expect("a message");
    cx.msg = MessageState::new(Arc::new(message), address("127.0.0.9:5090"), 0);
    cx
}
