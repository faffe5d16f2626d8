use kemi_macros::kemi_export;

struct Cx;

struct Address;

#[kemi_export(module = "m")]
fn contact(_cx: &mut Cx, _address: Address) {}

fn main() {}
