use kemi_macros::kemi_export;

struct Cx;

#[kemi_export(module = "m")]
fn wide(_cx: &mut Cx) -> i128 {
    0
}

fn main() {}
