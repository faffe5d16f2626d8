use kemi_macros::kemi_export;

struct Cx;

#[kemi_export(module = "m")]
async fn wait(_cx: &mut Cx) {}

fn main() {}
