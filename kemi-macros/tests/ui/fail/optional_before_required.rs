use kemi_macros::kemi_export;

struct Cx;

#[kemi_export(module = "m")]
fn f(_cx: &mut Cx, _a: Option<i64>, _b: i64) {}

fn main() {}
