use kemi_macros::kemi_export;

struct Cx;

#[kemi_export(module = "m")]
extern "C" fn f(_cx: &mut Cx) {}

fn main() {}
