//! The root object belongs to the host: no script can replace anything of it.

mod common;

use common::{load, try_load};
use kemi_core::{Arg, ArgumentPolicy, ErrorCode, Source, Value};

const ATTEMPTS: [&str; 7] = [
    "KSR = null",
    "globalThis.KSR = null",
    "KSR.t = null",
    "KSR.t.add = function () { return 0; }",
    "delete KSR.t.add",
    "delete globalThis.KSR",
    "Object.assign(KSR.t, { add: null })",
];

#[test]
fn an_assignment_does_nothing_or_fails_and_the_root_stays() {
    for attempt in ATTEMPTS {
        for mode in ["", "'use strict';"] {
            let code = format!("function f(how) {{ {mode}\n if (how) {{ {attempt}; }}\n return KSR.t.add(40, 2); }}");
            let mut script = load(&code);
            match script.call(&[Arg::Bool(true)]) {
                Ok(_) => assert!(mode.is_empty(), "{attempt}: strict code is told"),
                Err(error) => {
                    assert_eq!(error.code, ErrorCode::Runtime, "{attempt}: {error}");
                    assert_eq!(error.place.as_ref().map(|place| place.line), Some(2), "{attempt}: {error}");
                }
            }
            assert_eq!(script.value(&[]), Value::Int(42), "{attempt}");
        }
    }
}

#[test]
fn its_properties_cannot_be_defined_anew() {
    for attempt in [
        "Object.defineProperty(globalThis, 'KSR', { value: null })",
        "Object.defineProperty(KSR.t, 'add', { get: function () { return null; } })",
    ] {
        let mut script = load(&format!("function f(how) {{ if (how) {{ {attempt}; }} return KSR.t.add(40, 2); }}"));
        let error = script.call(&[Arg::Bool(true)]).expect_err(attempt);
        assert_eq!(error.code, ErrorCode::Runtime, "{attempt}: {error}");
        assert_eq!(script.value(&[]), Value::Int(42), "{attempt}");
    }
}

#[test]
fn a_declaration_of_the_same_name_is_refused_at_load() {
    for text in ["let KSR = 1;", "const KSR = 1;", "function KSR() { }"] {
        let loaded = try_load(&[Source::text("t.js", text)], ArgumentPolicy::Strict);
        assert!(loaded.is_err(), "{text}");
    }
    let mut script = load("var KSR; function f() { return KSR.t.add(40, 2); }");
    assert_eq!(script.value(&[]), Value::Int(42), "`var` declares what is there already");
}

#[test]
fn a_script_that_would_replace_the_root_is_refused() {
    for code in [
        "KSR = {};",
        "var KSR = {};",
        "globalThis.KSR = 1;",
        "globalThis['KSR'] = 1;",
        "delete KSR;",
        "delete KSR.t;",
        "delete globalThis.KSR;",
        "[KSR] = [1];",
        "({ a: KSR } = {});",
        "KSR += 1;",
        "KSR++;",
        "KSR.t = {};",
        "KSR.t.add = () => 1;",
        "KSR['t'].add = 1;",
        "for (const x of [1]) { if (x) (KSR) = x; }",
    ] {
        let error = match try_load(&[Source::text("t.js", code)], ArgumentPolicy::Strict) {
            Ok(_) => panic!("{code}: it loads"),
            Err(error) => error,
        };
        assert_eq!(error.code, ErrorCode::RootReplaced, "{code}: {error}");
        assert!(error.place.is_some(), "{code}");
    }
    for code in [
        "let KSR = {};",
        "const KSR = {};",
        "class KSR {}",
        "function KSR() {}",
        "Object.defineProperty(globalThis, 'KSR', { value: 1 });",
        "'use strict'; globalThis['K' + 'SR'] = 1;",
    ] {
        assert!(try_load(&[Source::text("t.js", code)], ArgumentPolicy::Strict).is_err(), "{code}: it loads");
    }
    for code in [
        "function f() { KSR = 1; delete KSR.t; }",
        "KSR.own = 1; KSR.t.own = 2;",
        "// KSR = {}",
        "const s = 'KSR = {}'; `KSR = ${1}`;",
        "if (KSR.t == null || KSR === 1) {}",
        "function f(KSR) { KSR = 1; return KSR; }",
        "const { t } = KSR; const g = KSR.t.add;",
        "const m = KSR => KSR;",
    ] {
        if let Err(error) = try_load(&[Source::text("t.js", code)], ArgumentPolicy::Strict) {
            panic!("{code}: {error}");
        }
    }
}
