//! B12: a host that is built with `panic = "abort"` is accepted; a panic of a native function then ends the process.
use std::os::unix::process::ExitStatusExt;

use kemi::{Callbacks, Instance, NoContext, Registry, Source, kemi_export};

#[kemi_export(module = "m")]
fn broken(n: i64) -> i64 {
    assert!(n < 0, "a bug in the host");
    n
}

fn main() {
    if std::env::args().nth(1).as_deref() == Some("child") {
        kemi::link();
        let mut callbacks = Callbacks::new();
        let f = callbacks.required("r", "f", &[]);
        let registry = Registry::<NoContext>::builder().all_modules().callbacks(callbacks).build().expect("builds");
        let script = Source::text("script", "fn f() { KSR.m.broken(1) }");
        let instance = Instance::load(kemi::find_engine("rhai").expect("linked"), &registry, &[script]).expect("loads");
        println!("{:?}", instance.call(f, &mut NoContext, &[]));
        return;
    }
    let program = std::env::current_exe().expect("is known");
    let status = std::process::Command::new(program).arg("child").status().expect("runs");
    match status.signal() {
        Some(signal) => println!("ENDS THE PROCESS: a native function's panic, by signal {signal}, though panics are said to be errors"),
        None => println!("ends with {status}"),
    }
}
