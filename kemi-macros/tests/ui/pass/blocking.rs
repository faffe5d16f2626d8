//! A function that waits has a description and no typed entry.

use kemi_core::Registry;
use kemi_macros::kemi_export;

struct Cx;

#[kemi_export(module = "m", blocking)]
fn waits(_cx: &mut Cx, _milliseconds: u64) {}

#[kemi_export(module = "m", blocking, context = Cx, cost = 3)]
fn waits_without_context() -> String {
    String::new()
}

fn main() {
    let registry = Registry::<Cx>::builder().root("app").all_modules().build().unwrap();
    for name in ["waits", "waits_without_context"] {
        let def = registry.find("m", name).unwrap().def();
        assert!(def.blocking && def.typed.is_none());
    }
}
