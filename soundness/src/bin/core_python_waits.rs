//! Adopt 4: waiting for Python's lock counts as the script's time.
use std::sync::mpsc;
use std::time::{Duration, Instant};

use kemi::{NoContext, kemi_export};
use soundness::{load, registry};

#[kemi_export(module = "m")]
fn wait() {
    std::thread::sleep(Duration::from_millis(100));
}

fn main() {
    let (registry, ids) = registry::<NoContext>(&["f"]);
    soundness::engine("python");
    let start_line = std::sync::Arc::new(std::sync::Barrier::new(31));
    let (done, results) = mpsc::channel();
    for _ in 0..30 {
        let (registry, done, line, f) = (registry.clone(), done.clone(), start_line.clone(), ids[0]);
        std::thread::spawn(move || {
            let instance = load("python", &registry, "def f():\n    KSR.m.wait()\n");
            line.wait();
            let outcome = instance.call(f, &mut NoContext, &[]);
            let _ = done.send(outcome.map(|_| ()).map_err(|error| error.code.as_str()));
            // Its end may come when all is said.
            std::mem::forget(instance);
        });
    }
    drop(done);
    start_line.wait();
    let start = Instant::now();
    let errors: Vec<_> = results.iter().filter_map(Result::err).collect();
    let kind = errors.first().copied().unwrap_or("nothing");
    println!(
        "COUNTED AS THE SCRIPT'S: of 30 threads whose script waits 100 ms in a native function {} end with {kind}; all took {:.1} s",
        errors.len(),
        start.elapsed().as_secs_f64()
    );
    std::process::exit(1);
}
