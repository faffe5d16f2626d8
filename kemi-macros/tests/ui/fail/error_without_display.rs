use kemi_macros::kemi_export;

struct Cx;

struct Silent;

#[kemi_export(module = "m")]
fn f(_cx: &mut Cx) -> Result<i64, Silent> {
    Err(Silent)
}

fn main() {}
