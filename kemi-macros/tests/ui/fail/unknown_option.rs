use kemi_macros::kemi_export;

struct Cx;

#[kemi_export(module = "m", modul = "n")]
fn f(_cx: &mut Cx) {}

fn main() {}
