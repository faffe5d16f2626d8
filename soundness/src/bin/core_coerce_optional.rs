//! B2: under the policy `compat` an optional parameter is not coerced.
use kemi::{NoContext, Policy, Registry, kemi_export};
use soundness::{load, shown, table};

#[kemi_export(module = "m")]
fn plain(text: &str) -> String {
    text.to_owned()
}
#[kemi_export(module = "m")]
fn optional(text: Option<&str>) -> String {
    text.unwrap_or("none").to_owned()
}

fn main() {
    let (callbacks, ids) = table(&["f", "g"]);
    let registry = Registry::<NoContext>::builder().all_modules().callbacks(callbacks).policy(Policy::Compat).build().expect("builds");
    let instance = load("lua", &registry, "function f() return KSR.m.plain(5) end function g() return KSR.m.optional(5) end");
    let [plain, optional] = [ids[0], ids[1]].map(|id| shown(&instance.call(id, &mut NoContext, &[])));
    println!("WRONG VALUE: 5 for a text is {plain}, 5 for an optional text is {optional}");
}
