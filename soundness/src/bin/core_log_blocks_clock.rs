//! A log line that blocks, as on a pipe that nobody reads, stops the watchdog with its lock: no time limit holds, nothing can be loaded.
use std::sync::mpsc;
use std::time::Duration;

use kemi::{Limits, NoContext, kemi_export};
use soundness::{Log, limited, load};

#[kemi_export(module = "m")]
fn wait(ms: u64) {
    std::thread::sleep(Duration::from_millis(ms));
}

fn main() {
    let block = |line: &str| {
        if line.contains("stuck") {
            println!("a log line blocks: {line}");
            std::thread::sleep(Duration::from_secs(3600));
        }
    };
    tracing::subscriber::set_global_default(Log(block)).expect("first");
    let (registry, ids) = limited::<NoContext>(&["f", "g"], Limits { max_time_ms: 200, ..Limits::default() });
    let script = "function f() KSR.m.wait(60000) end function g() while true do end end";
    let (other, f) = (registry.clone(), ids[0]);
    let instance = load("lua", &registry, script);
    std::thread::spawn(move || load("lua", &other, script).call(f, &mut NoContext, &[]));
    std::thread::sleep(Duration::from_secs(8));
    let (done, told) = mpsc::channel();
    let also = done.clone();
    std::thread::spawn(move || {
        let _loaded = load("lua", &registry, script);
        let _ = also.send("loaded");
    });
    std::thread::spawn({
        let g = ids[1];
        let instance = Moved(instance);
        move || {
            let instance = instance;
            let _ = instance.0.call(g, &mut NoContext, &[]);
            let _ = done.send("ended in time");
        }
    });
    std::thread::sleep(Duration::from_secs(5));
    let got: Vec<_> = told.try_iter().collect();
    println!("HANGS: 5 s later, of a new load and of an endless script with max_time_ms 200 has come back: {got:?}");
    std::process::exit(1);
}

/// A Lua state has no thread of its own; only one uses it here.
struct Moved<T>(T);
// SAFETY: see above.
unsafe impl<T> Send for Moved<T> {}
