//! What makes a running proxy stop or reload: signals and changed files.

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, TrySendError, channel, sync_channel};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use kemi::Program;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};
use sip_modules::proxy::{Cx, Server, Shared};
use sip_modules::rpc::reload;

use crate::end::End;
use crate::signals::Ignored;
use crate::watch::Watch;

/// The stack of the thread that reloads: the script is compiled on it.
const STACK: usize = 16 << 20;

/// How long the process takes at most to end once a drain has come to its limit, or a second signal has come: workers that
/// are not stuck need some milliseconds of it.
const AT_ONCE: Duration = Duration::from_secs(2);

/// The threads behind the signals; they end when this is dropped.
pub(crate) struct Triggers {
    signals: Handle,
    /// Dropped to end the watch.
    watching: Option<Sender<()>>,
    threads: Vec<JoinHandle<()>>,
}

impl Triggers {
    /// Drains on SIGTERM for as long as `exit_timeout`, stops on SIGINT and a second SIGTERM, reloads on SIGHUP and when a
    /// watched file changes. The first two must be among the signals; `end` is told how much time is left then.
    pub(crate) fn start(
        mut signals: Signals,
        server: &Server,
        program: &Arc<Program<Cx>>,
        exit_timeout: Duration,
        end: &Arc<End>,
        watch: Option<Watch>,
    ) -> Result<Triggers, Box<dyn Error>> {
        let mut triggers = Triggers { signals: signals.handle(), watching: None, threads: Vec::new() };

        // A reload takes its time on a thread of its own, so that the proxy can be stopped meanwhile. One that waits is
        // enough: it will see whatever the next one would.
        let (reloads, wanted) = sync_channel(1);
        let (shared, reloading) = (server.shared().clone(), program.clone());
        triggers.spawn(Builder::new().name("reload".to_owned()).stack_size(STACK), move || {
            work(&shared, &reloading, &wanted);
        })?;

        if let Some(watch) = watch {
            let (watching, over) = channel();
            let reloads = reloads.clone();
            triggers.watching = Some(watching);
            triggers.spawn(Builder::new().name("watch".to_owned()), move || {
                watch.run(&over, || want(&reloads, "a changed file"));
            })?;
        }

        // A drain takes its time too.
        let (drain, drains) = sync_channel(1);
        let draining = server.stopper();
        triggers.spawn(Builder::new().name("drain".to_owned()), move || {
            drains.into_iter().for_each(|()| draining.drain(exit_timeout));
        })?;
        let (stopper, end) = (server.stopper(), end.clone());
        triggers.spawn(Builder::new().name("signals".to_owned()), move || {
            let mut ignored = Ignored::default();
            let mut ends = 0;
            for signal in signals.forever() {
                match signal {
                    SIGHUP => want(&reloads, "SIGHUP"),
                    SIGINT | SIGTERM => {
                        ends += 1;
                        // The time is set before anything else: the rest may wait for somebody.
                        match ends {
                            1 if signal == SIGTERM && !exit_timeout.is_zero() => {
                                end.within(exit_timeout.saturating_add(AT_ONCE));
                                if drain.send(()).is_err() {
                                    stopper.stop();
                                }
                            }
                            // As long as a stop takes at most; `end` has it.
                            1 => stopper.stop(),
                            2 => {
                                end.within(AT_ONCE);
                                stopper.stop();
                            }
                            _ => end.within(Duration::ZERO),
                        }
                    }
                    other => ignored.tell(other),
                }
            }
        })?;
        Ok(triggers)
    }

    fn spawn(&mut self, builder: Builder, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
        self.threads.push(builder.spawn(work)?);
        Ok(())
    }
}

impl Drop for Triggers {
    fn drop(&mut self) {
        self.signals.close();
        self.watching = None;
        for thread in self.threads.drain(..).rev() {
            let name = thread.thread().name().unwrap_or_default().to_owned();
            if thread.join().is_err() {
                tracing::error!("the thread '{name}' panicked; this is a bug in the proxy");
            }
        }
    }
}

fn want(reloads: &SyncSender<&'static str>, trigger: &'static str) {
    match reloads.try_send(trigger) {
        Ok(()) => {}
        Err(TrySendError::Full(_)) => tracing::debug!("reload by {trigger}: one is waiting already"),
        Err(TrySendError::Disconnected(_)) => {
            tracing::error!("reload by {trigger}: the thread for it is gone; restart the proxy");
        }
    }
}

/// Reloads whenever it is wanted. How it went is in the log, and nobody else waits for it.
fn work(shared: &Shared, program: &Program<Cx>, wanted: &Receiver<&'static str>) {
    for trigger in wanted {
        if program.files().is_empty() {
            tracing::warn!("reload by {trigger}: there is no script, the route is compiled in");
            continue;
        }
        let _ = reload(shared, program, trigger);
    }
}
