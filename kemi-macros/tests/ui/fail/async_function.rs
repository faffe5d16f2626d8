use kemi_core::{Lent, Script};
use kemi_macros::kemi_export;

struct Cx;

#[kemi_export(module = "m")]
async fn with_the_context(_cx: &mut Cx) {}

#[kemi_export(module = "m")]
async fn borrows(_cx: Lent<'_, Cx>, _url: &str) {}

#[kemi_export(module = "m", blocking)]
async fn waits_twice(_url: String) {}

#[kemi_export(module = "m")]
fn not_async(_cx: Lent<'_, Cx>) {}

#[kemi_export(module = "m")]
async fn calls_back(_cx: Lent<'_, Cx>, _script: &Script<'_>) {}

fn main() {}
