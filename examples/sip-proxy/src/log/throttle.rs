//! What whoever sends messages can provoke is logged some times only: a flood of them must not fill the log. It must not hide
//! anything else either, so what is counted is the text; but a message may bring a text of its own, so the lines of a place
//! in the code are counted too.

use std::collections::HashMap;
use std::fmt::{self, Write};
use std::hash::{DefaultHasher, Hasher};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::callsite::Identifier;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::queue::{Form, Queue};
use super::stamp;

/// How many lines with one text are written in one period, of those from one place of the code.
const SAME: u64 = 10;

/// How many lines from one place of the code are written in one period, whatever their texts are.
const MOST: u64 = 50;

/// How long a period takes.
const PERIOD: Duration = Duration::from_secs(10);

/// Formats events as another one does, but nothing for those that are too many.
pub(super) struct Throttled<F> {
    inner: F,
    queue: Arc<Queue>,
    places: Mutex<HashMap<Identifier, Period>>,
}

/// What has come from one place.
struct Period {
    begin: Instant,
    written: u64,
    left_out: u64,
    /// The texts that were written, by their hashes, and how often.
    texts: Vec<(u64, u64)>,
}

impl<F> Throttled<F> {
    pub(super) fn new(inner: F, queue: Arc<Queue>) -> Throttled<F> {
        Throttled { inner, queue, places: Mutex::default() }
    }

    /// Counts an event; returns how many of its place were left out in the period before, or `None` if this one is left out.
    fn admit(&self, place: Identifier, text: u64, now: Instant) -> Option<u64> {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Period { begin: now, written: 0, left_out: 0, texts: Vec::new() };
        let period = places.entry(place).or_insert_with(new);
        let mut left_out = 0;
        if now.saturating_duration_since(period.begin) >= PERIOD {
            left_out = std::mem::take(&mut period.left_out);
            (period.begin, period.written) = (now, 0);
            period.texts.clear();
        }
        let known = period.texts.iter_mut().find(|(known, _)| *known == text);
        if period.written >= MOST || known.as_ref().is_some_and(|(_, count)| *count >= SAME) {
            period.left_out += 1;
            return None;
        }
        period.written += 1;
        match known {
            Some((_, count)) => *count += 1,
            None => period.texts.push((text, 1)),
        }
        Some(left_out)
    }
}

/// The text of an event without its other fields, which say what it was about, such as the Call-ID.
fn text(event: &Event<'_>) -> u64 {
    struct Text(DefaultHasher);
    impl Visit for Text {
        fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
            if field.name() == "message" {
                // Hashing does not fail; if the text does, it is told apart as far as it goes.
                let _ = write!(self, "{value:?}");
            }
        }
    }
    impl Write for Text {
        fn write_str(&mut self, piece: &str) -> fmt::Result {
            self.0.write(piece.as_bytes());
            Ok(())
        }
    }
    let mut text = Text(DefaultHasher::new());
    event.record(&mut text);
    text.0.finish()
}

/// Whether a message can provoke it: it is the proxy's own, and not what a script wants to have logged. Who wants to see debug
/// output sees all of it.
fn is_limited(metadata: &Metadata<'_>) -> bool {
    *metadata.level() <= Level::INFO
        && metadata.module_path().is_some_and(|module| {
            // What an operator asks for is no flood.
            module.starts_with("sip_modules")
                && !module.starts_with("sip_modules::rpc")
                && !module.ends_with("::modules::core::log")
        })
}

impl<S, N, F> FormatEvent<S, N> for Throttled<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let metadata = event.metadata();
        if is_limited(metadata) {
            match self.admit(metadata.callsite(), text(event), Instant::now()) {
                Some(0) => {}
                Some(left_out) => {
                    let what = metadata.target();
                    let text = format!("{left_out} lines of {what} like the next one were left out");
                    self.queue.push(stamp(Level::WARN, "log", &text).as_bytes(), Form::Line);
                }
                None => return Ok(()),
            }
        }
        self.inner.format_event(context, writer, event)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::super::out::Out;
    use super::*;

    fn throttled() -> Throttled<()> {
        let out = Out::new(File::options().write(true).open("/dev/null").unwrap().into());
        Throttled::new((), Arc::new(Queue::new(out).unwrap()))
    }

    fn place() -> Identifier {
        Identifier(tracing::callsite!(name: "a place", kind: tracing::metadata::Kind::EVENT, fields: message))
    }

    #[test]
    fn some_lines_of_each_text_are_let_through_in_a_period_and_the_rest_is_counted() {
        let (throttled, place, now) = (throttled(), place(), Instant::now());
        for _ in 0..SAME {
            assert_eq!(throttled.admit(place.clone(), 1, now), Some(0));
        }
        assert_eq!(throttled.admit(place.clone(), 1, now), None);
        assert_eq!(throttled.admit(place.clone(), 1, now + PERIOD / 2), None);
        assert_eq!(throttled.admit(place.clone(), 1, now + PERIOD), Some(2));
        assert_eq!(throttled.admit(place, 1, now + PERIOD), Some(0));
    }

    #[test]
    fn a_text_again_and_again_hides_no_other_one_of_its_place() {
        let (throttled, place, now) = (throttled(), place(), Instant::now());
        for _ in 0..1000 {
            let _ = throttled.admit(place.clone(), 1, now);
        }
        assert_eq!(throttled.admit(place, 2, now), Some(0));
    }

    #[test]
    fn a_text_of_its_own_for_each_message_does_not_fill_the_log() {
        let (throttled, noisy, now) = (throttled(), place(), Instant::now());
        let written = (0..1000).filter(|&text| throttled.admit(noisy.clone(), text, now).is_some()).count() as u64;
        assert_eq!(written, MOST);
        let other =
            Identifier(tracing::callsite!(name: "other", kind: tracing::metadata::Kind::EVENT, fields: message));
        assert_eq!(throttled.admit(other, 1, now), Some(0));
        assert_eq!(throttled.admit(noisy, 1, now + PERIOD), Some(1000 - MOST));
    }
}
