//! What a log does to calls: nothing, whether nobody reads it or its subscriber panics.

mod toy;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use kemi_core::{ErrorCode, Instance, Limits, Outcome, Registry, TelemetryConfig, Value};
use kemi_macros::kemi_export;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

static STUCK: AtomicUsize = AtomicUsize::new(0);
static BLOCKED: AtomicUsize = AtomicUsize::new(0);
static PANICKED: AtomicUsize = AtomicUsize::new(0);

/// Waits forever at the second line about a stuck call, and panics at all others and at spans.
struct Broken;

impl Subscriber for Broken {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "kemi"
    }

    fn new_span(&self, _span: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _span: &Id, _values: &Record<'_>) {}

    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}

    fn event(&self, event: &Event<'_>) {
        struct Text(String);
        impl Visit for Text {
            fn record_debug(&mut self, _field: &Field, value: &dyn std::fmt::Debug) {
                self.0.push_str(&format!("{value:?}"));
            }
        }
        let mut text = Text(String::new());
        event.record(&mut text);
        if text.0.contains("stuck") && STUCK.fetch_add(1, Ordering::SeqCst) == 1 {
            BLOCKED.fetch_add(1, Ordering::SeqCst);
            loop {
                thread::park();
            }
        }
        self.panic();
    }

    fn enter(&self, _span: &Id) {
        self.panic();
    }

    fn exit(&self, _span: &Id) {
        self.panic();
    }
}

impl Broken {
    fn panic(&self) {
        PANICKED.fetch_add(1, Ordering::SeqCst);
        panic!("the disk is full");
    }
}

#[kemi_export(module = "test", deprecated(since = "1", use = "app.test.new"))]
fn old() {}

#[kemi_export(module = "test")]
fn nap() {
    thread::sleep(Duration::from_millis(50));
}

/// Waits for its turn, which does not come before the test ends.
#[kemi_export(module = "test")]
fn hang() {
    thread::sleep(PATIENCE);
}

#[test]
fn a_log_that_panics_or_that_nobody_reads_ends_no_call_and_stops_no_clock() {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if panic.payload_as_str() != Some("the disk is full") {
            hook(panic);
        }
    }));
    tracing::subscriber::set_global_default(Broken).expect("it is the first");

    let (_registry, ids, instance) = toy::load::<()>(&["old"], Limits::NONE);
    assert_eq!(instance.call(ids[0], &mut (), &[]).ok(), Some(Outcome::Value(Value::Nil)), "a line and two spans");
    assert!(PANICKED.load(Ordering::SeqCst) >= 3);

    // A slow native function and a slow callback, which have a line each.
    let mut callbacks = kemi_core::Callbacks::new();
    let slow = callbacks.required("request", "nap", &[]);
    let telemetry = TelemetryConfig { slow_native_ms: 1, slow_callback_ms: 1, ..TelemetryConfig::default() };
    let registry = Registry::<()>::builder()
        .root("app")
        .all_modules()
        .callbacks(callbacks)
        .telemetry(telemetry)
        .build()
        .expect("it is valid");
    let before = PANICKED.load(Ordering::SeqCst);
    let instance = Instance::load(&toy::Toy, &registry, &[]).expect("there is nothing to load");
    assert_eq!(instance.call(slow, &mut (), &[]).ok(), Some(Outcome::Value(Value::Nil)));
    assert!(PANICKED.load(Ordering::SeqCst) >= before + 4);

    for _ in 0..2 {
        thread::spawn(|| {
            let (_registry, ids, instance) = toy::load::<()>(&["hang"], Limits { max_time_ms: 10, ..Limits::NONE });
            let _ = instance.call(ids[0], &mut (), &[]);
        });
    }
    while BLOCKED.load(Ordering::SeqCst) == 0 {
        thread::sleep(Duration::from_millis(10));
    }
    // The log stands still from here on.
    let (done, ended) = channel();
    thread::spawn(move || {
        let (_registry, ids, instance) = toy::load::<()>(&["spin"], Limits { max_time_ms: 50, ..Limits::NONE });
        let _ = done.send(instance.call(ids[0], &mut (), &[]).map_err(|error| error.code));
    });
    assert_eq!(ended.recv_timeout(PATIENCE / 2), Ok(Err(ErrorCode::TimeLimit)), "others load and end in time");
    assert_eq!(BLOCKED.load(Ordering::SeqCst), 1);
}
