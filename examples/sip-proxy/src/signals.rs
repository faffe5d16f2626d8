//! Signals that have no meaning for the proxy, and would end a process that does not care for them.

use std::collections::HashMap;
use std::io;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGALRM, SIGHUP, SIGIO, SIGPIPE, SIGPROF, SIGUSR1, SIGUSR2, SIGVTALRM, SIGXCPU};
use signal_hook::iterator::Signals;

/// How long the log says nothing of a signal that comes again and again, as a timer's does.
const PAUSE: Duration = Duration::from_secs(60);

/// Those that every system has, with their names.
const NAMES: &[(i32, &str)] = &[
    (SIGUSR1, "SIGUSR1"),
    (SIGUSR2, "SIGUSR2"),
    (SIGALRM, "SIGALRM"),
    (SIGVTALRM, "SIGVTALRM"),
    (SIGPROF, "SIGPROF"),
    (SIGIO, "SIGIO"),
    (SIGPIPE, "SIGPIPE"),
    (SIGXCPU, "SIGXCPU"),
    (libc::SIGXFSZ, "SIGXFSZ"),
    #[cfg(target_os = "linux")]
    (libc::SIGPWR, "SIGPWR"),
    #[cfg(target_os = "linux")]
    (libc::SIGSTKFLT, "SIGSTKFLT"),
];

/// Catches everything that would end the process although it means nothing, and SIGHUP, which means something later only.
///
/// SIGINT, SIGTERM and SIGQUIT still end it, as long as it loads; so do the signals that say of the process itself that
/// it cannot go on. For the last real-time signal see [`catch_what_no_engine_takes`].
///
/// # Errors
/// The system refuses.
pub(crate) fn catch() -> io::Result<Signals> {
    #[cfg(target_os = "linux")]
    // The last one is left to an engine that interrupts its scripts by a signal that nobody else takes.
    let real_time = libc::SIGRTMIN()..libc::SIGRTMAX();
    #[cfg(not(target_os = "linux"))]
    let real_time = std::iter::empty();
    Signals::new(NAMES.iter().map(|&(signal, _)| signal).chain([SIGHUP]).chain(real_time))
}

/// Catches the last real-time signal as well, unless an engine has taken it by now: it does so when it loads a script.
///
/// # Errors
/// The system refuses.
pub(crate) fn catch_what_no_engine_takes(signals: &Signals) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    if action(libc::SIGRTMAX())?.sa_sigaction == libc::SIG_DFL {
        signals.add_signal(libc::SIGRTMAX())?;
    }
    #[cfg(not(target_os = "linux"))]
    let _ = signals;
    Ok(())
}

/// How a signal that ends the process is handled, so that it stays so.
///
/// The C library has the whole process ignore SIGINT for as long as `system` runs, which is `os.execute` in Lua and `os.system`
/// in Python, and a script may do so itself.
pub(crate) struct Kept {
    signal: i32,
    action: libc::sigaction,
}

impl Kept {
    /// Takes down how a signal is handled now.
    ///
    /// # Errors
    /// There is no such signal.
    pub(crate) fn new(signal: i32) -> io::Result<Kept> {
        Ok(Kept { signal, action: action(signal)? })
    }

    /// Has it handled so again if it is ignored by now.
    pub(crate) fn keep(&self) {
        if action(self.signal).is_ok_and(|now| now.sa_sigaction == libc::SIG_IGN) {
            // SAFETY: the action is one that the system has given for this signal, and its handler is never taken away.
            unsafe { libc::sigaction(self.signal, &raw const self.action, std::ptr::null_mut()) };
        }
    }
}

fn action(signal: i32) -> io::Result<libc::sigaction> {
    let mut action = std::mem::MaybeUninit::uninit();
    // SAFETY: a place for the action; nothing is changed.
    match unsafe { libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr()) } {
        // SAFETY: the system has filled it.
        0 => Ok(unsafe { action.assume_init() }),
        _ => Err(io::Error::last_os_error()),
    }
}

/// What has come of such signals.
#[derive(Default)]
pub(crate) struct Ignored {
    /// When the log last spoke of each, and how many have come since.
    told: HashMap<i32, (Instant, u64)>,
}

impl Ignored {
    /// Says in the log that a signal has come and is ignored.
    pub(crate) fn tell(&mut self, signal: i32) {
        if let Some(more) = self.count(signal, Instant::now()) {
            let name = name(signal);
            let more = if more == 0 { String::new() } else { format!(", {more} more since the last line") };
            tracing::warn!(
                "{name} is ignored: it means nothing here, and its default is to end the process \
                 (SIGTERM drains, SIGINT ends, SIGHUP reloads; numbers are asked for by RPC and HTTP){more}"
            );
        }
    }

    /// Counts a signal; returns how many came without a line before it, if there is to be one for it.
    fn count(&mut self, signal: i32, now: Instant) -> Option<u64> {
        let (at, count) = self.told.entry(signal).or_insert((now, 0));
        if *count > 0 && now.saturating_duration_since(*at) < PAUSE {
            *count += 1;
            return None;
        }
        let more = count.saturating_sub(1);
        (*at, *count) = (now, 1);
        Some(more)
    }
}

fn name(signal: i32) -> String {
    let known = NAMES.iter().find(|&&(number, _)| number == signal).map(|&(_, name)| name.to_owned());
    known.unwrap_or_else(|| format!("signal {signal}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handler_that_somebody_replaces_by_nothing_comes_back() {
        let signal = libc::SIGWINCH;
        // SAFETY: a handler that does nothing.
        unsafe { signal_hook::low_level::register(signal, || ()) }.expect("the system takes it");
        let kept = Kept::new(signal).expect("it is a signal");
        let handler = kept.action.sa_sigaction;
        // SAFETY: nothing waits for this signal.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
        kept.keep();
        assert_eq!(action(signal).expect("it is a signal").sa_sigaction, handler);
        assert!(Kept::new(-1).is_err());
    }

    #[test]
    fn a_timers_signal_does_not_fill_the_log() {
        let mut ignored = Ignored::default();
        let start = Instant::now();
        assert_eq!(ignored.count(SIGALRM, start), Some(0));
        assert_eq!(ignored.count(SIGALRM, start), None);
        assert_eq!(ignored.count(SIGUSR1, start), Some(0), "another one");
        assert_eq!(ignored.count(SIGALRM, start + PAUSE / 2), None);
        assert_eq!(ignored.count(SIGALRM, start + PAUSE), Some(2));
        assert_eq!(ignored.count(SIGALRM, start + PAUSE), None);
    }
}
