//! A native function panics with a payload whose own end panics.   core_panic_payload lua|python|js|rhai
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;

use kemi::{NoContext, kemi_export};
use soundness::{argument, load, registry, shown};

struct Bomb;
impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("the payload's end");
    }
}

#[kemi_export(module = "m")]
fn bomb(n: i64) -> i64 {
    if n > 0 { std::panic::panic_any(Bomb) } else { n }
}

fn main() {
    let language = argument(1, "lua");
    if argument(2, "") != "child" {
        let program = std::env::current_exe().expect("is known");
        let output = Command::new(program).args([&language, "child"]).output().expect("runs");
        let told = String::from_utf8_lossy(&output.stdout).trim_end().replace('\n', "; ");
        println!("THE PAYLOAD'S PANIC GOES THROUGH THE INTERPRETER: {told} ({})", output.status);
        return;
    }
    let (registry, ids) = registry::<NoContext>(&["f", "g"]);
    let script = match language.as_str() {
        "lua" => "function f() return KSR.m.bomb(1) end function g() return 1 end",
        "python" => "def f():\n    return KSR.m.bomb(1)\ndef g():\n    return 1\n",
        "js" => "function f() { return KSR.m.bomb(1); } function g() { return 1; }",
        _ => "fn f() { KSR.m.bomb(1) } fn g() { 1 }",
    };
    let instance = load(&language, &registry, script);
    std::panic::set_hook(Box::new(|_| {}));
    let first = catch_unwind(AssertUnwindSafe(|| shown(&instance.call(ids[0], &mut NoContext, &[]))));
    let first = first.unwrap_or_else(|payload| {
        std::mem::forget(payload);
        "a panic out of the host's own call".to_owned()
    });
    println!("the call gives {first}");
    println!("the next one gives {}", shown(&instance.call(ids[1], &mut NoContext, &[])));
    std::process::exit(0);
}
