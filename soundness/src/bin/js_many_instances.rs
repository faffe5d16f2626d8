//! Adopt 5: dropping N JavaScript instances of a thread collects the garbage of all N times.
use std::sync::atomic::{AtomicUsize, Ordering};

use kemi::{Callbacks, Instance, NoContext, Registry, Source};

fn main() {
    let registry = Registry::<NoContext>::builder().callbacks(Callbacks::new()).build().expect("it builds");
    let engine = kemi::find_engine("js").expect("linked");
    static MS: AtomicUsize = AtomicUsize::new(0);
    for count in [50, 100, 200] {
        let source = [Source::text("t.js", "var a = 1;")];
        let all: Vec<_> =
            (0..count).map(|_| Instance::<NoContext>::load(engine, &registry, &source).expect("it loads")).collect();
        let start = std::time::Instant::now();
        drop(all);
        let ms = start.elapsed().as_millis() as usize;
        let before = MS.swap(ms, Ordering::Relaxed);
        println!("QUADRATIC: {count} instances are dropped in {ms} ms, half as many in {before} ms");
    }
}
