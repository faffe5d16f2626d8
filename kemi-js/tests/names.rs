//! Names that do not exist.

mod common;

use common::{Host, body, error, text};
use kemi_core::{Callbacks, ErrorCode, Instance, Registry, Source, Value};

#[test]
fn a_module_that_is_not_there_is_falsy() {
    assert_eq!(body("if (KSR.hidden) return 1; if (KSR.nathelper) return 2; return KSR.t ? 3 : 4"), Value::Int(3));
    assert_eq!(body("return typeof KSR.t.nothing"), text("undefined"));
    assert_eq!(body("return KSR.t.nothing?.(1) === undefined && !('nothing' in KSR.t)"), Value::Bool(true));
    assert_eq!(
        body("return `${KSR}${KSR.t}` + KSR.t.hasOwnProperty('add') + Object.keys(KSR).length"),
        text("[object Object][object Object]true3")
    );
    assert_eq!(body("KSR.t.mine = 5; KSR.own = { a: 1 }; return KSR.t.mine + KSR.own.a"), Value::Int(6));
}

#[test]
fn calling_an_unknown_name_is_explained() {
    let rows = [
        ("KSR.t.ad(1, 2)", "there is no function KSR.t.ad", Some("did you mean KSR.t.add?")),
        ("KSR.t.zzzzzz()", "there is no function KSR.t.zzzzzz", None),
        ("KSR.hidden.secret()", "module KSR.hidden is not enabled", Some("enable hidden")),
        ("KSR.nathelper.fix()", "there is no module or function KSR.nathelper", None),
        ("KSR.helo()", "there is no module or function KSR.helo", Some("did you mean KSR.hello?")),
    ];
    for (code, message, hint) in rows {
        let error = error(&format!("function f() {{\n  {code};\n}}"));
        assert_eq!(error.code, ErrorCode::UnknownFunction, "{code}: {error}");
        assert_eq!((error.message.as_str(), error.hint.as_deref()), (message, hint), "{code}");
        assert_eq!(error.place.as_ref().map(|place| place.to_string()).as_deref(), Some("t.js:2"), "{code}: {error:#}");
    }
}

#[test]
fn the_line_is_that_of_the_use_also_far_down_a_function() {
    let code = "function f() {\n  if (KSR.hidden) {\n    KSR.t.note('never');\n  }\n  const x = 1;\n\n\n  KSR.hidden.secret();\n}";
    let error = error(code);
    assert_eq!(error.code, ErrorCode::UnknownFunction, "{error}");
    assert_eq!(error.place.as_ref().map(|place| place.line), Some(8), "{error:#}");
    assert_eq!(error.traceback.iter().map(ToString::to_string).collect::<Vec<_>>(), ["t.js:8: in f"]);
}

#[test]
fn the_root_has_the_name_that_the_host_gives_it() {
    let mut callbacks = Callbacks::new();
    let f = callbacks.required("main", "f", &[]);
    callbacks.named("sub", &[]);
    let registry = Registry::<Host>::builder().root("APP").module("t").callbacks(callbacks).build().expect("is sound");
    let code = "function f() { return typeof KSR + APP.t.add(40, 2) + APP.t.zz(); }";
    let instance = Instance::load(&kemi_js::JsEngine, &registry, &[Source::text("t.js", code)]).expect("loads");
    let error = instance.call(f, &mut Host::default(), &[]).expect_err("there is no zz");
    assert_eq!(error.message, "there is no function APP.t.zz");
}

#[test]
fn an_error_elsewhere_is_not_blamed_on_a_question() {
    let error = error("function f() {\n  if (KSR.hidden) return 1;\n  const o = {};\n  o.missing();\n}");
    assert_eq!(error.code, ErrorCode::Runtime, "{error}");
    assert!(error.hint.as_deref().is_some_and(|hint| hint.contains("KSR.hidden")), "{error}");
    let error = common::error("function f() {\n  const t = KSR.tt;\n  t.add(1, 2);\n}");
    assert_eq!(error.code, ErrorCode::Runtime, "{error}");
    assert!(error.hint.as_deref().is_some_and(|hint| hint.contains("did you mean KSR.t?")), "{error}");
    let error = common::error("function f() {\n  const o = {};\n  o.missing();\n}");
    assert_eq!(error.hint, None);
}
