//! What whoever sends messages can provoke is logged some times only: a flood of them must not fill the log.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::callsite::Identifier;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::queue::{Form, Queue};
use super::stamp;

/// How many lines from one place of the code are written in one period.
const MOST: u64 = 10;

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
    count: u64,
}

impl<F> Throttled<F> {
    pub(super) fn new(inner: F, queue: Arc<Queue>) -> Throttled<F> {
        Throttled { inner, queue, places: Mutex::default() }
    }

    /// Counts an event; returns how many were left out in the period before, or `None` if this one is left out.
    fn admit(&self, place: Identifier, now: Instant) -> Option<u64> {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let period = places.entry(place).or_insert(Period { begin: now, count: 0 });
        let mut left_out = 0;
        if now.saturating_duration_since(period.begin) >= PERIOD {
            left_out = period.count.saturating_sub(MOST);
            *period = Period { begin: now, count: 0 };
        }
        period.count += 1;
        (period.count <= MOST).then_some(left_out)
    }
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
            match self.admit(metadata.callsite(), Instant::now()) {
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

    #[test]
    fn some_lines_of_each_place_are_let_through_in_a_period_and_the_rest_is_counted() {
        let out = Out::new(File::options().write(true).open("/dev/null").unwrap().into());
        let throttled = Throttled::new((), Arc::new(Queue::new(out).unwrap()));
        let (one, other) = (tracing::callsite!(name: "one", kind: tracing::metadata::Kind::EVENT, fields: message), {
            tracing::callsite!(name: "other", kind: tracing::metadata::Kind::EVENT, fields: message)
        });
        let (one, other) = (Identifier(one), Identifier(other));
        let now = Instant::now();
        for _ in 0..MOST {
            assert_eq!(throttled.admit(one.clone(), now), Some(0));
        }
        assert_eq!(throttled.admit(one.clone(), now), None);
        assert_eq!(throttled.admit(one.clone(), now + PERIOD / 2), None);
        assert_eq!(throttled.admit(other, now), Some(0));
        assert_eq!(throttled.admit(one.clone(), now + PERIOD), Some(2));
        assert_eq!(throttled.admit(one, now + PERIOD), Some(0));
    }
}
