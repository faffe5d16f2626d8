use kemi_macros::kemi_export;

struct Script;

#[kemi_export(module = "m")]
fn f(_cx: &Script) {}

fn main() {}
