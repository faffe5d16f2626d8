//! Callbacks: how they are found, nested calls, promises, several instances.

mod common;

use common::{body, error, load, text, try_load};
use kemi_core::{ErrorCode, MAX_NESTED_CALLBACKS, Policy, Source, Value};

#[test]
fn callbacks_are_found_however_they_are_declared() {
    for code in [
        "function f() { return 1; }",
        "var f = function () { return 1; };",
        "const f = () => 1;",
        "let f = () => 1;",
        "  let\tf\u{a0}= () => 1;",
        "globalThis.f = () => 1;",
        "async function f() { return 1; }",
        "f = () => 1;",
    ] {
        assert_eq!(load(code).value(&[]), Value::Int(1), "{code}");
    }
    for code in ["var f = 5;", "const f = 'x';", "{ const f = () => 1; }", "class g {}", "let g = () => 1;"] {
        let error = load(code).call(&[]).expect_err(code);
        assert_eq!(error.code, ErrorCode::MissingCallback, "{code}");
    }
}

#[test]
fn a_missing_name_is_suggested_and_is_never_run_as_code() {
    let code = "const ksr_failure = () => 1; function f() { return KSR.t.call('ksr_failurf'); }";
    let error = error(code);
    assert_eq!(error.code, ErrorCode::MissingCallback);
    assert_eq!(error.hint.as_deref(), Some("did you mean 'ksr_failure'?"));
    let code = "function f() { try { KSR.t.call('KSR.t.note(\"run\")'); } catch (e) { return 'refused'; } }";
    let mut loaded = load(code);
    assert_eq!(loaded.value(&[]), text("refused"));
    assert!(loaded.host.notes.is_empty());
}

#[test]
fn nested_callbacks_see_the_same_script() {
    let code = "let n = 1; const inner = () => { n++; KSR.t.note('in'); return n; };
        function f() { const s = KSR.t.call('inner'); n++; return s + n; }";
    let mut loaded = load(code);
    assert_eq!(loaded.value(&[]), text("23"));
    assert_eq!(loaded.host.notes, ["in"]);
}

#[test]
fn an_error_of_a_nested_callback_can_be_caught_outside() {
    let code = "function inner() {\n  throw new Error('deep');\n}
        function f() { try { KSR.t.call('inner'); } catch (e) { return e.message; } }";
    assert_eq!(load(code).value(&[]), text("Error: deep"));
    let error = error("function inner() {\n  throw new Error('deep');\n}\nfunction f() {\n  KSR.t.call('inner');\n}");
    assert_eq!(error.callback.as_deref(), Some("inner"), "{error}");
    assert_eq!(error.place.as_ref().map(|place| place.line), Some(2), "{error:#}");
    let names: Vec<&str> = error.traceback.iter().map(|frame| frame.function.as_str()).collect();
    assert_eq!(names, ["inner", "call", "f"]);
}

#[test]
fn callbacks_nest_to_the_limit() {
    let code = "function f() { KSR.t.note('x'); return KSR.t.call('f'); }";
    let mut loaded = load(code);
    assert_eq!(loaded.call(&[]).err().map(|error| error.code), Some(ErrorCode::NestedTooDeep));
    assert_eq!(loaded.host.notes.len(), MAX_NESTED_CALLBACKS as usize);
}

#[test]
fn promise_jobs_run_before_the_call_returns() {
    let code = "async function f() { KSR.t.note('1'); await null; KSR.t.note('3'); return [await Promise.resolve(7)]; }
        var g = Promise.resolve().then(() => 5); g.then(v => { globalThis.early = v; });";
    let mut loaded = load(code);
    assert_eq!(loaded.value(&[]), Value::Array(vec![Value::Int(7)]));
    assert_eq!(loaded.host.notes, ["1", "3"]);
    assert_eq!(
        load("Promise.resolve(5).then(v => { globalThis.v = v; }); function f() { return v; }").value(&[]),
        Value::Int(5)
    );
}

#[test]
fn an_async_callback_that_fails_is_an_error() {
    let error = error("async function f() {\n  await null;\n  throw new TypeError('late');\n}");
    assert_eq!(error.message, "TypeError: late");
    assert_eq!(error.place.as_ref().map(|place| place.line), Some(3), "{error:#}");
    let stuck = common::error("function f() { return new Promise(() => {}); }");
    assert_eq!(stuck.code, ErrorCode::ValueNotConvertible);
}

#[test]
fn a_failing_job_does_not_fail_the_callback() {
    let mut loaded = load(
        "function f() { Promise.reject(new Error('nobody')); Promise.resolve().then(() => KSR.t.note('on')); return 1; }",
    );
    assert_eq!(loaded.value(&[]), Value::Int(1));
    assert_eq!(loaded.host.notes, ["on"]);
}

#[test]
fn instances_do_not_see_each_other() {
    let mut one = load(
        "var shared = 1; KSR.t.mine = () => 'mine'; KSR.extra = 2; function f() { return KSR.t.mine() + shared + KSR.extra; }",
    );
    let mut two = load("function f() { return [typeof shared, KSR.t.mine, KSR.extra]; }");
    assert_eq!(one.value(&[]), text("mine12"));
    assert_eq!(two.value(&[]), Value::Array(vec![text("undefined"), Value::Nil, Value::Nil]));
    drop(one);
    assert_eq!(two.value(&[]), Value::Array(vec![text("undefined"), Value::Nil, Value::Nil]));
}

#[test]
fn several_sources_share_one_scope() {
    let sources = [
        Source::text("a.js", "var a = 1; let b = 2; function g() { return a + b + c; }"),
        Source::text("b.js", "var c = 3; const f = () => g() + b - 2;"),
    ];
    assert_eq!(try_load(&sources, Policy::Strict).expect("loads").value(&[]), Value::Int(6));
}

#[test]
fn instances_come_and_go() {
    for i in 0..30 {
        let mut loaded = load("var big = new Array(10000).fill({}); big.self = big; function f(i) { return i; }");
        assert_eq!(loaded.value(&[i.into()]), Value::Int(i));
    }
}

#[test]
fn the_language_has_no_way_out() {
    for name in ["process", "fetch", "setTimeout", "Deno", "WebAssembly"] {
        assert_eq!(body(&format!("return typeof {name}")), text("undefined"));
    }
    assert_eq!(body("print('x', { a: 1 }); console.log([1]); console.warn(); return 1"), Value::Int(1));
}
