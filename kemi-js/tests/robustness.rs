//! Nesting and recursion without end are errors, on a thread with the stack of a worker: sources, structures, calls.

mod common;

use common::{Loaded, load, load_limited, try_load};
use kemi_core::{ArgumentPolicy, ErrorCode, Limits, Source, Value};

/// Ways to nest a source: what is before the innermost part, the innermost part, and what is after it.
const SOURCES: &[(&str, &str, &str, &str)] = &[
    ("parentheses", "(", "1", ")"),
    ("brackets", "[", "1", "]"),
    ("objects", "({a:", "1", "})"),
    ("calls", "f(", "1", ")"),
    ("functions", "(function(){return ", "1", "})"),
    ("arrows", "a=>", "1", ""),
    ("arrow bodies", "(a=>{return ", "1", "})"),
    ("default parameters", "((a=", "1", ")=>a)"),
    ("classes", "(class extends ", "Object", "{})"),
    ("class bodies", "(class{m(){return ", "1", "}})"),
    ("conditionals", "1?1:", "1", ""),
    ("conditionals inside", "1?", "1", ":1"),
    ("assignments", "a=", "1", ""),
    ("powers", "2**", "2", ""),
    ("not", "!", "1", ""),
    ("minus", "- ", "1", ""),
    ("typeof", "typeof ", "1", ""),
    ("new", "new ", "f", ""),
    ("or", "1||", "1", ""),
    ("and", "1&&", "1", ""),
    ("nullish", "null??", "1", ""),
    ("sum", "1+", "1", ""),
    ("comparison", "1<", "1", ""),
    ("comma", "1,", "1", ""),
    ("member", "a.b.", "c", ""),
    ("index", "a[", "0", "]"),
    ("template", "`${", "1", "}`"),
    ("spread", "[...", "[]", "]"),
    ("regular expressions", "/(?:/.test(", "1", ")"),
];

/// Ways to go on without nesting, which make a tree as deep.
const CHAINS: &[(&str, &str, &str)] = &[
    ("calls", "f", "()"),
    ("members", "f", ".a"),
    ("optional", "f", "?.a"),
    ("indexes", "f", "[0]"),
    ("tagged", "f", "``"),
    ("or", "1", "||1"),
    ("plus", "1", "+1"),
    ("comma", "1", ",1"),
    ("in", "1", " in f"),
];

/// Statements in each other.
const STATEMENTS: &[(&str, &str, &str, &str)] = &[
    ("blocks", "{", ";", "}"),
    ("else if", "if(0);else ", ";", ""),
    ("if", "if(1)", ";", ""),
    ("for", "for(;0;)", ";", ""),
    ("while", "while(0)", ";", ""),
    ("do", "do ", ";", " while(0)"),
    ("try", "try{", ";", "}finally{}"),
    ("switch", "switch(1){case 1:", ";", "}"),
    ("functions", "function g(){", ";", "}"),
    ("classes", "class C{static{", ";", "}}"),
    ("with", "with(f)", ";", ""),
    ("destructuring", "var [a=", "1", "]=[]"),
];

fn nested((_, before, inner, after): (&str, &str, &str, &str), depth: usize) -> String {
    format!("{}{inner}{}", before.repeat(depth), after.repeat(depth))
}

/// As on a worker's thread.
fn on_small_stack(run: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(run).expect("a thread starts");
    assert!(thread.join().is_ok());
}

fn deep_sources(depth: usize) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for way in SOURCES {
        all.push((way.0.to_owned(), format!("var f, a; function g() {{ return {}; }}", nested(*way, depth))));
    }
    for (name, first, next) in CHAINS {
        all.push((
            format!("chain of {name}"),
            format!("var f; function g() {{ return {first}{}; }}", next.repeat(depth)),
        ));
    }
    for way in STATEMENTS {
        all.push((format!("statements: {}", way.0), format!("var f; function h() {{ {} }}", nested(*way, depth))));
    }
    let labels: String = (0..depth).map(|i| format!("l{i}:")).collect();
    all.push(("labels".to_owned(), format!("{labels};")));
    all.push((
        "array patterns".to_owned(),
        format!("function h() {{ var {}a{} = []; }}", "[".repeat(depth), "]".repeat(depth)),
    ));
    all.push((
        "object patterns".to_owned(),
        format!("function h() {{ var {}a{} = []; }}", "{a:".repeat(depth), "}".repeat(depth)),
    ));
    all
}

#[test]
fn a_source_that_nests_too_deep_is_refused_and_never_ends_the_process() {
    on_small_stack(|| {
        let limits = Limits { max_load_time_ms: 1_500, ..Limits::NONE };
        for depth in [1_000, 40_000] {
            for (name, source) in deep_sources(depth) {
                let start = std::time::Instant::now();
                let loaded = load_limited(&[Source::text("t.js", source)], ArgumentPolicy::Strict, limits);
                let what = loaded.as_ref().map_or_else(ToString::to_string, |_| "taken".to_owned());
                println!("{name}, {depth} levels, {} ms: {what}", start.elapsed().as_millis());
                match loaded {
                    Ok(_) => assert!(depth < 40_000 || name == "chain of optional", "{name}: {depth} levels are taken"),
                    Err(error) => assert!(
                        matches!(error.code, ErrorCode::Syntax | ErrorCode::TimeLimit | ErrorCode::Runtime),
                        "{name}: {error}"
                    ),
                }
            }
        }
    });
}

#[test]
fn a_source_that_nests_as_people_write_is_taken() {
    on_small_stack(|| {
        for (name, source) in deep_sources(150) {
            if ["regular expressions", "in", "with", "labels"].iter().any(|odd| name.contains(odd)) {
                continue;
            }
            if let Err(error) = try_load(&[Source::text("t.js", source)], ArgumentPolicy::Strict) {
                assert!(error.code != ErrorCode::StackOverflow && !error.message.contains("deep"), "{name}: {error}");
            }
        }
        let table: String = (0..5_000).map(|i| format!("[{i},'text {i}',{{a:{i}}}],")).collect();
        assert_eq!(
            load(&format!("var t = [{table}]; function f() {{ return t.length; }}")).value(&[]),
            Value::Int(5_000)
        );
    });
}

#[test]
fn code_made_by_a_script_may_nest_no_deeper() {
    on_small_stack(|| {
        let code = "function f(way, before, inner, after, depth) {
            const text = before.repeat(depth) + inner + after.repeat(depth);
            try {
                if (way === 0) eval(text);
                else if (way === 1) (0, eval)(text);
                else if (way === 2) new Function('return ' + text);
                else if (way === 3) new Function('a = ' + text, 'return a');
                else if (way === 4) (function* () {}).constructor('return ' + text);
                else JSON.parse(text);
            } catch (e) { return e.name; }
            return 'taken';
        }";
        let limits = Limits { max_time_ms: 2_000, ..Limits::NONE };
        let mut loaded = load_limited(&[Source::text("t.js", code)], ArgumentPolicy::Strict, limits).expect("it loads");
        for (name, before, inner, after) in SOURCES.iter().step_by(4) {
            for depth in [1_000usize, 40_000] {
                for way in 0..6i64 {
                    let args = [way.into(), (*before).into(), (*inner).into(), (*after).into(), (depth as i64).into()];
                    let start = std::time::Instant::now();
                    let result = loaded.call(&args);
                    println!("{name}, way {way}, {depth} levels, {} ms: {result:?}", start.elapsed().as_millis());
                    assert!(result.is_ok() || depth > 1_000, "{name}, way {way}: {result:?}");
                }
            }
        }
        assert_eq!(loaded.value(&[0.into(), "".into(), "1".into(), "".into(), 1.into()]), common::text("taken"));
    });
}

#[test]
fn a_module_that_nests_too_deep_can_be_caught() {
    on_small_stack(|| {
        let folder = std::env::temp_dir().join(format!("kemi-js-nesting-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(
            folder.join("deep.js"),
            format!("module.exports = {}1{}", "[".repeat(60_000), "]".repeat(60_000)),
        )
        .unwrap();
        std::fs::write(folder.join("deep.json"), format!("{}1{}", "[".repeat(60_000), "]".repeat(60_000))).unwrap();
        std::fs::write(
            folder.join("main.js"),
            "function f(name) { try { require(name); } catch (e) { return e.name; } return 'loaded'; }",
        )
        .unwrap();
        let mut loaded = try_load(&[Source::File(folder.join("main.js"))], ArgumentPolicy::Strict).unwrap();
        let results = ["./deep.js", "./deep.json"].map(|name| loaded.value(&[name.into()]));
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(results, [common::text("SyntaxError"), common::text("Error")]);
    });
}

/// Recursions of built-ins, some without end, that take no function of the script.
const RECURSIONS: &[(&str, &str)] = &[
    ("flat of a circle", "const a = []; a.push(a); return a.flat(Infinity);"),
    ("flat, deep", "return nest(200000).flat(Infinity);"),
    ("String", "return String(nest(100000)).length;"),
    ("join", "return nest(100000).join().length;"),
    ("toLocaleString", "return nest(50000).toLocaleString().length;"),
    ("JSON.stringify", "return JSON.stringify(nest(100000)).length;"),
    ("JSON.stringify of names", "return JSON.stringify(nest(100000), ['a']).length;"),
    ("JSON.stringify of a function", "return JSON.stringify(nest(100000), (k, v) => v).length;"),
    (
        "prototypes",
        "let o = {}; for (let i = 0; i < 100000; i++) o = Object.create(o); return o.x === undefined ? 1 : 0;",
    ),
    ("prototypes, has", "let o = {}; for (let i = 0; i < 100000; i++) o = Object.create(o); return 'x' in o ? 1 : 0;"),
    ("prototypes, set", "let o = {}; for (let i = 0; i < 2000; i++) o = { __proto__: o }; o.x = 1; return 1;"),
    (
        "classes",
        "let C = class {}; for (let i = 0; i < 5000; i++) C = class extends C {}; return C.x === undefined ? 1 : 0;",
    ),
    (
        "instances",
        "let o = {}; for (let i = 0; i < 5000; i++) { function F() {} F.prototype = o; o = new F(); } return o.x;",
    ),
    ("proxies", "let p = {}; for (let i = 0; i < 200000; i++) p = new Proxy(p, {}); return p.x;"),
    ("proxies as handlers", "let p = {}; for (let i = 0; i < 200000; i++) p = new Proxy({}, p); return p.x;"),
    ("revocable proxies", "let p = {}; for (let i = 0; i < 200000; i++) p = Proxy.revocable(p, {}).proxy; return p.x;"),
    ("proxies of functions", "let p = () => 1; for (let i = 0; i < 200000; i++) p = new Proxy(p, {}); return p();"),
    ("a circle of prototypes", "const o = {}; Object.setPrototypeOf(o, new Proxy(o, {})); return o.x;"),
    ("a circle by Reflect", "const o = {}; Reflect.setPrototypeOf(o, new Proxy(o, {})); return o.x;"),
    ("a circle by __proto__", "const o = {}; o.__proto__ = new Proxy(o, {}); return o.x;"),
    ("a circle of two", "const o = {}; o.__proto__ = Object.create(new Proxy(Object.create(o), {})); return 'x' in o;"),
    ("a circle of handlers", "const h = {}; const p = new Proxy({}, h); Object.setPrototypeOf(h, p); return p.x;"),
    ("bind", "let g = () => 1; for (let i = 0; i < 4000; i++) g = g.bind(null); return g();"),
    ("bind, new", "let g = function () {}; for (let i = 0; i < 4000; i++) g = g.bind(null); return new g() ? 1 : 0;"),
    (
        "bind, instanceof",
        "let g = function () {}; for (let i = 0; i < 4000; i++) g = g.bind(null); return {} instanceof g;",
    ),
    ("toString by toLocaleString", "const o = {}; o.toString = o.toLocaleString; return o.toString();"),
    ("join by toString", "const a = []; a.join = a.toString; return a.toString();"),
    ("exec by test", "const r = /a/; r.exec = r.test; return r.test('a');"),
    ("toISOString by toJSON", "const d = new Date(0); d.toISOString = d.toJSON; return d.toJSON();"),
    ("then by catch", "const p = Promise.resolve(); p.then = p.catch; return p.catch() ? 1 : 0;"),
    ("then by finally", "const p = Promise.resolve(); p.then = p.finally; return p.finally() ? 1 : 0;"),
    ("getter", "const o = {}; Object.defineProperty(o, 'x', { get: Reflect.get.bind(null, o, 'x') }); return o.x;"),
    (
        "apply",
        "const args = [null, null, null]; const h = Reflect.apply.bind(null); args[0] = h; args[2] = args; return h(h, null, args);",
    ),
    ("trap", "const h = {}; const p = new Proxy({}, h); h.get = Reflect.get.bind(null, p); return p.x;"),
    ("iterator", "const o = {}; o[Symbol.iterator] = Array.prototype.concat.bind([], o); return Array.from(o).length;"),
    ("match", "const r = /a/; r[Symbol.match] = String.prototype.match.bind('a', r); return 'a'.match(r);"),
    ("sort", "const a = [2, 1]; a.sort(a.sort.bind(a, (x, y) => x - y)); return 1;"),
    ("map", "const a = [1]; const f = Array.prototype.map.bind(a, (...x) => f(...x)); return f();"),
    ("concat of itself", "let s = 'x'; for (let i = 0; i < 100000; i++) s = `${s}`; return s.length;"),
    (
        "groups",
        "try { return new RegExp('(?:'.repeat(100000) + ')'.repeat(100000)) ? 1 : 0; } catch (e) { return e.name; }",
    ),
    (
        "classes of characters",
        "try { return new RegExp('['.repeat(100000) + ']'.repeat(100000), 'v') ? 1 : 0; } catch (e) { return e.name; }",
    ),
    ("then of then", "let p = Promise.resolve(1); for (let i = 0; i < 20000; i++) p = p.then(x => x); return p;"),
    (
        "promises in promises",
        "let p = new Promise(() => {}); for (let i = 0; i < 20000; i++) { const q = p; p = { then(f) { f(q); } }; } return Promise.resolve(p) ? 1 : 0;",
    ),
    ("Map keys", "let m = new Map(); for (let i = 0; i < 100000; i++) m = new Map([[m, m]]); return m.size;"),
    (
        "weak references",
        "let m = {}; for (let i = 0; i < 50000; i++) { const w = new WeakMap(); w.set(m, m); m = w; } return 1;",
    ),
    ("closures", "let f = () => 1; for (let i = 0; i < 100000; i++) { const g = f; f = () => g; } return f() ? 1 : 0;"),
    ("errors", "let e = new Error('a'); for (let i = 0; i < 50000; i++) e = new Error('b', { cause: e }); throw e;"),
    (
        "errors in errors",
        "let e = new Error('a'); for (let i = 0; i < 20000; i++) e = new AggregateError([e], 'b'); throw e;",
    ),
    ("a result", "return nest(50000);"),
    ("an argument", "try { return KSR.t.echo(nest(50000)); } catch (e) { return e.name; }"),
    ("console", "console.log(nest(50000)); return 1;"),
    (
        "getters in getters",
        "let o = {}; for (let i = 0; i < 3000; i++) { const p = o; o = { get x() { return p.x; } }; } return o.x === undefined ? 1 : 0;",
    ),
];

#[test]
fn a_recursion_of_builtins_is_an_error_and_never_ends_the_process() {
    on_small_stack(|| {
        for (name, code) in RECURSIONS {
            let source = format!(
                "function nest(n) {{ let a = []; for (let i = 0; i < n; i++) a = [a]; return a; }}
                 let calm = false; function f() {{ if (calm) return 42; calm = true; {code} }}"
            );
            // No limit of time: what ends them is the stack.
            let source = [Source::text("t.js", source)];
            println!("{name}");
            let mut loaded: Loaded = load_limited(&source, ArgumentPolicy::Strict, Limits::NONE).expect("it loads");
            let start = std::time::Instant::now();
            let outcome = loaded.call(&[]);
            println!("{name}, {} ms: {outcome:?}", start.elapsed().as_millis());
            if let Err(error) = &outcome {
                assert!(
                    matches!(
                        error.code,
                        ErrorCode::StackOverflow | ErrorCode::Runtime | ErrorCode::ValueNotConvertible
                    ),
                    "{name}: {error}"
                );
                assert!(!error.to_string().contains("panicked"), "{name}: {error}");
            }
            assert_eq!(loaded.value(&[]), Value::Int(42), "{name}: works on after {outcome:?}");
        }
    });
}

#[test]
fn a_stack_that_was_used_up_twice_in_one_call_is_an_error_twice() {
    on_small_stack(|| {
        let source = "const o = {}; o.toString = o.toLocaleString;
                      function deep() { return o.toString(); }
                      function f() { return [1, 2, 3].map(() => KSR.t.attempt('deep')).join(); }";
        let source = [Source::text("t.js", source)];
        let mut loaded: Loaded = load_limited(&source, ArgumentPolicy::Strict, Limits::NONE).expect("it loads");
        assert_eq!(loaded.value(&[]), Value::from("stack-overflow,stack-overflow,stack-overflow"));
    });
}

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
