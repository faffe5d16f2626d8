//! What handled the signal before the engine did still gets it. A process of its own: handlers are the process's.

use std::ffi::c_int;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};

use kemi_core::{Callbacks, ErrorCode, Instance, Limits, Registry, Source};
use kemi_lua::LuaEngine;

static SEEN: AtomicUsize = AtomicUsize::new(0);

extern "C" fn count(_signal: c_int) {
    SEEN.fetch_add(1, Ordering::Relaxed);
}

#[test]
fn a_former_handler_gets_the_signal_and_a_blocked_one_is_let_through() {
    // SAFETY: zero is valid for all fields; the handler only adds to an atomic; the records live through the calls.
    unsafe {
        let mut action: libc::sigaction = MaybeUninit::zeroed().assume_init();
        let handler: extern "C" fn(c_int) = count;
        action.sa_sigaction = handler as usize;
        assert_eq!(libc::sigaction(libc::SIGURG, &raw const action, ptr::null_mut()), 0);
        let mut set: libc::sigset_t = MaybeUninit::zeroed().assume_init();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGURG);
        assert_eq!(libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, ptr::null_mut()), 0);
    }

    let mut callbacks = Callbacks::new();
    let main = callbacks.required("main", "main", &[]);
    let limits = Limits { max_time_ms: 50, ..Limits::default() };
    let registry =
        Registry::<()>::builder().root("KSR").callbacks(callbacks).limits(limits).build().expect("it is sound");
    let source = Source::text("test.lua", "function main() while true do end end");
    let instance = Instance::load(&LuaEngine, &registry, &[source]).expect("it loads");
    let ended = instance.call(main, &mut (), &[]);
    assert_eq!(ended.map_err(|error| error.code), Err(ErrorCode::TimeLimit));
    assert!(SEEN.load(Ordering::Relaxed) > 0);

    // Without a script that runs it only passes through.
    drop(instance);
    let seen = SEEN.load(Ordering::Relaxed);
    // SAFETY: the engine handles the signal.
    unsafe { libc::raise(libc::SIGURG) };
    assert_eq!(SEEN.load(Ordering::Relaxed), seen + 1);
}
