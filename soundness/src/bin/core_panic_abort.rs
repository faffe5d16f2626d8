//! B12: a host that is built with `panic = "abort"` is accepted; a panic of a native function then ends the process. `soundness/run` builds
//! this one so.
use std::os::unix::process::ExitStatusExt;

use kemi::{NoContext, kemi_export};
use soundness::{argument, load, registry};

#[kemi_export(module = "m")]
fn broken() -> i64 {
    panic!("a bug in the host")
}

fn main() {
    if argument(1, "") == "child" {
        let (registry, ids) = registry::<NoContext>(&["f"]);
        let got = load("lua", &registry, "function f() return KSR.m.broken() end").call(ids[0], &mut NoContext, &[]);
        println!("{}", soundness::shown(&got));
        return;
    }
    let program = std::env::current_exe().expect("is known");
    let status = std::process::Command::new(program).arg("child").status().expect("runs");
    match status.signal() {
        Some(signal) => println!("ENDS THE PROCESS: a native function's panic, by signal {signal}, though panics are said to be errors"),
        None => println!("ends with {status}"),
    }
}
