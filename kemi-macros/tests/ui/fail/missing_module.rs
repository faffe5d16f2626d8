use kemi_macros::kemi_export;

struct Cx;

#[kemi_export]
fn f(_cx: &mut Cx) {}

#[kemi_export(name = "g")]
fn g(_cx: &mut Cx) {}

fn main() {}
