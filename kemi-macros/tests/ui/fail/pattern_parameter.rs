use kemi_macros::kemi_export;

struct Cx;

use kemi_core::Value;

#[kemi_export(module = "m")]
fn f(_cx: &mut Cx, _: i64) {}

#[kemi_export(module = "m")]
fn g(_cx: &mut Cx, (Value::Nil | _): Value) {}

fn main() {}
