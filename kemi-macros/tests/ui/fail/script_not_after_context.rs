use kemi_macros::kemi_export;

struct Cx;

use kemi_core::Script;

#[kemi_export(module = "m")]
fn late(_cx: &mut Cx, _name: &str, _script: &Script<'_>) {}

#[kemi_export(module = "m")]
fn mutable(_cx: &mut Cx, _script: &mut Script<'_>) {}

fn main() {}
