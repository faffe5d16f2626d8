use kemi_macros::kemi_export;

#[kemi_export(module = "m")]
struct Cx;

#[kemi_export(module = "m")]
const LIMIT: i64 = 1;

// Both are still there: nothing below adds messages of its own.
fn main() {
    let _ = (Cx, LIMIT);
}
