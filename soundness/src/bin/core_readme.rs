//! Adopt 10: the README's first program prints nothing.
use std::process::Command;

use kemi::{Callbacks, Instance, Registry, Source, kemi_export};

struct Counter(i64);

/// Adds to the counter.
#[kemi_export(module = "counter")]
fn add(cx: &mut Counter, n: i64) -> i64 {
    cx.0 += n;
    cx.0
}

fn readme() -> Result<(), Box<dyn std::error::Error>> {
    kemi::link();
    let mut callbacks = Callbacks::new();
    let start = callbacks.required("start", "on_start", &[]);
    let registry = Registry::<Counter>::builder().all_modules().callbacks(callbacks).build()?;
    let engine = kemi::find_engine("lua")?; // or "rhai", "python", "js"
    let script = Source::text("hello.lua", "function on_start() print(KSR.counter.add(42)) end");
    let instance = Instance::load(engine, &registry, &[script])?;
    instance.call(start, &mut Counter(0), &[])?;
    Ok(())
}

fn main() {
    if soundness::argument(1, "") == "child" {
        return readme().expect("works");
    }
    let output = Command::new(std::env::current_exe().expect("is known")).arg("child").output().expect("runs");
    let bytes = output.stdout.len() + output.stderr.len();
    println!("PRINTS NOTHING: the README's program ends with {} and has written {bytes} bytes", output.status);
}
