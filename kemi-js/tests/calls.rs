//! Callbacks: how they are found, nested calls, promises, several instances. The expression around a nested callback
//! goes on, however that one ends.

mod common;

use common::{body, error, load, text, try_load};
use kemi_core::engine::MAX_NESTED_CALLBACKS;
use kemi_core::{ArgumentPolicy, ErrorCode, Outcome, Source, Value};

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
    assert_eq!(try_load(&sources, ArgumentPolicy::Strict).expect("loads").value(&[]), Value::Int(6));
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

/// Ways for `inner` to end, and what the native function that called it gives to the script.
const ENDS: &[(&str, &str, &str)] = &[
    ("exit", "KSR.x.exit();", "exit"),
    ("drop", "try { KSR.x.drop(); } finally {}", "drop"),
    ("exit in a function", "(() => [1].forEach(() => KSR.x.exit()))();", "exit"),
    ("exit with values on the stack", "KSR.t.count(1, 2, 3, KSR.x.exit(), 4);", "exit"),
    ("exit in a generator", "for (const x of (function* () { KSR.x.exit(); })()) {}", "exit"),
    ("exit in an async function", "(async () => { KSR.x.exit(); })();", "exit"),
    ("exit in a getter of the result", "return { get x() { KSR.x.exit(); } };", "exit"),
    ("throw", "throw new Error('x');", "runtime"),
    ("throw in a function", "(() => [1].forEach(() => (() => { throw 1; })()))();", "runtime"),
    ("throw with a getter", "throw { get x() { KSR.t.count(1, null.x); } };", "runtime"),
    ("error of a native", "KSR.t.count(1, KSR.t.fail('x'));", "native-error"),
    ("recursion", "inner() + 1;", "stack-overflow"),
    ("recursion in arguments", "KSR.t.count(1, inner(2));", "stack-overflow"),
    ("recursion through forEach", "[1].forEach(inner);", "stack-overflow"),
    ("recursion through sort", "[1, 2].sort(() => KSR.t.count(1, inner()));", "stack-overflow"),
    ("recursion through a constructor", "new (class A { constructor() { new A(); } })();", "stack-overflow"),
    ("result without a counterpart", "return Symbol();", "value-not-convertible"),
    ("a nested one of its own", "if (KSR.t.attempt('other') === 'exit') KSR.x.drop();", "drop"),
    ("value", "return 7;", "7"),
];

fn each(check: impl Fn(&str, &str, &str) + Send + Sync + 'static) {
    let run = move || ENDS.iter().for_each(|(name, code, result)| check(name, code, result));
    let thread = std::thread::Builder::new().stack_size(8 << 20).spawn(run);
    thread.expect("a thread starts").join().expect("all is well");
}

fn strings(items: &[&str]) -> Value {
    Value::Array(items.iter().map(|item| text(item)).collect())
}

#[test]
fn the_outer_expression_is_not_disturbed() {
    each(|name, code, result| {
        let mut loaded = load(&format!(
            "function other() {{ KSR.t.count(1, 2, KSR.x.exit()); }}
            function inner() {{ {code} }}
            const list = (...items) => items;
            function f() {{ return list('a', KSR.t.attempt('inner'), 'b', [1, 2].map(() => KSR.t.attempt('inner')).join(), 'c'); }}"
        ));
        for _ in 0..2 {
            let twice = format!("{result},{result}");
            assert_eq!(loaded.value(&[]), strings(&["a", result, "b", &twice, "c"]), "{name}");
        }
    });
}

#[test]
fn the_outer_callback_can_still_catch_and_end() {
    each(|name, code, result| {
        let mut loaded = load(&format!(
            "function other() {{ KSR.x.exit(); }}
            function inner() {{ {code} }}
            function f() {{
              KSR.t.note(KSR.t.attempt('inner'));
              try {{ KSR.t.fail('x'); }} catch (e) {{ KSR.t.note('caught'); }}
              try {{ KSR.x.drop(); }} finally {{ KSR.t.note('finally'); }}
            }}"
        ));
        assert_eq!(loaded.call(&[]).expect("no error"), Outcome::Drop, "{name}");
        assert_eq!(loaded.host.notes, [result, "caught"], "{name}");
    });
}

#[test]
fn nothing_piles_up_over_many_nested_callbacks() {
    let code = "function inner() { KSR.t.count(1, 2, 3, 4, 5, 6, 7, 8, KSR.x.exit()); }
        function f() { let n = 0; for (let i = 0; i < 10000; i++) if (KSR.t.call('inner') === 'exit') n++; return n; }";
    assert_eq!(load(code).value(&[]), Value::Int(10000));
}

#[test]
fn at_the_limit_of_recursion_the_outer_expression_is_not_disturbed_either() {
    // From some depth on there is no room for the nested callback, at last not even for the native function.
    let code = "const list = (...items) => items.join();
        const seen = new Set();
        function inner() { return [1].map(() => 5)[0]; }
        function down() { try { seen.add(list(1, KSR.t.attempt('inner'), 2)); } catch (e) {} down(); }
        function deep() { down(); }
        function f() { KSR.t.attempt('deep'); return [...seen].sort(); }";
    let run = move || load(code).value(&[]);
    let thread = std::thread::Builder::new().stack_size(8 << 20).spawn(run);
    let seen = thread.expect("a thread starts").join().expect("all is well");
    assert_eq!(seen, strings(&["1,5,2", "1,stack-overflow,2"]));
}

#[test]
fn looking_up_a_callback_does_not_disturb_the_expression() {
    let code = "Object.defineProperty(globalThis, 'odd', { get() { return KSR.t.count(1, 2, (() => null.x)()); } });
        const list = (...items) => items;
        function f() { return list('a', KSR.t.attempt('odd'), 'b'); }";
    assert_eq!(load(code).value(&[]), strings(&["a", ErrorCode::MissingCallback.as_str(), "b"]));
}

#[test]
fn logging_does_not_disturb_the_expression() {
    let code = "const list = (...items) => items.length;
        const bad = { get x() { return KSR.t.count(1, 2, (() => null.x)()); } };
        const endless = { get x() { return endless.x; } };
        function f(end) {
          if (end) { try { console.log({ get x() { KSR.x.exit(); } }); } finally { KSR.t.note('finally'); } return 0; }
          return list(1, console.log(bad), 2, console.log(endless), 3);
        }";
    let run = move || {
        let subscriber = Everything;
        tracing::subscriber::with_default(subscriber, || {
            let mut loaded = load(code);
            assert_eq!(loaded.value(&[]), Value::Int(5));
            assert_eq!(loaded.call(&[1.into()]).expect("no error"), Outcome::Exit);
            assert!(loaded.host.notes.is_empty());
        });
    };
    let thread = std::thread::Builder::new().stack_size(8 << 20).spawn(run);
    thread.expect("a thread starts").join().expect("all is well");
}

/// A log that wants all there is: without one, nothing is described.
struct Everything;

impl tracing::Subscriber for Everything {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, _: &tracing::Event<'_>) {}

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}
