//! Tells systemd how the proxy is: ready, reloading, stopping, alive. Without `NOTIFY_SOCKET` nothing is told.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{Builder, JoinHandle};

use sd_notify::NotifyState;
use sip_modules::proxy::{Event, Shared};

/// The thread that keeps systemd's watchdog quiet, if there is one; it ends when this is dropped.
pub(crate) struct Systemd {
    /// Dropped to end the thread.
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Systemd {
    /// Tells systemd of every event from now on, and that the proxy lives as long as no worker is stuck.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(crate) fn start(shared: &Arc<Shared>) -> io::Result<Systemd> {
        shared.lifecycle.observe(Box::new(tell));
        let Some(period) = sd_notify::watchdog_enabled().filter(|period| !period.is_zero()) else {
            return Ok(Systemd { end: None, thread: None });
        };
        let (end, ended) = channel::<()>();
        let shared = shared.clone();
        let thread = Builder::new().name("systemd".to_owned()).spawn(move || {
            let mut well = true;
            // Twice a period, as sd_watchdog_enabled(3) advises.
            while ended.recv_timeout(period / 2) == Err(RecvTimeoutError::Timeout) {
                let health = shared.health();
                if health.healthy {
                    notify(&[NotifyState::Watchdog]);
                } else if well {
                    let ill = health.workers;
                    tracing::error!(
                        "not well, so systemd's watchdog is not told otherwise and will restart it: {ill:?}"
                    );
                }
                well = health.healthy;
            }
        })?;
        Ok(Systemd { end: Some(end), thread: Some(thread) })
    }
}

impl Drop for Systemd {
    fn drop(&mut self) {
        self.end = None;
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread 'systemd' panicked; this is a bug in the proxy");
        }
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
