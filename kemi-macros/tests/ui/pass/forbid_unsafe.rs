//! Expansions need no unsafe code of the crate they are in.
#![forbid(unsafe_code)]
#![deny(warnings)]

use kemi_macros::kemi_export;

struct Cx(String);

#[kemi_export(module = "m")]
fn text<'c>(cx: &'c mut Cx, more: &str) -> &'c str {
    cx.0.push_str(more);
    &cx.0
}

fn main() {
    let registry = kemi_core::Registry::<Cx>::builder().root("app").module("m").build().unwrap();
    assert!(registry.find("m", "text").unwrap().def().typed.is_some());
    assert_eq!(text(&mut Cx("a".to_owned()), "b"), "ab");
}
