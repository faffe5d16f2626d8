//! B11: a reload on the thread of a worker waits for that very worker, until its patience ends.
use std::sync::Arc;
use std::time::{Duration, Instant};

use kemi::{Limits, Program, kemi_export};
use soundness::{limited, open};

struct Cx(Option<Arc<Program<Cx>>>);

#[kemi_export(module = "m")]
fn reload(cx: &mut Cx) -> bool {
    cx.0.as_ref().is_some_and(|program| program.reload(Duration::from_secs(3)).is_ok())
}

fn main() {
    let (registry, ids) = limited::<Cx>(&["f"], Limits { max_time_ms: 0, ..Limits::default() });
    let program = open("lua", &registry, "function f() return KSR.m.reload() end").expect("opens");
    let worker = program.worker("w", None).expect("loads");
    let start = Instant::now();
    worker.instance().call(ids[0], &mut Cx(Some(program.clone())), &[]).expect("works");
    println!("WAITS FOR ITSELF: a reload by the only worker's own thread took {} s of 3 s patience", start.elapsed().as_secs());
}
