//! What the attribute leaves behind, seen through a registry.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use kemi_core::abi::Out;
use kemi_core::export::Rest;
use kemi_core::value::Type;
use kemi_core::{ByteString, Callbacks, NativeExit, Registry, Script, Value};
use kemi_macros::kemi_export;

struct Cx {
    text: String,
}

/// Adds.
///
/// Twice over.
#[kemi_export(module = "calc", since = "1.0", cost = 5)]
fn add(cx: &mut Cx, a: i64, b: u16) -> i64 {
    cx.text.push('+');
    a + i64::from(b)
}

#[kemi_export(module = "calc", name = "text", callbacks(request))]
fn borrowed<'c>(cx: &'c Cx, _name: &str) -> &'c str {
    &cx.text
}

#[kemi_export(module = "calc")]
fn options(_cx: &mut Cx, a: &[u8], b: Option<i64>, rest: Rest<'_>) -> Result<usize, String> {
    Ok(a.len() + usize::from(b.is_some()) + rest.len())
}

#[kemi_export(module = "", deprecated(since = "2", use = "calc.add"))]
fn everything(
    _cx: &mut Cx,
    _script: &Script<'_>,
    _a: Vec<String>,
    _b: BTreeMap<ByteString, Value>,
) -> (i64, Option<String>, Vec<f64>) {
    (1, None, Vec::new())
}

#[kemi_export(module = "calc", context = Cx)]
fn seven(_a: i64, _b: i64, _c: i64, _d: i64, _e: i64, _f: i64, _g: i64) -> Result<bool, NativeExit> {
    Ok(true)
}

#[kemi_export(module = "calc")]
fn decided(cx: &mut Cx) -> Out<'_> {
    Out::Bytes(cx.text.as_bytes())
}

struct Other;

#[kemi_export(module = "calc")]
fn other(_cx: &mut Other) {}

fn registry() -> Registry<Cx> {
    let mut callbacks = Callbacks::new();
    callbacks.required("request", "on_request", &[]);
    Registry::builder().root("app").all_modules().callbacks(callbacks).build().unwrap()
}

#[test]
fn exports_are_sorted_and_dense() {
    let registry = registry();
    let names: Vec<String> =
        registry.exports().iter().map(|e| format!("{} {}", e.index(), registry.script_name(e.def()))).collect();
    assert_eq!(
        names,
        [
            "0 app.everything",
            "1 app.calc.add",
            "2 app.calc.decided",
            "3 app.calc.options",
            "4 app.calc.seven",
            "5 app.calc.text",
            "6 app.x.drop",
            "7 app.x.exit",
        ]
    );
}

#[test]
fn hosts_with_different_contexts_do_not_see_each_other() {
    let other = Registry::<Other>::builder().root("app").module("calc").build().unwrap();
    assert!(other.find("calc", "other").is_some());
    assert!(other.find("calc", "add").is_none());
    assert!(registry().find("calc", "other").is_none());
}

#[test]
fn the_signature_is_described() {
    let registry = registry();
    let add = registry.find("calc", "add").unwrap().def();
    assert_eq!(add.doc, "Adds.\n\nTwice over.");
    assert_eq!((add.params[0].name, add.params[1].name), ("a", "b"));
    assert_eq!(add.params[1].ty, Type::Int { min: 0, max: 65535 });
    assert_eq!((add.cost, add.since), (5, Some("1.0")));
    assert!(add.file.ends_with("exports.rs"));

    let options = registry.find("calc", "options").unwrap().def();
    assert_eq!((options.min_args(), options.max_args()), (1, None));
    let everything = registry.find("", "everything").unwrap().def();
    assert_eq!(everything.params[0].ty.to_string(), "[string]");
    assert_eq!(everything.params[1].ty.to_string(), "{any}");
    assert_eq!(everything.returns.to_string(), "(int, string?, [float])");
    assert_eq!(everything.deprecated.unwrap().instead, "calc.add");
}

#[test]
fn shapes_follow_the_types_not_their_spelling() {
    let registry = registry();
    let shape = |name: &str| registry.find("calc", name).unwrap().def().typed.map(|t| format!("{:?}", t.shape()));
    assert_eq!(shape("add").as_deref(), Some("(ii)->i"));
    assert_eq!(shape("text").as_deref(), Some("(s)->s"));
    assert_eq!(shape("decided").as_deref(), Some("()->a"));
    assert_eq!(shape("options"), None);
    assert_eq!(shape("seven"), None);
}

#[test]
fn the_dump_is_versioned_json() {
    let dump = registry().dump();
    assert_eq!(dump["version"], 1);
    assert_eq!(dump["root"], "app");
    assert_eq!(dump["exports"][1]["params"][1]["type"], "int(0..65535)");
    assert_eq!(dump["exports"][5]["callbacks"][0], "request");
    assert_eq!(dump["callbacks"][0]["presence"], "required");
}

#[test]
fn mistakes_in_building_are_told_all_at_once() {
    // Without the route `request` in the callback table, and with two modules that do not exist.
    let error = Registry::<Cx>::builder().root("app").module("calc").module("clac").module("nope").build().unwrap_err();
    let text = error.to_string();
    assert_eq!(error.mistakes().len(), 3, "{text}");
    assert!(text.contains("did you mean 'calc'?") && text.contains("route 'request'"), "{text}");
}

#[test]
fn unknown_names_are_explained() {
    let registry = Registry::<Other>::builder().root("app").enable_hint("loadmodule \"{module}.so\"").build().unwrap();
    let text = registry.explain_unknown("calc", Some("other")).to_string();
    assert!(text.contains("module app.calc is not enabled; loadmodule \"calc.so\""), "{text}");
    let text = registry.explain_unknown("x", Some("exti")).to_string();
    assert!(text.contains("there is no function app.x.exti; did you mean app.x.exit?"), "{text}");
}
