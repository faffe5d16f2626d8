//! The option `crate` says where the types are when the manifest does not.

mod vendor {
    pub mod core {
        pub use kemi_core::*;
    }
}

use vendor::core::Registry;

struct Cx;

#[kemi_macros::kemi_export(module = "m", crate = crate::vendor::core)]
fn add(_cx: &Cx, a: i64, b: Option<i64>) -> i64 {
    a + b.unwrap_or(0)
}

fn main() {
    let registry = Registry::<Cx>::builder().root("app").module("m").build().unwrap();
    assert_eq!(registry.find("m", "add").unwrap().def().min_args(), 1);
}
