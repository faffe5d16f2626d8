//! What the reproducers share: registries and instances in one line, a deadline that ends the process, a log to look into.

use std::fmt;
use std::time::Duration;

use kemi::{CallbackId, Callbacks, Instance, Limits, Outcome, Program, Registry, ScriptError, Source};

/// Returns an argument of the command line, from 1.
pub fn argument(position: usize, default: &str) -> String {
    std::env::args().nth(position).unwrap_or_else(|| default.to_owned())
}

/// Ends the process with a line of its own if it still runs after so many seconds.
pub fn deadline(seconds: u64, what: impl Into<String>) {
    let what = what.into();
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_secs(seconds));
        println!("HANGS: {what}");
        std::process::exit(1);
    });
}

/// Builds a registry of all modules of a context, with optional callbacks of these names.
pub fn registry<C: 'static>(callbacks: &[&str]) -> (Registry<C>, Vec<CallbackId>) {
    limited(callbacks, Limits::default())
}

/// The same, with limits.
pub fn limited<C: 'static>(names: &[&str], limits: Limits) -> (Registry<C>, Vec<CallbackId>) {
    let (callbacks, ids) = table(names);
    (Registry::<C>::builder().all_modules().callbacks(callbacks).limits(limits).build().expect("builds"), ids)
}

/// A table of optional callbacks.
pub fn table(names: &[&str]) -> (Callbacks, Vec<CallbackId>) {
    let mut callbacks = Callbacks::new();
    let ids = names.iter().map(|name| callbacks.optional("route", name, &[])).collect();
    (callbacks, ids)
}

/// The engine of a language.
pub fn engine(language: &str) -> &'static dyn kemi::Engine {
    kemi::link();
    kemi::find_engine(language).expect("linked")
}

/// A text as a script of a language; its file is called `script`.
pub fn text(text: &str) -> Vec<Source> {
    vec![Source::text("script", text)]
}

/// Loads a text.
pub fn load<C: 'static>(language: &str, registry: &Registry<C>, script: &str) -> Instance<C> {
    Instance::load(engine(language), registry, &text(script)).expect("loads")
}

/// Opens a program of a text.
pub fn open<C: 'static>(
    language: &str,
    registry: &Registry<C>,
    script: &str,
) -> Result<std::sync::Arc<Program<C>>, ScriptError> {
    Program::open(std::sync::Arc::new(engine(language)), registry, &text(script))
}

/// A result in one line.
pub fn shown(result: &Result<Outcome, ScriptError>) -> String {
    match result {
        Ok(Outcome::Value(value)) => value.to_string(),
        Ok(other) => format!("{other:?}"),
        Err(error) => error.to_string().replace('\n', " "),
    }
}

/// A subscriber that hands each line of the log to a function.
pub struct Log(pub fn(&str));

impl tracing::Subscriber for Log {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() <= tracing::Level::INFO
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        struct Message(String);
        impl tracing::field::Visit for Message {
            fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn fmt::Debug) {
                if field.name() == "message" {
                    self.0 = format!("{value:?}");
                }
            }
        }
        let mut message = Message(String::new());
        event.record(&mut message);
        (self.0)(&message.0);
    }
}
