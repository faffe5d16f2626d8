//! Time limits in the child of a fork.
#![cfg(unix)]

mod toy;

use std::sync::mpsc::channel;
use std::thread;

use kemi_core::{ErrorCode, Limits};
use kemi_macros::kemi_export;

const LIMITS: Limits = Limits { max_time_ms: 100, ..Limits::NONE };

/// How long a child may take until it counts as hanging, in seconds.
const PATIENCE: u32 = 60;

/// A host that forks once.
#[derive(Default)]
struct Cx {
    forks: bool,
    child: Option<bool>,
}

#[kemi_export(module = "test")]
fn fork(cx: &mut Cx) {
    if std::mem::take(&mut cx.forks) {
        // SAFETY: only this thread goes on in the child, which ends by `_exit`; see `finish`.
        let child = unsafe { libc::fork() };
        cx.child = Some(child == 0);
        if child == 0 {
            // SAFETY: no demands. A child that hangs ends by this.
            unsafe { libc::alarm(PATIENCE) };
        } else {
            wait_for(child);
        }
    }
}

/// Ends the child, well or not.
fn finish(well: bool) -> ! {
    // SAFETY: no demands.
    unsafe { libc::_exit(i32::from(!well)) }
}

fn wait_for(child: libc::pid_t) {
    let mut status = -1;
    // SAFETY: the status has a place.
    let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };
    assert_eq!((waited, status), (child, 0), "the child has ended with status {status:#x}, 14 for a hang");
}

/// Runs something in a child, which reports whether it was well.
fn in_child(run: impl FnOnce() -> bool) {
    // SAFETY: only this thread goes on in the child, which ends by `_exit`.
    match unsafe { libc::fork() } {
        0 => {
            // SAFETY: no demands. A child that hangs ends by this.
            unsafe { libc::alarm(PATIENCE) };
            finish(run())
        }
        child => wait_for(child),
    }
}

#[test]
fn time_limits_hold_in_the_child_of_a_fork_and_in_its_own_child() {
    let (_registry, ids, instance) = toy::load::<Cx>(&["spin"], LIMITS);
    let ends = || {
        let error = instance.call(ids[0], &mut Cx::default(), &[]).err();
        error.is_some_and(|error| error.code == ErrorCode::TimeLimit)
    };
    assert!(ends(), "it does here");
    in_child(|| {
        in_child(ends);
        ends()
    });
    assert!(ends(), "it still does");
}

#[test]
fn a_fork_while_other_threads_run_scripts_leaves_no_call_behind() {
    let (ready, there) = channel();
    let (leave, end) = channel::<()>();
    let busy = thread::spawn(move || {
        let (_registry, ids, instance) = toy::load::<Cx>(&["spin"], LIMITS);
        while end.try_recv().is_err() {
            let _ = instance.call(ids[0], &mut Cx::default(), &[]);
            let _ = ready.send(());
        }
    });
    there.recv().expect("it calls");
    let (_registry, ids, instance) = toy::load::<Cx>(&["spin"], LIMITS);
    for _ in 0..10 {
        in_child(|| {
            let error = instance.call(ids[0], &mut Cx::default(), &[]).err();
            error.is_some_and(|error| error.code == ErrorCode::TimeLimit)
        });
    }
    let _ = leave.send(());
    busy.join().expect("nothing was wrong there");
}

#[test]
fn a_call_that_forks_itself_ends_in_time_at_a_native_call() {
    let (_registry, ids, instance) = toy::load::<Cx>(&["fork_spin"], LIMITS);
    let mut cx = Cx { forks: true, ..Cx::default() };
    let result = instance.call(ids[0], &mut cx, &[]);
    let in_time = result.err().is_some_and(|error| error.code == ErrorCode::TimeLimit);
    if cx.child == Some(true) {
        finish(in_time);
    }
    assert!(in_time);
}
