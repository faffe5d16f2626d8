//! Adopt 7: the root's name is not checked.
use kemi::{Instance, NoContext, Registry, kemi_export};
use soundness::{engine, shown, table, text};

#[kemi_export(module = "")]
fn bare() -> i64 {
    7
}

fn run(root: &str, script: &str) -> String {
    let (callbacks, ids) = table(&["f"]);
    let registry = match Registry::<NoContext>::builder().root(root).module("").callbacks(callbacks).build() {
        Ok(registry) => registry,
        Err(error) => return format!("refused: {error}"),
    };
    match Instance::load(engine("lua"), &registry, &text(script)) {
        Ok(instance) => shown(&instance.call(ids[0], &mut NoContext, &[])),
        Err(error) => error.to_string().replace('\n', " "),
    }
}

fn main() {
    for root in ["", "a.b", "my-app", "1x", "end"] {
        println!("root {root:?}: {}", run(root, &format!("function f() return {root}.bare() end")));
    }
    let gone = run("string", "function f() return string.rep('x', 3) end");
    println!("ACCEPTED: roots that no script can name; with the root 'string' the library is gone: {gone}");
}
