use kemi_core::Script;
use kemi_macros::kemi_export;

struct Cx;

#[kemi_export(module = "m", blocking)]
fn calls_back(_cx: &mut Cx, _script: &Script<'_>) {}

fn main() {}
