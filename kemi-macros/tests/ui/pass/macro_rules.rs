//! Functions that a macro of the crate writes, with types from outside and inside it.

use kemi_macros::kemi_export;

struct Cx;

macro_rules! exports {
    ($($name:ident($context:ty, $argument:ty) -> $result:ty;)*) => {$(
        #[kemi_export(module = "m")]
        fn $name(_cx: $context, argument: $argument, _times: i64, _more: Option<&str>) -> $result {
            argument
        }
    )*};
}
exports! {
    number(&mut Cx, i64) -> i64;
    text(&Cx, String) -> String;
}

fn main() {
    let registry = kemi_core::Registry::<Cx>::builder().root("app").module("m").build().unwrap();
    let params = registry.find("m", "number").unwrap().def().params;
    let shown: Vec<String> = params.iter().map(|param| format!("{}: {}", param.name, param.ty)).collect();
    assert_eq!(shown, ["argument: int", "times: int", "more: string?"]);
    assert!(registry.find("m", "text").unwrap().def().needs_context);
}
