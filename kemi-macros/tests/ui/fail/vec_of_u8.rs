use kemi_macros::kemi_export;

struct Cx;

#[kemi_export(module = "m")]
fn parameter(_cx: &mut Cx, _body: Vec<u8>) {}

#[kemi_export(module = "m")]
fn result(_cx: &mut Cx) -> Option<Vec<u8>> {
    None
}

fn main() {}
