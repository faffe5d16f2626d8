use kemi_macros::kemi_export;

struct A;

struct B;

#[kemi_export(module = "m")]
fn f(_a: &mut A, _b: &mut B) {}

#[kemi_export(module = "m")]
fn g(_a: &A, _n: i64, _b: &mut B) {}

#[kemi_export(module = "m")]
fn h(_a: &mut A, _b: &mut dyn Send) {}

fn main() {}
