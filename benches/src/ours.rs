//! The bench functions as KEMI binds them.

use std::collections::HashMap;

use kemi::{
    Arg, ArgumentPolicy, CallbackId, Callbacks, Instance, Limits, Outcome, Registry, Source, TelemetryConfig,
    find_engine,
};

use crate::natives::Counter;
use crate::scripts::{self, HostCall, SHAPES};
use crate::{Language, Subject};

/// A loaded instance with the callbacks of the bench script.
#[derive(Debug)]
pub struct Ours {
    instance: Instance<Counter>,
    loops: HashMap<String, CallbackId>,
    callbacks: [CallbackId; 3],
    counter: Counter,
}

impl Ours {
    /// Loads the bench script.
    ///
    /// # Panics
    /// If it does not load.
    #[must_use]
    pub fn new(language: Language, limits: Limits, policy: ArgumentPolicy) -> Ours {
        Ours::with_script(language, limits, policy, scripts::text(language, "KSR.bench"))
    }

    /// Loads the script of the benches into an interpreter whose calls are measured as `telemetry` says.
    ///
    /// # Panics
    /// If it does not load.
    #[must_use]
    pub fn with_telemetry(
        language: Language,
        limits: Limits,
        policy: ArgumentPolicy,
        telemetry: TelemetryConfig,
    ) -> Ours {
        Ours::load(language, limits, policy, telemetry, scripts::text(language, "KSR.bench"))
    }

    /// Loads another script that defines the same functions.
    ///
    /// # Panics
    /// If it does not load.
    #[must_use]
    pub fn with_script(language: Language, limits: Limits, policy: ArgumentPolicy, text: String) -> Ours {
        Ours::load(language, limits, policy, TelemetryConfig::default(), text)
    }

    fn load(
        language: Language,
        limits: Limits,
        policy: ArgumentPolicy,
        telemetry: TelemetryConfig,
        text: String,
    ) -> Ours {
        kemi::link();
        let mut callbacks = Callbacks::new();
        let names = SHAPES.iter().map(|shape| shape.name).chain(["empty"]).map(scripts::loop_name);
        let loops = names.map(|name| (name.clone(), callbacks.required("loop", &name, &["n"]))).collect();
        let host = HostCall::ALL.map(|call| callbacks.required("host", call.name(), call.params()));
        let registry = Registry::<Counter>::builder()
            .root("KSR")
            .module("bench")
            .callbacks(callbacks)
            .limits(limits)
            .policy(policy);
        let registry = registry.telemetry(telemetry).build().unwrap_or_else(|error| panic!("{error}"));
        let engine = find_engine(language.engine()).unwrap_or_else(|error| panic!("{error}"));
        let source = Source::text(format!("bench.{}", language.ending()), text);
        let instance = Instance::load(engine, &registry, &[source]).unwrap_or_else(|error| panic!("{error}"));
        Ours { instance, loops, callbacks: host, counter: Counter::default() }
    }

    /// Returns how many native calls took the typed and the generic path.
    #[must_use]
    pub fn paths(&self) -> (u64, u64) {
        self.instance.calls()
    }

    fn run(&mut self, callback: CallbackId, args: &[Arg<'_>]) {
        match self.instance.call(callback, &mut self.counter, args) {
            Ok(Outcome::Value(_)) => {}
            other => panic!("the bench script failed: {other:?}"),
        }
    }
}

impl Subject for Ours {
    fn repeat(&mut self, name: &str, turns: u64) {
        let callback = *self.loops.get(name).unwrap_or_else(|| panic!("no loop {name}"));
        self.run(callback, &[Arg::Int(turns as i64)]);
    }

    fn call(&mut self, callback: HostCall, times: u64) {
        let [empty, ints, text] = self.callbacks;
        for turn in 0..times {
            match callback {
                HostCall::Empty => self.run(empty, &[]),
                HostCall::TwoInts => self.run(ints, &[Arg::Int(turn as i64), Arg::Int(8)]),
                HostCall::OneString => self.run(text, &[Arg::Str(b"sip:alice@example.org")]),
            }
        }
    }
}
