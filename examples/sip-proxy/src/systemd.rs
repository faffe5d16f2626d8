//! Tells systemd how the proxy is: ready, reloading, stopping, alive. Without `NOTIFY_SOCKET` nothing is told.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use sd_notify::NotifyState;
use sip_modules::proxy::{Event, Shared};

/// The thread that talks to systemd, if there is somebody to talk to; it ends when this is dropped.
pub(crate) struct Systemd(Option<(Sender<Message>, JoinHandle<()>)>);

/// What the thread is told.
enum Message {
    Event(Event),
    End,
}

impl Systemd {
    /// Tells systemd of every event from now on, and that the proxy lives as long as no worker is stuck.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(crate) fn start(shared: &Arc<Shared>) -> io::Result<Systemd> {
        if std::env::var_os("NOTIFY_SOCKET").is_none() {
            return Ok(Systemd(None));
        }
        let (events, told) = channel();
        let (ends, watched) = (events.clone(), shared.clone());
        // Whoever begins a reload or the end does not wait for systemd, which may be busy.
        shared.lifecycle.observe(Box::new(move |event| drop(events.send(Message::Event(event)))));
        let thread = Builder::new().name("systemd".to_owned()).spawn(move || run(&watched, &told))?;
        Ok(Systemd(Some((ends, thread))))
    }
}

impl Drop for Systemd {
    fn drop(&mut self) {
        let Some((ends, thread)) = self.0.take() else { return };
        // The thread is there until it has got this.
        let _ = ends.send(Message::End);
        if thread.join().is_err() {
            tracing::error!("the thread 'systemd' panicked; this is a bug in the proxy");
        }
    }
}

/// Passes the events on in order, and between them the sign of life.
fn run(shared: &Shared, told: &Receiver<Message>) {
    // Twice a period, as sd_watchdog_enabled(3) advises.
    let period = sd_notify::watchdog_enabled().filter(|period| !period.is_zero()).map(|period| period / 2);
    let mut watchdog = period.map(|period| Watchdog { period, next: Instant::now() + period, well: true });
    loop {
        let message = match &watchdog {
            Some(watchdog) => told.recv_timeout(watchdog.next.saturating_duration_since(Instant::now())),
            None => told.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match message {
            Ok(Message::Event(event)) => tell(event),
            Ok(Message::End) | Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {
                if let Some(watchdog) = &mut watchdog {
                    watchdog.look(shared);
                }
            }
        }
    }
}

/// What keeps systemd's watchdog quiet.
struct Watchdog {
    period: Duration,
    next: Instant,
    /// Whether the proxy was well at the last look.
    well: bool,
}

impl Watchdog {
    fn look(&mut self, shared: &Shared) {
        self.next = Instant::now() + self.period;
        let health = shared.health();
        if health.healthy {
            notify(&[NotifyState::Watchdog]);
        } else if self.well {
            let ill = health.workers;
            tracing::error!("not well, so systemd's watchdog is not told otherwise and will restart it: {ill:?}");
        }
        self.well = health.healthy;
    }
}

fn tell(event: Event) {
    match event {
        Event::Ready => notify(&[NotifyState::Ready]),
        Event::Reloading => match NotifyState::monotonic_usec_now() {
            Ok(now) => notify(&[NotifyState::Reloading, now]),
            Err(error) => tracing::warn!("systemd is not told of the reload: {error}"),
        },
        Event::Stopping => notify(&[NotifyState::Stopping]),
        _ => {}
    }
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!("systemd cannot be told {states:?}: {error}");
    }
}
