use kemi_macros::kemi_export;

struct Cx;

#[kemi_export(module = "m")]
fn f(_cx: &mut Cx, _callback: fn(i64)) {}

fn main() {}
