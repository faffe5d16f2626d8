//! The lines that scripts write to the host's log.

mod common;

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use common::load;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Collects events as `LEVEL target field=value…` lines.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        write!(self.0, " {field}={value:?}").expect("a string takes all");
    }
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "script"
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(event.metadata().level().to_string());
        event.record(&mut line);
        self.0.lock().expect("no panic").push(line.0);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[derive(Debug)]
struct Named(&'static str);

#[kemi_macros::kemi_export(module = "t")]
impl Named {
    fn make(fails: bool) -> Self {
        Named(if fails { "" } else { "bob" })
    }

    #[kemi(text)]
    fn text(&self) -> Result<&'static str, String> {
        if self.0.is_empty() { Err("no name".to_owned()) } else { Ok(self.0) }
    }
}

#[derive(Debug)]
struct Nameless;

#[kemi_macros::kemi_export(module = "t")]
impl Nameless {
    fn make() -> Self {
        Nameless
    }
}

#[test]
fn an_object_of_the_host_has_the_text_of_its_class() {
    let code = "function f() { console.log(KSR.t.Named.make(false), 1); console.log(KSR.t.Named.make(true)); console.log(KSR.t.Nameless.make()); }";
    let log = log_of(code);
    assert!(log[0].contains("message=bob 1"), "{log:?}");
    assert!(log[1].contains("message=Named(0x"), "{log:?}");
    assert!(log[2].contains("message=Nameless(0x"), "{log:?}");
}

fn log_of(code: &str) -> Vec<String> {
    let log = Log::default();
    tracing::subscriber::with_default(log.clone(), || load(code).value(&[]));
    let lines = log.0.lock().expect("no panic");
    lines.clone()
}

#[test]
fn every_way_to_write_has_its_level_and_place() {
    let code = "function f() {\n console.log('a', 1, [2, { b: null }]);\n print(new TypeError('t'), undefined);\n console.info(1n);\n console.warn(-0);\n\
                console.error(() => 1);\n console.debug(Symbol('s'));\n console.trace(NaN); }";
    let expected = [
        "INFO message=a 1 [1 place]",
        "INFO message=TypeError: t undefined",
        "INFO message=1n",
        "WARN message=-0",
        "ERROR message=[function]",
        "DEBUG message=Symbol(s)",
        "TRACE message=NaN",
    ];
    let lines = log_of(code);
    assert_eq!(lines.len(), expected.len(), "{lines:?}");
    for (i, (line, expected)) in lines.iter().zip(expected).enumerate() {
        let (level, message) = expected.split_once(' ').expect("has two parts");
        let message = message.replace("[1 place]", "[2, {\"b\": nil}]");
        assert!(line.starts_with(level) && line.contains(&message), "{line} / {expected}");
        assert!(line.contains(&format!("place=\"t.js:{}\"", i + 2)), "{line}");
    }
}

#[test]
fn a_rejection_that_nobody_handles_is_logged() {
    let code = "function f() {\n  Promise.reject(new Error('nobody'));\n  Promise.reject(1).catch(() => 2);\n}";
    let lines = log_of(code);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].starts_with("ERROR") && lines[0].contains("nobody") && lines[0].contains("t.js:2"), "{lines:?}");
}
