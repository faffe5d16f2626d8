//! A log subscriber that panics: nothing of that may pass through the frames of Lua. A process of its own, since the panics
//! are written to the standard error.

use kemi_core::{
    ArgumentPolicy, Callbacks, ErrorCode, Instance, Limits, Outcome, Profile, Registry, Source, TelemetryConfig, Value,
};
use kemi_lua::LuaEngine;
use kemi_macros::kemi_export;

struct Panics;

impl tracing::Subscriber for Panics {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        panic!("no span")
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        panic!("no line {:?}", event.metadata().name())
    }
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

#[kemi_export(module = "q", deprecated(since = "2.0.0", use = "q.slow"))]
fn old(_cx: &mut u8) -> i64 {
    1
}

#[kemi_export(module = "q")]
fn slow(_cx: &mut u8) -> i64 {
    std::thread::sleep(std::time::Duration::from_millis(40));
    1
}

#[kemi_export(module = "q")]
fn number(_cx: &mut u8, n: i64) -> i64 {
    n
}

/// Panics with what panics again when it is dropped.
#[kemi_export(module = "q")]
fn boom(_cx: &mut u8) -> i64 {
    struct Again;
    impl Drop for Again {
        fn drop(&mut self) {
            panic!("again");
        }
    }
    std::panic::panic_any(Again)
}

#[test]
fn a_subscriber_that_panics_costs_its_line_only() {
    std::panic::set_hook(Box::new(|_| ()));
    let bodies = [
        "print('x')",
        "if warn then warn('x') end",
        "pcall(os.exit)",
        "KSR.q.old()",
        "KSR.q.slow() KSR.q.slow()",
        "KSR.q.number('x')",
        "pcall(KSR.q.boom)",
        "KSR.q.boom()",
        "if jit then jit.on() end",
        "setmetatable({}, {__gc = function() error('x') end}) collectgarbage() collectgarbage()",
        "setmetatable({}, {__gc = function() print('x') end}) collectgarbage() collectgarbage()",
        "error('x')",
        "KSR = {}",
    ];
    let mut callbacks = Callbacks::new();
    let main = callbacks.required("main", "main", &["again"]);
    let limits = Limits { max_time_ms: 20_000, ..Limits::default() };
    let telemetry = TelemetryConfig { slow_native_ms: 1, slow_callback_ms: 1, ..TelemetryConfig::default() };
    let builder =
        Registry::<u8>::builder().root("KSR").profile(Profile::open()).module("q").callbacks(callbacks).limits(limits);
    let registry = builder.policy(ArgumentPolicy::Compat).telemetry(telemetry).build().expect("it is sound");
    tracing::subscriber::with_default(Panics, || {
        for body in bodies {
            let text = format!("function main(again) if again then return 'fine' end {body} end");
            let instance = Instance::load(&LuaEngine, &registry, &[Source::text("s.lua", text)]).expect("it loads");
            for _ in 0..3 {
                let ended = instance.call(main, &mut 0, &[kemi_core::Arg::Nil]);
                assert_ne!(ended.map_err(|error| error.code), Err(ErrorCode::StackOverflow), "{body}");
                let again = instance.call(main, &mut 0, &[kemi_core::Arg::Bool(true)]);
                assert_eq!(again.ok(), Some(Outcome::Value(Value::from("fine"))), "{body}: works on");
            }
        }
    });
}
