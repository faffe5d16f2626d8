use kemi_macros::kemi_export;

struct Cx;

#[kemi_export(module = "m")]
fn f(_cx: &mut Cx, _pair: (i64, i64)) {}

fn main() {}
