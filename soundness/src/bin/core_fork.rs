//! A process that has forked has no watchdog: no time limit holds.
use kemi::{Limits, NoContext};
use soundness::{deadline, limited, load};

fn main() {
    let (registry, ids) = limited::<NoContext>(&["f", "g"], Limits { max_time_ms: 200, ..Limits::default() });
    let instance = load("lua", &registry, "function f() while true do end end function g() end");
    instance.call(ids[1], &mut NoContext, &[]).expect("works");
    // SAFETY: what runs in the child needs no lock that another thread has: the watchdog's is free between its looks.
    match unsafe { libc::fork() } {
        0 => {
            deadline(5, "in the child of a fork an endless script runs on after 5 s (max_time_ms is 200)");
            let got = instance.call(ids[0], &mut NoContext, &[]);
            println!("ends: {}", soundness::shown(&got));
        }
        child => {
            let mut status = 0;
            // SAFETY: a child of this process, a place for its status.
            unsafe { libc::waitpid(child, &raw mut status, 0) };
        }
    }
}
