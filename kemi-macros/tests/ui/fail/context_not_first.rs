use kemi_macros::kemi_export;

struct Cx;

#[kemi_export(module = "m")]
fn f(_name: &str, _cx: &mut Cx) {}

fn main() {}
