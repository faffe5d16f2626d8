//! Keywords as names lose their `r#` in scripts and messages.

use kemi_macros::kemi_export;

struct Cx;

#[kemi_export(module = "m", deprecated(since = "1", r#use = "m.looped"))]
fn r#match(_cx: &mut Cx, r#type: i64, _unused: bool) -> i64 {
    r#type
}

#[kemi_export(module = "m", callbacks(r#loop))]
fn looped(_cx: &mut Cx) {}

fn main() {
    let mut callbacks = kemi_core::Callbacks::new();
    callbacks.optional("loop", "on_loop", &[]);
    let registry = kemi_core::Registry::<Cx>::builder().root("app").module("m").callbacks(callbacks).build().unwrap();
    let def = registry.find("m", "match").unwrap().def();
    assert_eq!((def.params[0].name, def.params[1].name), ("type", "unused"));
    assert_eq!(def.deprecated.unwrap().instead, "m.looped");
    assert_eq!(registry.find("m", "looped").unwrap().def().callbacks, ["loop"]);
}
