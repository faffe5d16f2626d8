//! Unknown names and feature tests.

mod common;

use common::{eval, eval_error, load};
use kemi_core::{ErrorCode, Value};

#[test]
fn modules_can_be_asked_for() {
    assert_eq!(eval("if KSR.t { 1 } else { 2 }"), Value::Int(1));
    assert_eq!(eval("if KSR.nathelper { KSR.nathelper.fix() } else { 2 }"), Value::Int(2));
    assert_eq!(eval("[KSR.t && true, !KSR.nathelper]").to_string(), "[true, true]");
}

#[test]
fn unknown_names_are_explained_when_they_are_used() {
    let rows = [
        ("KSR.t.ad(1, 2)", "there is no function KSR.t.ad", "did you mean KSR.t.add?"),
        ("KSR.t.nonsense_name()", "there is no function KSR.t.nonsense_name", ""),
        ("KSR.inof(\"x\")", "there is no module or function KSR.inof", "did you mean KSR.info?"),
        ("KSR.nathelpr.fix()", "there is no module or function KSR.nathelpr", "did you mean KSR.nathelper?"),
        (
            "if KSR.nathelpr { KSR.info(\"\") }",
            "there is no module or function KSR.nathelpr",
            "did you mean KSR.nathelper?",
        ),
        ("KSR.nathelper.fix()", "module KSR.nathelper is not enabled", "loadmodule \"nathelper.so\""),
        ("let f = KSR.t.add;", "KSR.t.add is a function, not a value", "call it: KSR.t.add(…)"),
        ("let f = KSR.info;", "KSR.info is a function, not a value", "call it: KSR.info(…)"),
        ("KSR.add(1, 2)", "there is no module or function KSR.add", ""),
    ];
    for (text, message, hint) in rows {
        let mut host = load(&format!("fn run() {{\n {text}\n}}")).unwrap();
        let error = host.error();
        assert_eq!(error.code, ErrorCode::UnknownFunction, "{text}: {error}");
        assert_eq!(error.message, message, "{text}");
        assert_eq!(error.hint.as_deref().unwrap_or(""), hint, "{text}");
        assert_eq!(error.place.as_ref().map(ToString::to_string).as_deref(), Some("test.rhai:2"), "{text}");
    }
    // The script's own functions are not the host's.
    assert_eq!(eval_error("unheard_of(1)").code, ErrorCode::Runtime);
}

#[test]
fn callbacks_are_found_by_name() {
    let host = load("fn run() { } fn other(a, b) { } private fn hidden() { }").unwrap();
    assert!(host.instance.has(host.run) && !host.instance.has(host.reply));
    assert_eq!(host.instance.defined(), ["run"]);
    let error = eval_error("KSR.t.call(\"rum\")");
    assert_eq!(error.code, ErrorCode::MissingCallback);
    assert!(error.to_string().contains("did you mean 'run'?"), "{error}");
}
