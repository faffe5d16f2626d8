use kemi_macros::kemi_export;

struct Cx;

#[kemi_export(module = "a.b")]
fn f(_cx: &mut Cx) {}

fn main() {}
