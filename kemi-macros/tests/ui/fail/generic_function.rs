use kemi_macros::kemi_export;

struct Cx;

#[kemi_export(module = "m")]
fn generic<T>(_cx: &mut Cx, _value: T) {}

#[kemi_export(module = "m")]
fn sized<const N: usize>(_cx: &mut Cx) -> usize {
    N
}

fn main() {}
