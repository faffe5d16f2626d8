use kemi_macros::kemi_export;

struct Cx;

#[kemi_export(module = "my-module")]
fn f(_cx: &mut Cx) {}

#[kemi_export(module = "m", name = "")]
fn g(_cx: &mut Cx) {}

#[kemi_export(module = "m", name = "2nd")]
fn h(_cx: &mut Cx) {}

fn main() {}
