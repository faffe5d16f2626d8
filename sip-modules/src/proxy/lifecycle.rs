//! From start to end: what the proxy as a whole is at, and who is told of it.

use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

/// What a proxy is at; it only ever moves on to a later one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Phase {
    /// The workers load the script.
    Starting,
    /// All workers receive.
    Running,
    /// Nothing new is taken, what is in progress goes on.
    Draining,
    /// The workers end.
    Stopping,
}

/// What a service manager wants to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// All workers receive; also after each reload, whatever came of it.
    Ready,
    /// A reload begins.
    Reloading,
    /// The end begins, with a drain or without.
    Stopping,
}

/// Is told of each event, one at a time; must not wait for anybody, since who begins a reload or the end waits for it.
pub type Observer = Box<dyn Fn(Event) + Send>;

/// What a proxy is at.
#[derive(Default)]
pub struct Lifecycle {
    phase: AtomicU8,
    observer: Mutex<Option<Observer>>,
}

impl Lifecycle {
    /// Sets who is told of events from now on.
    pub fn observe(&self, observer: Observer) {
        *self.observer.lock().unwrap_or_else(PoisonError::into_inner) = Some(observer);
    }

    /// Returns what the proxy is at.
    #[must_use]
    pub fn phase(&self) -> Phase {
        phase(self.phase.load(Ordering::Acquire))
    }

    /// Returns whether the end has begun, so that nothing new is taken.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        self.phase.load(Ordering::Acquire) >= Phase::Draining as u8
    }

    /// Moves on to a phase; `false` if it was reached already.
    pub(crate) fn advance(&self, to: Phase) -> bool {
        let observer = self.observer.lock().unwrap_or_else(PoisonError::into_inner);
        let from = phase(self.phase.fetch_max(to as u8, Ordering::AcqRel));
        let event = match to {
            Phase::Running if from < to => Some(Event::Ready),
            Phase::Draining | Phase::Stopping if from < Phase::Draining => Some(Event::Stopping),
            _ => None,
        };
        if let (Some(event), Some(observer)) = (event, &*observer) {
            observer(event);
        }
        from < to
    }

    /// Tells that a reload begins, does it, and tells that it is over. Before the start and at the end nobody is told.
    pub(crate) fn reloading<T>(&self, work: impl FnOnce() -> T) -> T {
        self.tell_if_running(Event::Reloading);
        let result = work();
        self.tell_if_running(Event::Ready);
        result
    }

    fn tell_if_running(&self, event: Event) {
        let observer = self.observer.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Phase::Running, Some(observer)) = (self.phase(), &*observer) {
            observer(event);
        }
    }
}

impl fmt::Debug for Lifecycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lifecycle").field("phase", &self.phase()).finish_non_exhaustive()
    }
}

fn phase(number: u8) -> Phase {
    let all = [Phase::Starting, Phase::Running, Phase::Draining, Phase::Stopping];
    all.into_iter().find(|phase| *phase as u8 == number).unwrap_or(Phase::Stopping)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn told(script: impl FnOnce(&Lifecycle)) -> Vec<Event> {
        let lifecycle = Lifecycle::default();
        let events = Arc::new(Mutex::new(Vec::new()));
        let sink = events.clone();
        lifecycle.observe(Box::new(move |event| sink.lock().unwrap().push(event)));
        script(&lifecycle);
        events.lock().unwrap().clone()
    }

    #[test]
    fn it_only_moves_on() {
        let lifecycle = Lifecycle::default();
        assert_eq!((lifecycle.phase(), lifecycle.is_ending()), (Phase::Starting, false));
        assert!(lifecycle.advance(Phase::Draining));
        assert!(
            !lifecycle.advance(Phase::Running),
            "a proxy that is told to end while it starts does not become ready"
        );
        assert!(!lifecycle.advance(Phase::Draining));
        assert_eq!((lifecycle.phase(), lifecycle.is_ending()), (Phase::Draining, true));
        assert!(lifecycle.advance(Phase::Stopping));
    }

    #[test]
    fn each_event_is_told_once_and_a_reload_at_the_end_not_at_all() {
        let events = told(|lifecycle| {
            lifecycle.reloading(|| ());
            lifecycle.advance(Phase::Running);
            lifecycle.reloading(|| ());
            lifecycle.reloading(|| lifecycle.advance(Phase::Draining));
            lifecycle.advance(Phase::Stopping);
            lifecycle.reloading(|| ());
        });
        use Event::{Ready, Reloading, Stopping};
        assert_eq!(events, [Ready, Reloading, Ready, Reloading, Stopping]);
        assert_eq!(told(|lifecycle| assert!(lifecycle.advance(Phase::Stopping))), [Stopping]);
    }
}
