//! Modules in modules, and constants.

mod common;

use std::sync::Arc;

use common::Host;
use kemi_core::__private::linkme;
use kemi_core::export::{CONSTANTS, ConstantDef, ContextType, NoContext};
use kemi_core::{
    Arg, Callbacks, ErrorCode, Instance, Map, NativeError, Outcome, Program, Registry, ScriptError, Source, Value,
};

/// The value of a constant.
type Made = Result<Value, Box<NativeError>>;

const fn constant(module: &'static str, name: &'static str, value: fn() -> Made) -> ConstantDef {
    ConstantDef { module, name, doc: "", value, context: ContextType::of::<NoContext>(), file: file!(), line: line!() }
}

fn levels() -> Made {
    Ok(Value::Map(Map::from([("WARN".into(), 4.into()), ("names".into(), vec![Value::from("a")].into())])))
}

#[linkme::distributed_slice(CONSTANTS)]
#[linkme(crate = linkme)]
static LEVEL: ConstantDef = constant("log", "Level", levels);
#[linkme::distributed_slice(CONSTANTS)]
#[linkme(crate = linkme)]
static TIMEOUT: ConstantDef = constant("net.http", "TIMEOUT", || Ok(Value::Float(2.5)));
#[linkme::distributed_slice(CONSTANTS)]
#[linkme(crate = linkme)]
static VERSION: ConstantDef = constant("", "VERSION", || Ok("1.2".into()));
#[linkme::distributed_slice(CONSTANTS)]
#[linkme(crate = linkme)]
static MAGIC: ConstantDef = constant("net", "MAGIC", || Ok(Value::Bytes([1, 2].as_slice().into())));

fn registry() -> (Registry<Host>, kemi_core::CallbackId) {
    let mut callbacks = Callbacks::new();
    let f = callbacks.optional("main", "f", &[]);
    callbacks.named("sub", &[]);
    let builder = Registry::<Host>::builder().root("app").module("").module("t").module("log").module("net");
    let builder = builder.function("net.http", "get", &["url"], |url: String| format!("got {url}")).function(
        "net.http.v2",
        "push",
        &["n"],
        |n: i64| n + 1,
    );
    (builder.callbacks(callbacks).build().expect("is sound"), f)
}

fn load(code: &str) -> Result<(Instance<Host>, kemi_core::CallbackId), ScriptError> {
    let (registry, f) = registry();
    Ok((Instance::load(&kemi_js::JsEngine, &registry, &[Source::text("t.js", code)])?, f))
}

fn call(code: &str, args: &[Arg<'_>]) -> Result<Value, ScriptError> {
    let (instance, f) = load(code).unwrap_or_else(|error| panic!("{code}: {error}"));
    match instance.call(f, &mut Host::default(), args)? {
        Outcome::Value(value) => Ok(value),
        other => panic!("{code}: {other:?}"),
    }
}

fn body(code: &str) -> Value {
    call(&format!("function f() {{ {code} }}"), &[]).unwrap_or_else(|error| panic!("{code}: {error}"))
}

fn open(code: &str) -> Result<(), ScriptError> {
    Program::open(Arc::new(kemi_js::JsEngine), &registry().0, &[Source::text("t.js", code)]).map(drop)
}

#[test]
fn a_module_in_a_module_is_an_object_in_an_object() {
    assert_eq!(body("return app.net.http.get('x')"), Value::from("got x"));
    assert_eq!(body("const { v2 } = app.net.http; return v2.push(41)"), Value::Int(42));
    assert_eq!(body("return Object.keys(app.net).join() + Object.keys(app.net.http).sort().join()"), {
        Value::from("MAGIC,httpTIMEOUT,get,v2")
    });
}

#[test]
fn constants_are_values_of_their_module() {
    assert_eq!(body("return [app.VERSION, app.net.http.TIMEOUT, app.log.Level.WARN, app.log.Level.names[0]]"), {
        Value::Array(vec!["1.2".into(), 2.5.into(), 4.into(), "a".into()])
    });
    assert_eq!(body("return app.net.MAGIC"), Value::Bytes([1, 2].as_slice().into()));
    assert_eq!(body("return app.log.Level"), levels().unwrap());
}

#[test]
fn nothing_of_them_can_be_changed() {
    for attempt in [
        "app.VERSION = 1",
        "app.net.http = {}",
        "app.net.http.get = null",
        "app.net.http.TIMEOUT = 9",
        "app.log.Level = {}",
        "app.log.Level.WARN = 9",
        "app.log.Level.NEW = 9",
        "app.log.Level.names[0] = 9",
        "delete app.net.http.TIMEOUT",
        "delete app.log.Level.WARN",
    ] {
        // An index is no name.
        if !attempt.contains('[') {
            let failed = load(&format!("{attempt};")).err().unwrap_or_else(|| panic!("{attempt}: it loads"));
            assert_eq!(failed.code, ErrorCode::RootReplaced, "{attempt}: {failed}");
            assert_eq!(failed.place.as_ref().map(|place| place.line), Some(1), "{attempt}");
        }
        let value = body(&format!(
            "{attempt}; return app.VERSION + app.net.http.get('x') + app.net.http.TIMEOUT + JSON.stringify(app.log.Level)"
        ));
        assert_eq!(value, Value::from("1.2got x2.5{\"WARN\":4,\"names\":[\"a\"]}"), "{attempt}");
        let failed = call(&format!("function f() {{ 'use strict';\n {attempt}; }}"), &[]).expect_err(attempt);
        assert_eq!(failed.place.as_ref().map(|place| place.line), Some(2), "{attempt}: {failed}");
    }
    for code in ["app.net.mine = 1; app.net.http.own = 2;", "function g() { return app.net.http.get.length; }"] {
        if let Err(failed) = load(code) {
            panic!("{code}: {failed}");
        }
    }
}

#[test]
fn an_unknown_name_below_is_explained() {
    for (code, message, hint) in [
        ("app.net.http.gte('x')", "there is no function app.net.http.gte", "did you mean app.net.http.get?"),
        (
            "app.net.http.v2.pusch(1)",
            "there is no function app.net.http.v2.pusch",
            "did you mean app.net.http.v2.push?",
        ),
        ("app.net.htpp.get('x')", "there is no function app.net.htpp", "did you mean app.net.http?"),
        ("app.nte.http.get('x')", "there is no module or function app.nte", "did you mean app.net?"),
    ] {
        let failed = call(&format!("function f() {{\n  {code};\n}}"), &[]).expect_err(code);
        assert_eq!(failed.code, ErrorCode::UnknownFunction, "{code}: {failed}");
        assert_eq!((failed.message.as_str(), failed.hint.as_deref()), (message, Some(hint)), "{code}");
        assert_eq!(failed.place.as_ref().map(ToString::to_string).as_deref(), Some("t.js:2"), "{code}: {failed:#}");
        let failed = open(&format!("function f() {{\n  if (0) {code};\n}}")).expect_err(code);
        assert_eq!((failed.message.as_str(), failed.hint.as_deref()), (message, Some(hint)), "{code}");
        assert_eq!(failed.place.as_ref().map(|place| place.line), Some(2), "{code}: {failed:#}");
    }
}

#[test]
fn an_unknown_name_in_a_constant_is_explained_where_it_is_used() {
    let failed = call("function f() {\n\n  return app.log.Level.WRAN.toFixed();\n}", &[]).expect_err("there is none");
    assert_eq!(failed.message, "there is no constant app.log.Level.WRAN", "{failed}");
    assert_eq!(failed.hint.as_deref(), Some("did you mean app.log.Level.WARN?"), "{failed}");
    assert_eq!(failed.place.as_ref().map(ToString::to_string).as_deref(), Some("t.js:3"), "{failed:#}");
    assert_eq!(body("return app.log.Level.WRAN"), Value::Nil);
}

#[test]
fn what_is_asked_for_may_be_missing() {
    for code in [
        "if (app.net.http.gte) app.net.http.gte('x');",
        "if ('gte' in app.net.http) app.net.http.gte('x');",
        "app.net?.http?.gte?.('x');",
        "app.net.ftp?.get('x');",
        "app['net']['http']['get']('x');",
        "app.log.Level.WARM;",
    ] {
        if let Err(failed) = open(code) {
            panic!("{code}: {failed}");
        }
    }
}
