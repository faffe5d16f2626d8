use kemi_macros::kemi_export;

struct Cx;

#[kemi_export(module = "m", callbacks(request, reply, "request"))]
fn f(_cx: &mut Cx) {}

fn main() {}
