use kemi_macros::kemi_export;

struct Cx;

#[kemi_export(module = "m")]
unsafe fn peek(_cx: &mut Cx, _address: usize) {}

fn main() {}
