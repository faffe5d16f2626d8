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
        ("KSR.net.http.gte(\"u\")", "there is no function KSR.net.http.gte", "did you mean KSR.net.http.get?"),
        ("let f = KSR.net.http.get;", "KSR.net.http.get is a function, not a value", "call it: KSR.net.http.get(…)"),
        ("KSR.net.http.LIMIT(1)", "KSR.net.http.LIMIT is a constant, not a function", ""),
        ("KSR.log.Level()", "KSR.log.Level is a map, not a function", ""),
        ("KSR.net.http()", "KSR.net.http is a module, not a function", ""),
        ("KSR.nathelper.deep.test()", "module KSR.nathelper is not enabled", "loadmodule \"nathelper.so\""),
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

#[test]
fn modules_stand_in_modules() {
    assert_eq!(eval("KSR.net.http.get(\"u\")"), Value::from("got u"));
    assert_eq!(
        eval("[KSR.net.up(), KSR.deep.down.below.ask(1), KSR::deep::down::below::ask(2)]").to_string(),
        "[true, 2, 3]"
    );
    assert_eq!(eval("[1, 2].map(|n| KSR.deep.down.below.ask(n)).len() + KSR.net.http.get(\"u\").len()"), Value::Int(7));
    let asked = "[KSR.net && true, KSR.net.http && true, KSR.deep.down && true, KSR.nathelper && true]";
    assert_eq!(eval(asked).to_string(), "[true, true, true, false]");
    // What is off within a module that is on.
    assert_eq!(eval("if KSR.deep.off { KSR.deep.off.further.test() } else { 2 }"), Value::Int(2));
    for off in ["KSR.nathelper.deep", "KSR.deep.off.further.test()"] {
        let error = eval_error(off);
        assert!(error.message.ends_with(" is not enabled"), "{off}: {error}");
    }
}

#[test]
fn constants_are_values_that_nothing_changes() {
    assert_eq!(eval("[KSR.VERSION, KSR.VERSION.len(), KSR.net.http.LIMIT + 1]").to_string(), r#"["1.2", 3, 9]"#);
    assert_eq!(eval("[KSR.log.Level.WARN, KSR.log.Level.Deep.ONE, KSR.log.Level[\"WARN\"]]").to_string(), "[2, 1, 2]");
    assert_eq!(
        eval("let l = KSR.log.Level; l.WARN = 5; [l.Deep[\"not a name\"], l.keys().len(), KSR.log.Level.WARN]")
            .to_string(),
        "[2, 2, 2]"
    );
    assert_eq!(
        eval("let l = KSR.net.http.LIST; l.push(3); [l.len(), KSR.net.http.LIST[1], KSR.net.http.LIST.len()]")
            .to_string(),
        "[3, 2, 2]"
    );
    for change in [
        "KSR.net.http.LIMIT = 1",
        "KSR.log.Level.WARN = 1",
        "KSR.net.http.LIST.push(3)",
        "KSR.net.http.LIST[0] = 3",
        "KSR.VERSION += \"x\"",
        "KSR.net.http = 1",
    ] {
        let ended = load(&format!("fn run() {{ {change}; }}")).and_then(|mut host| host.call(&[]).map(|_| ()));
        assert!(ended.is_err(), "{change}");
    }
    for (unknown, message) in [
        ("KSR.net.http.LIMTI", "there is no function KSR.net.http.LIMTI"),
        ("KSR.net.htp.get(1)", "there is no function KSR.net.htp"),
        ("KSR.net.http.nothing.at.all()", "there is no function KSR.net.http.nothing"),
    ] {
        assert_eq!(eval_error(unknown).message, message);
    }
    for unknown in ["KSR.log.Level.WRAN", "KSR.log.Level.keys()", "KSR.log.Level.Deep.TWO"] {
        let error = eval_error(unknown);
        assert_eq!(error.code, ErrorCode::UnknownFunction, "{unknown}: {error}");
        assert!(error.message.contains("KSR.log.Level"), "{unknown}: {error}");
        assert_eq!(error.place.as_ref().map(ToString::to_string).as_deref(), Some("test.rhai:1"), "{error}");
    }
}
