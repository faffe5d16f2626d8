use kemi_macros::kemi_export;

struct Cx;

#[kemi_export(module = "net..http")]
fn f(_cx: &mut Cx) {}

#[kemi_export(module = "net.2http")]
fn g(_cx: &mut Cx) {}

fn main() {}
