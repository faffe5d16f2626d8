use kemi_macros::kemi_export;

struct Cx<'a>(&'a str);

#[kemi_export(module = "m")]
fn f(cx: &Cx<'_>) -> usize {
    cx.0.len()
}

fn main() {}
