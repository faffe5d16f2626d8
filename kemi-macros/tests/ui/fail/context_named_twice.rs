use kemi_macros::kemi_export;

struct A(u8);

struct B([u64; 64]);

#[kemi_export(module = "m", context = A)]
fn poke(cx: &mut B) -> i64 {
    cx.0[63] = 7;
    1
}

#[kemi_export(module = "m", context = A)]
fn peek(cx: &A) -> i64 {
    cx.0.into()
}

fn main() {}
