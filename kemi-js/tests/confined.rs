//! What a profile keeps from scripts, and what it does not.

use std::path::PathBuf;

use kemi_core::limits::{Facility, Imports};
use kemi_core::{Callbacks, ErrorCode, Instance, Outcome, Profile, Registry, ScriptError, Source, Value};

/// Loads a script under a profile and calls its `f`.
fn run(profile: Profile, source: Source) -> Result<Value, ScriptError> {
    let mut callbacks = Callbacks::new();
    let f = callbacks.required("main", "f", &[]);
    let registry = Registry::<()>::builder().root("app").callbacks(callbacks).profile(profile).build().unwrap();
    match Instance::load(&kemi_js::JsEngine, &registry, &[source])?.call(f, &mut (), &[])? {
        Outcome::Value(value) => Ok(value),
        other => panic!("{other:?}"),
    }
}

fn body(profile: Profile, body: &str) -> Result<Value, ScriptError> {
    run(profile, Source::text("t.js", format!("function f() {{\n{body}\n}}")))
}

const CLOCK: &[(&str, &str)] = &[
    ("Date.now", "return Date.now() > 1e12;"),
    ("Date without a time", "return new Date().getTime() > 1e12;"),
    ("Date without a time", "return Date().length > 10;"),
    ("Date without a time", "return new (class extends Date {})().getTime() > 1e12;"),
    ("Date without a time", "return Reflect.construct(Date, []).getTime() > 1e12;"),
    ("Date without a time", "return new (new Date(0).constructor)().getTime() > 1e12;"),
    ("Date without a time", "return Reflect.construct(Object, [], Date) && new Date.prototype.constructor() > 1e12;"),
];

#[test]
fn the_clock_is_refused_by_name_with_its_place_and_can_be_allowed() {
    for (name, code) in CLOCK {
        for profile in [Profile::confined(), Profile::default()] {
            let error = body(profile, code).expect_err(code);
            assert_eq!(error.code, ErrorCode::NotPermitted, "{code}: {error}");
            let message = format!("{name} is not available: the host confines scripts (profile 'confined')");
            assert_eq!(error.message, message, "{code}");
            assert!(error.hint.as_ref().is_some_and(|hint| hint.contains("'open'")), "{error}");
            // A constructor that nobody has written has no line of its own.
            let line = if code.contains("extends") { 1 } else { 2 };
            assert_eq!(error.place.as_ref().map(|place| place.line), Some(line), "{code}: {error:#}");
        }
        for profile in [Profile::confined().allow(Facility::Clock), Profile::open()] {
            assert_eq!(body(profile, code).unwrap_or_else(|error| panic!("{code}: {error:#}")), Value::Bool(true));
        }
    }
}

#[test]
fn a_given_time_is_no_clock() {
    for code in [
        "return new Date(0).toISOString() === '1970-01-01T00:00:00.000Z';",
        "return new Date(2000, 0, 1).getFullYear() === 2000 && new Date('2000-01-02').getUTCDate() === 2;",
        "return Date.UTC(1970, 0, 2) === 86400000 && Date.parse('1970-01-02') === 86400000;",
        "return new Date(0) instanceof Date && Date.name === 'Date' && Date.length === 7;",
        "return new (class D extends Date { two() { return 2; } })(5).two() === 2;",
        "return new Date(undefined).getTime() !== 0 && typeof Date.prototype.getTime === 'function';",
    ] {
        let found = body(Profile::confined(), code).unwrap_or_else(|error| panic!("{code}: {error:#}"));
        assert_eq!(found, Value::Bool(true), "{code}");
    }
}

#[test]
fn nothing_leads_to_code_of_others() {
    for code in ["require('./x')", "require('fs')", "Function('return require(\"/etc/passwd\")')()"] {
        let error = body(Profile::confined(), code).expect_err(code);
        assert_eq!(error.code, ErrorCode::NotPermitted, "{code}: {error}");
        assert_eq!(error.message, "require is not available: the host confines scripts (profile 'confined')", "{code}");
        assert_eq!(error.place.as_ref().map(|place| place.line), Some(2), "{code}: {error:#}");
    }
    let imported = body(Profile::open(), "return import('/etc/passwd').then(() => 'loaded', () => 'refused');");
    assert_eq!(imported.unwrap(), Value::from("refused"));
    assert_eq!(body(Profile::confined(), "return Function('return 1 + 1')()").unwrap(), Value::Int(2));
}

#[test]
fn modules_come_from_the_folder_and_not_from_beyond() {
    let root = std::env::temp_dir().join(format!("kemi-js-confined-{}", std::process::id()));
    for (file, content) in [
        ("tenant/m.js", "module.exports = 'm';"),
        ("tenant/deep/n.js", "module.exports = 'n' + require('../m');"),
        ("tenant/bad.js", "module.exports = require('../secret');"),
        ("tenant/index.js", "module.exports = 'index';"),
        ("tenant/deep/up.js", "module.exports = require('..');"),
        ("secret.js", "module.exports = 'secret';"),
        ("tenant.js", "module.exports = 'secret';"),
    ] {
        let path = root.join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    #[cfg(unix)]
    std::os::unix::fs::symlink("../secret.js", root.join("tenant/link.js")).unwrap();
    let required = |profile: Profile, name: &str| body(profile, &format!("return require('{name}');"));
    let profile = || Profile::confined().imports(Imports::Folder(root.join("tenant")));
    let found = ["./m", "m.js", "./deep/n", "./deep/../m", ".", "./deep/up"]
        .map(|name| required(profile(), name).unwrap().to_string());
    let beyond: Vec<(String, ErrorCode)> =
        ["../secret", "../nothing", "./deep/../../secret", "./link", "./bad", "/etc/hostname"]
            .into_iter()
            .map(PathBuf::from)
            .chain([root.join("secret.js")])
            .map(|name| {
                let error = required(profile(), &name.display().to_string()).unwrap_err();
                (error.to_string(), error.code)
            })
            .collect();
    let open = required(Profile::open().imports(Imports::Folder(root.join("tenant"))), "../secret");
    std::fs::remove_dir_all(&root).unwrap();
    assert_eq!(found, ["\"m\"", "\"m\"", "\"nm\"", "\"m\"", "\"index\"", "\"index\""]);
    for (error, code) in beyond {
        assert_eq!(code, ErrorCode::NotPermitted, "{error}");
        assert!(error.contains("outside of the folder that modules come from"), "{error}");
    }
    assert_eq!(open.unwrap(), Value::from("secret"));
}
