//! A log subscriber that panics unwinds through the interpreter's frames.   core_log_panics lua|python|js|rhai
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;

use kemi::{NoContext, kemi_export};
use soundness::{Log, argument, load, registry, shown};

#[kemi_export(module = "m", deprecated(since = "1.0", use = "KSR.m.new"))]
fn old(n: i64) -> i64 {
    n
}

fn main() {
    let language = argument(1, "lua");
    if argument(2, "") != "child" {
        let program = std::env::current_exe().expect("is known");
        let output = Command::new(program).args([&language, "child"]).output().expect("runs");
        let told = String::from_utf8_lossy(&output.stdout).trim_end().replace('\n', "; ");
        println!("THE LOG'S PANIC ENDS THE CALL: {told} ({})", output.status);
        return;
    }
    let (registry, ids) = registry::<NoContext>(&["f", "g"]);
    let script = match language.as_str() {
        "lua" => "function f() return KSR.m.old(1) end function g() return 1 end",
        "python" => "def f():\n    return KSR.m.old(1)\ndef g():\n    return 1\n",
        "js" => "function f() { return KSR.m.old(1); } function g() { return 1; }",
        _ => "fn f() { KSR.m.old(1) } fn g() { 1 }",
    };
    let instance = load(&language, &registry, script);
    tracing::subscriber::set_global_default(Log(|line| assert!(!line.contains("is deprecated"), "the log is broken"))).expect("first");
    std::panic::set_hook(Box::new(|_| {}));
    let first = catch_unwind(AssertUnwindSafe(|| shown(&instance.call(ids[0], &mut NoContext, &[]))));
    println!("the call gives {}", first.unwrap_or_else(|_| "a panic out of the host's own call".to_owned()));
    println!("the next one gives {}", shown(&instance.call(ids[1], &mut NoContext, &[])));
    std::process::exit(0);
}
