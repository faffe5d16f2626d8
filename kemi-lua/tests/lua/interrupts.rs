use std::time::{Duration, Instant};

use kemi_core::{ErrorCode, Limits, Outcome, Value};

use crate::host::try_load_limited;
use crate::limits::{TIME, script};

#[test]
fn instances_are_interrupted_on_their_own_threads() {
    let workers: Vec<_> = (0..4)
        .map(|_| {
            std::thread::spawn(|| {
                let mut other = script(TIME, "");
                let mut script = script(TIME, "while true do end");
                for _ in 0..6 {
                    let ended = script.call(&[]).map_err(|error| error.code);
                    assert!(
                        matches!(ended, Err(ErrorCode::TimeLimit) | Ok(Outcome::Value(Value::Str(_)))),
                        "{ended:?}"
                    );
                    assert!(other.call(&[]).is_ok());
                }
            })
        })
        .collect();
    for worker in workers {
        worker.join().expect("no panic");
    }
}

#[test]
fn a_signal_that_is_not_ours_disturbs_nothing() {
    let mut script = script(TIME, "for i = 1, 300000 do local x = i end");
    // SAFETY: the engine handles the signal.
    let main = unsafe { libc::pthread_self() };
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                // SAFETY: the thread waits for this one.
                unsafe { libc::pthread_kill(main, libc::SIGURG) };
                std::thread::sleep(Duration::from_micros(50));
            }
        });
        for _ in 0..20 {
            let outcome = script.call(&[]);
            assert!(outcome.is_ok() || outcome.is_err_and(|error| error.code == ErrorCode::TimeLimit));
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

/// Hooks are set and taken away at every instant: none may be left in a state that no later signal mends.
#[test]
fn a_signal_ends_a_call_whenever_it_comes() {
    let bodies = [
        "while true do end",
        "while true do pcall(error) end",
        "while true do KSR.t.run('short') end",
        "while true do pcall(coroutine.wrap(function() error() end)) end",
        "while true do string.find('aaaaaaaa', '.-.-b') end",
        "while true do if jit then jit.off() jit.flush() end end",
    ];
    let limits = Limits { max_time_ms: 2, ..Limits::NONE };
    for body in bodies {
        let source = format!("function short() end function main() {body} end");
        let mut script = try_load_limited(limits, &source).expect("it loads");
        for _ in 0..60 {
            let start = Instant::now();
            let ended = script.call(&[]).map_err(|error| error.code);
            assert_eq!(ended, Err(ErrorCode::TimeLimit), "{body}");
            assert!(start.elapsed() < Duration::from_secs(10), "{body} took {:?}", start.elapsed());
        }
    }
}
