//! B5, adopt 12: names that stand twice are accepted.   core_names_twice module|callback
use kemi::{Callbacks, NoContext, Registry, kemi_export};
use soundness::{argument, load, registry, shown};

#[kemi_export(module = "", name = "calc")]
fn root_calc() -> i64 {
    1
}
#[kemi_export(module = "calc")]
fn add(a: i64, b: i64) -> i64 {
    a + b
}

fn main() {
    if argument(1, "module") == "module" {
        let (registry, ids) = registry::<NoContext>(&["f", "g"]);
        let instance = load("lua", &registry, "function f() return KSR.calc() end function g() return KSR.calc.add(1, 2) end");
        let [function, module] = [ids[0], ids[1]].map(|id| shown(&instance.call(id, &mut NoContext, &[])));
        println!("SILENTLY REPLACED: a root function and a module are both called calc; KSR.calc.add(1, 2) gives {module}, KSR.calc() gives {function}");
        return;
    }
    let mut callbacks = Callbacks::new();
    callbacks.required("a", "f", &[]);
    callbacks.required("a", "f", &["x"]);
    callbacks.required("b", "f", &["x"]);
    match Registry::<NoContext>::builder().callbacks(callbacks).build() {
        Ok(registry) => println!("ACCEPTED: {} declarations of one callback 'f', with other parameters and in another route", registry.callbacks().len()),
        Err(error) => println!("refused: {error}"),
    }
}
