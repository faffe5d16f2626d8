use kemi_macros::kemi_export;

trait Bus {}

#[kemi_export(module = "m")]
fn object(_bus: &mut dyn Bus) {}

#[kemi_export(module = "m")]
fn shared(_bus: &(dyn Bus + Send)) {}

#[kemi_export(module = "m")]
fn opaque(_bus: &mut impl Bus) {}

fn main() {}
