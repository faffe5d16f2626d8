use kemi_macros::kemi_export;

struct Cx;

#[kemi_export(module = "m", name = "a", name = "b")]
fn f(_cx: &mut Cx) {}

fn main() {}
