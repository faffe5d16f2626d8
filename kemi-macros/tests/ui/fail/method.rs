use kemi_macros::kemi_export;

struct Cx;

impl Cx {
    #[kemi_export(module = "m")]
    fn get(&mut self, _name: &str) -> i64 {
        0
    }
}

fn main() {}
