use kemi_macros::kemi_export;

#[kemi_export(module = "m")]
struct Cx;

// It is still there: nothing below adds messages of its own.
fn main() {
    let _ = Cx;
}
