//! B4: a script that tests whether a function is there before it calls it is refused.   core_feature_test lua|js
use kemi::{NoContext, kemi_export};
use soundness::{argument, open, registry};

#[kemi_export(module = "tm")]
fn relay() -> bool {
    true
}

fn main() {
    let language = argument(1, "lua");
    let script = match language.as_str() {
        "lua" => "function f() if KSR.tm.t_new then KSR.tm.t_new() end end",
        _ => "function f() { if (KSR.tm.t_new) KSR.tm.t_new(); }",
    };
    let (registry, _) = registry::<NoContext>(&["f"]);
    match open(&language, &registry, script) {
        Ok(_) => println!("opened"),
        Err(error) => println!("REFUSED: a feature test in {language}: {error}"),
    }
}
