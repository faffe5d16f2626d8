//! A script that forks: its child is a copy of one thread of the proxy, with all sockets, and must not go on as a proxy.

use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

static FORKED: AtomicBool = AtomicBool::new(false);

/// Notes from now on in each child that it is one.
pub(super) fn watch() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: the handler sets an atomic, which is allowed between fork and exec.
        let failure = unsafe { libc::pthread_atfork(None, None, Some(note)) };
        if failure != 0 {
            tracing::warn!("a script that forks makes a second proxy of its child: {failure}");
        }
    });
}

unsafe extern "C" fn note() {
    FORKED.store(true, Ordering::Relaxed);
}

/// Returns whether this process is a child.
pub(crate) fn is_child() -> bool {
    FORKED.load(Ordering::Relaxed)
}

/// Ends the process if it is a child: the callback that has forked is over, and what follows is its parent's.
pub(crate) fn end_child() {
    if is_child() {
        // SAFETY: ends the process without anything that is not allowed after a fork.
        unsafe { libc::_exit(0) };
    }
}
