use kemi_macros::kemi_export;

struct Cx;

use kemi_core::export::Rest;

#[kemi_export(module = "m")]
fn f(_cx: &mut Cx, _all: Rest<'_>, _b: i64) {}

fn main() {}
