//! Modules in modules, and constants.

use std::sync::Arc;

use kemi_core::export::{CONSTANTS, ConstantDef, ContextType};
use kemi_core::{Arg, CallbackId, Callbacks, ErrorCode, Instance, Map, Program, Registry, ScriptError, Source, Value};
use kemi_lua::LuaEngine;

/// The context, of this file alone.
struct Net;

macro_rules! constants {
    ($($id:ident $module:literal $name:literal $value:expr;)*) => {$(
        #[kemi_core::__private::linkme::distributed_slice(CONSTANTS)]
        #[linkme(crate = kemi_core::__private::linkme)]
        static $id: ConstantDef = ConstantDef {
            module: $module,
            name: $name,
            doc: "",
            value: || Ok($value),
            context: ContextType::of::<Net>(),
            file: file!(),
            line: line!(),
        };
    )*};
}

constants! {
    PORT "net" "PORT" Value::Int(8080);
    AGENT "net.http" "AGENT" Value::from("kemi");
    MAGIC "net.http" "MAGIC" Value::Bytes(b"\0\xff"[..].into());
    VERSION "" "VERSION" Value::Float(1.5);
    LEVEL "log" "Level" Value::Map(Map::from([("DEBUG".into(), 1.into()), ("WARN".into(), "warn".into())]));
    METHODS "log" "METHODS" Value::Array(vec!["GET".into(), "PUT".into()]);
}

fn registry() -> (Registry<Net>, CallbackId) {
    let mut callbacks = Callbacks::new();
    let main = callbacks.optional("main", "main", &["value"]);
    let registry = Registry::<Net>::builder()
        .root("app")
        .all_modules()
        .function("net.http", "get", &["url"], |url: String| format!("got {url}"))
        .function("net.http.v2", "push", &["n"], |n: i64| n + 1)
        .function("log", "say", &["text"], |text: String| text)
        .callbacks(callbacks)
        .build();
    (registry.expect("the exports are sound"), main)
}

fn load(script: &str) -> (Instance<Net>, CallbackId) {
    let (registry, main) = registry();
    (Instance::load(&LuaEngine, &registry, &[Source::text("test.lua", script)]).expect("it loads"), main)
}

fn call(body: &str) -> Result<Value, ScriptError> {
    let (instance, main) = load(&format!("function main(value) {body}\nend"));
    instance.call_as(main, &mut Net, &[Arg::Nil][..])
}

fn eval(body: &str) -> Value {
    call(body).unwrap_or_else(|error| panic!("{body}: {error:#}"))
}

#[test]
fn functions_are_found_at_any_depth() {
    assert_eq!(eval("return app.net.http.get('x')"), Value::from("got x"));
    assert_eq!(eval("local http = app.net.http return http.v2.push(41) + #http.get('')"), Value::Int(46));
    assert_eq!(eval("if app.net.ftp or app.nett or app.net.http.v3 then return 1 end return 0"), Value::Int(0));
    assert_eq!(
        call("return app.net.http.get(1)").map_err(|e| e.export.clone()),
        Err(Some("app.net.http.get".to_owned()))
    );
    let colon = call("return app.net.http:get('x')").expect_err("called with a colon");
    assert_eq!(colon.message, "called with ':'; write app.net.http.get(…)");
}

#[test]
fn constants_are_values_of_their_module() {
    assert_eq!(eval("return {app.net.PORT, app.net.http.AGENT, app.VERSION}").to_string(), r#"[8080, "kemi", 1.5]"#);
    assert_eq!(eval("return app.net.http.MAGIC == '\\0\\xff'"), Value::Bool(true));
    assert_eq!(eval("return app.log.Level.DEBUG .. app.log.Level.WARN .. app.log.METHODS[2]"), Value::from("1warnPUT"));
    assert_eq!(eval("local n = 0 for k in pairs(app.log.Level) do n = n + 1 end return n"), Value::Int(2));
}

#[test]
fn unknown_names_are_explained_at_any_depth() {
    let rows = [
        ("app.net.http.gte('x')", "there is no function app.net.http.gte", "app.net.http.get"),
        ("app.net.http.v2.pusch(1)", "there is no function app.net.http.v2.pusch", "app.net.http.v2.push"),
        ("local h = app.net.http\n h.gte('x')", "there is no function app.net.http.gte", "app.net.http.get"),
    ];
    for (body, message, hint) in rows {
        let e = call(&format!("\n{body}")).expect_err(body);
        assert_eq!(e.code, ErrorCode::UnknownFunction, "{body}: {e}");
        assert!(e.message.starts_with(message), "{body}: {e}");
        assert!(e.hint.as_deref().is_some_and(|h| h.contains(hint)), "{body}: {e}");
        let line = if body.contains('\n') { 3 } else { 2 };
        assert_eq!(e.place.as_ref().map(|p| (p.file.as_str(), p.line)), Some(("test.lua", line)), "{body}");
    }
}

#[test]
fn a_wrong_path_of_any_depth_is_found_at_load() {
    let open = |script: &str| {
        let source = Source::text("test.lua", script);
        Program::open(Arc::new(LuaEngine), &registry().0, &[source]).map(|_program| ())
    };
    let e = open("function main()\n app.net.http.v2.pusch(1)\nend").expect_err("a mistake");
    assert_eq!((e.code, e.place.as_ref().map(|place| place.line)), (ErrorCode::UnknownFunction, Some(2)), "{e}");
    assert!(e.to_string().contains("did you mean app.net.http.v2.push?"), "{e}");
    open("function main() return app.net.http.v2.push(app.log.Level.DEBUG), app.log.METHODS[1] end").expect("sound");
}

#[test]
fn what_a_script_replaces_at_any_depth_is_put_back() {
    let (instance, main) = load(
        "function main(what)
            if what == nil then
                return {app.net.http.get('x'), app.net.PORT, app.log.Level.WARN, app.log.METHODS[1], app.net.http.v2.push(1)}
            end
            if what == 1 then app.net.http.get = nil app.log.Level.WARN = 'no' app.log.METHODS[1] = 'POST' end
            if what == 2 then app.net.http = {} app.log.Level = nil end
            if what == 3 then app = {} end
            error('failed')
        end",
    );
    let shown = r#"["got x", 8080, "warn", "GET", 2]"#;
    let rows: [(i64, &[&str]); 3] = [
        (1, &["app.net.http.get", "app.log.Level.WARN", "app.log.METHODS.1"]),
        (2, &["app.net.http", "app.log.Level"]),
        (3, &["app"]),
    ];
    for (what, names) in rows {
        let e = instance.call(main, &mut Net, &[Arg::Int(what)]).expect_err("it fails");
        let hint = e.hint.clone().unwrap_or_default();
        assert!(names.iter().all(|name| hint.contains(name)), "{hint}");
        let value: Value = instance.call_as(main, &mut Net, &[Arg::Nil][..]).expect("it is put back");
        assert_eq!(value.to_string(), shown, "{what}");
    }
}
