use kemi_macros::kemi_export;

struct Cx;

#[kemi_export(module = "m")]
fn parameter(_cx: &mut Cx, _name: impl AsRef<str>) {}

#[kemi_export(module = "m")]
fn result(_cx: &mut Cx) -> impl Into<i64> {
    0
}

fn main() {}
