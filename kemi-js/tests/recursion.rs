//! Recursion without end, on a thread with the stack of a worker.

mod common;

use common::load;
use kemi_core::{ErrorCode, Value};

/// Ways to recurse: through the interpreter itself and through each kind of native helper.
const WAYS: &[(&str, &str)] = &[
    ("plain", "function r() { return r() + 1; }"),
    ("arguments", "function r(...a) { return r(1, 2, 3, ...a.slice(0, 50)) + 1; }"),
    ("forEach", "function r() { [1].forEach(r); }"),
    ("map", "function r() { return [1].map(() => r()); }"),
    ("sort", "function r() { [2, 1].sort(r); }"),
    ("reduce", "function r() { [2, 1].reduce(r); }"),
    ("getter", "const o = { get x() { return o.x; } }; function r() { return o.x; }"),
    ("proxy", "const p = new Proxy({}, { get(t, k, s) { return s[k]; } }); function r() { return p.x; }"),
    ("toJSON", "const o = { toJSON() { return JSON.stringify(o); } }; function r() { return JSON.stringify(o); }"),
    ("reviver", "function r() { return JSON.parse('[1]', r); }"),
    ("replace", "function r() { return 'a'.replace(/a/, r); }"),
    ("apply", "function r() { return Reflect.apply(r, null, []); }"),
    ("call", "function r() { return r.call(null); }"),
    ("bind", "function r() { return r.bind(null)(); }"),
    ("constructor", "class A { constructor() { new A(); } } function r() { new A(); }"),
    ("Reflect.construct", "class A { constructor() { Reflect.construct(A, []); } } function r() { new A(); }"),
    ("generator", "function* g() { yield* g(); } function r() { return [...g()]; }"),
    ("iterator", "const i = { [Symbol.iterator]() { return [...i]; } }; function r() { return [...i]; }"),
    ("async", "async function r() { await r(); }"),
    ("promise", "function r() { return new Promise(r); }"),
    ("eval", "function r() { return eval('r()'); }"),
    ("Function", "function r() { return new Function('return r()')(); }"),
    (
        "instanceof",
        "const c = { [Symbol.hasInstance]() { return 1 instanceof c; } }; function r() { return 1 instanceof c; }",
    ),
    (
        "nested callbacks",
        "function f() { return deep(9); } function deep(n) { return n ? [1].map(() => deep(n - 1)) : KSR.t.call('f'); } function r() { return KSR.t.call('f'); }",
    ),
];

#[test]
fn recursion_without_end_is_an_error() {
    for (name, code) in WAYS {
        let thread = std::thread::Builder::new().stack_size(8 << 20).spawn(move || {
            let start = if code.contains("function f(") {
                ""
            } else {
                "function f() { if (calm) return 1; calm = true; return r(); }"
            };
            let mut loaded = load(&format!("let calm = false;\n{code}\n{start}"));
            match loaded.call(&[]) {
                Ok(outcome) => panic!("{name}: no error but {outcome:?}"),
                Err(error) if *name == "nested callbacks" => {
                    assert_eq!(error.code, ErrorCode::NestedTooDeep, "{error}")
                }
                Err(error) => {
                    assert_eq!(error.code, ErrorCode::StackOverflow, "{name}: {error}");
                    assert!(error.place.is_some(), "{name}: {error}");
                    assert_eq!(loaded.value(&[]), Value::Int(1), "{name}: works on");
                }
            }
        });
        thread.expect("a thread starts").join().unwrap_or_else(|_| panic!("{name} failed"));
    }
}

#[test]
fn an_ordinary_depth_is_no_error() {
    let mut loaded = load("function d(n) { return n ? d(n - 1) + 1 : 0; } function f() { return d(400); }");
    assert_eq!(loaded.value(&[]), Value::Int(400));
}
