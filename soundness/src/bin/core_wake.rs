//! Adopt 2: `Program::reload` calls the workers' wake functions under its lock.   core_wake bounded|status|panic
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use kemi::NoContext;
use soundness::{argument, open, registry};

fn main() {
    let (registry, ids) = registry::<NoContext>(&["f"]);
    let program = open("lua", &registry, "function f() end").expect("opens");
    if argument(1, "bounded") == "status" {
        let seen = program.clone();
        let _worker = program.worker("w", Some(Box::new(move || drop(seen.status())))).expect("loads");
        let (done, told) = mpsc::channel();
        std::thread::spawn(move || done.send(program.reload(Duration::from_millis(100)).is_ok()));
        match told.recv_timeout(Duration::from_secs(5)) {
            Ok(_) => println!("reloaded"),
            Err(_) => println!("HANGS: a reload whose wake function asks for the status stands still after 5 s (patience 100 ms)"),
        }
        std::process::exit(1);
    }
    if argument(1, "bounded") == "panic" {
        std::panic::set_hook(Box::new(|_| {}));
        let woken = Arc::new(AtomicU64::new(0));
        let count = woken.clone();
        let _first = program.worker("first", Some(Box::new(|| panic!("a bug in the host's wake")))).expect("loads");
        let wake = move || {
            count.fetch_add(1, Ordering::Relaxed);
        };
        let _second = program.worker("second", Some(Box::new(wake))).expect("loads");
        let reload = std::panic::AssertUnwindSafe(|| program.reload(Duration::from_millis(100)).is_ok());
        let reloaded = std::panic::catch_unwind(reload).map_err(|_| "panics");
        let woken = woken.load(Ordering::Relaxed);
        println!("NOT WOKEN: the first worker's wake function panics; the reload gives {reloaded:?}, the second worker was woken {woken} times");
        return;
    }
    // A worker behind a queue that is full: the usual server under load.
    let (jobs, queue) = mpsc::sync_channel::<bool>(4);
    let (own, wake, calls) = (program.clone(), jobs.clone(), Arc::new(AtomicU64::new(0)));
    let count = calls.clone();
    std::thread::spawn(move || {
        let mut worker = own.worker("w", Some(Box::new(move || {
            let _ = wake.send(false);
        }))).expect("loads");
        for job in queue {
            worker.refresh();
            if job {
                worker.instance().call(ids[0], &mut NoContext, &[]).expect("works");
                count.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    std::thread::spawn(move || while jobs.send(true).is_ok() {});
    std::thread::sleep(Duration::from_millis(300));
    let (done, told) = mpsc::channel();
    std::thread::spawn(move || {
        for n in 1..=500 {
            program.reload(Duration::from_millis(100)).expect("is good");
            let _ = done.send(n);
        }
    });
    let mut reloads = 0;
    while let Ok(n) = told.recv_timeout(Duration::from_secs(3)) {
        reloads = n;
        if n == 500 {
            println!("500 reloads");
            std::process::exit(0);
        }
    }
    let before = calls.load(Ordering::Relaxed);
    std::thread::sleep(Duration::from_secs(1));
    let after = calls.load(Ordering::Relaxed) - before;
    println!("HANGS: after {reloads} reloads the next one waits for the full queue; calls in the second after: {after}");
    std::process::exit(1);
}
