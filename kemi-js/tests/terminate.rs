//! Exit and drop, in every hiding place.

mod common;

use common::{Loaded, load};
use kemi_core::{Outcome, Value};

/// Snippets that hide a call of `E()`; whatever follows it must not run.
const HIDING: &[(&str, &str)] = &[
    ("plain", "E();"),
    ("try", "try { E(); } catch (e) { KSR.t.note('catch'); } finally { KSR.t.note('finally'); }"),
    ("loop", "for (;;) { try { E(); } catch (e) {} finally { continue; } }"),
    ("nested function", "(function () { try { (() => E())(); } finally { KSR.t.note('finally'); } })();"),
    ("forEach", "try { [1, 2].forEach(() => E()); } catch (e) { KSR.t.note('catch'); }"),
    ("map", "try { [1, 2].map(E); } finally { KSR.t.note('finally'); }"),
    ("reduce", "[1, 2].reduce(() => { try { E(); } catch (e) {} });"),
    ("sort", "try { [3, 1, 2].sort(() => { try { E(); } catch (e) {} return 1; }); } catch (e) { KSR.t.note('c'); }"),
    ("generator", "function* g() { try { E(); yield 1; } finally { KSR.t.note('finally'); } } for (const x of g()) {}"),
    (
        "after a yield",
        "function* g() { try { yield 1; E(); } finally { KSR.t.note('f'); } } try { [...g()]; } catch (e) {}",
    ),
    ("in a for-of", "function* g() { try { yield 1; } finally { KSR.t.note('f'); } } for (const x of g()) { E(); }"),
    (
        "destructuring",
        "const i = { [Symbol.iterator]() { return { next: E, return() { KSR.t.note('r'); } }; } }; const [a] = i;",
    ),
    ("getter", "try { ({ get x() { return E(); } }).x; } catch (e) { KSR.t.note('catch'); }"),
    ("setter", "try { ({ set x(v) { E(); } }).x = 1; } catch (e) { KSR.t.note('catch'); }"),
    ("proxy", "try { new Proxy({}, { get() { E(); } }).x; } catch (e) { KSR.t.note('catch'); }"),
    ("toString", "try { '' + { toString() { E(); } }; } catch (e) { KSR.t.note('catch'); }"),
    ("toJSON", "try { JSON.stringify({ toJSON() { E(); } }); } catch (e) { KSR.t.note('catch'); }"),
    ("reviver", "try { JSON.parse('[1]', () => E()); } catch (e) { KSR.t.note('catch'); }"),
    ("replace", "try { 'abc'.replace(/b/, () => E()); } catch (e) { KSR.t.note('catch'); }"),
    ("constructor", "try { new (class { constructor() { E(); } })(); } catch (e) { KSR.t.note('catch'); }"),
    ("static block", "try { class A { static { E(); } } } catch (e) { KSR.t.note('catch'); }"),
    ("argument", "try { KSR.t.echo({ get x() { E(); } }); } catch (e) { KSR.t.note('catch'); }"),
    ("eval", "try { eval('E()'); } catch (e) { KSR.t.note('catch'); }"),
    ("Function", "try { new Function('E()')(); } catch (e) { KSR.t.note('catch'); }"),
    (
        "promise executor",
        "try { new Promise(() => E()).catch(() => KSR.t.note('catch')); } catch (e) { KSR.t.note('c'); }",
    ),
    (
        "promise job",
        "Promise.resolve().then(() => { try { E(); } catch (e) {} }).finally(() => KSR.t.note('f')); return 1;",
    ),
    ("thenable", "Promise.resolve({ then() { E(); } }).catch(() => KSR.t.note('catch')); return 1;"),
    (
        "async",
        "(async () => { try { E(); } catch (e) { KSR.t.note('catch'); } })().catch(() => KSR.t.note('c')); return 1;",
    ),
    (
        "await",
        "(async () => { try { await null; E(); } catch (e) { KSR.t.note('c'); } })().finally(() => KSR.t.note('f')); return 1;",
    ),
    (
        "async generator",
        "(async () => { for await (const x of (async function* () { E(); yield 1; })()) {} })().finally(() => KSR.t.note('f')); return 1;",
    ),
    ("bind and apply", "try { Reflect.apply(E.bind(null), null, []); } catch (e) { KSR.t.note('catch'); }"),
    ("species", "try { Array.from({ length: 1 }, E); } catch (e) { KSR.t.note('catch'); }"),
    ("result", "return { get x() { E(); } };"),
];

fn script(ending: &str, code: &str) -> Loaded {
    // What stands after a snippet that returns cannot be reached anyway.
    let after = if code.contains("return 1;") || code.starts_with("return") { "" } else { "KSR.t.note('after');" };
    load(&format!(
        "function E() {{ KSR.x.{ending}(); }}\nlet calm = false;\nfunction f() {{ if (calm) return KSR.t.add(40, 2); calm = true; {code} {after} }}"
    ))
}

#[test]
fn nothing_swallows_an_exit() {
    for (name, code) in HIDING {
        for (ending, outcome) in [("exit", Outcome::Exit), ("drop", Outcome::Drop)] {
            let mut loaded = script(ending, code);
            match loaded.call(&[]) {
                Ok(ended) => assert_eq!(ended, outcome, "{name}"),
                Err(error) => panic!("{name}: {error:#}"),
            }
            assert!(loaded.host.notes.is_empty(), "{name}: {:?}", loaded.host.notes);
            assert_eq!(loaded.value(&[]), Value::Int(42), "{name}: works on");
            assert_eq!(loaded.host.notes, ["40+2"], "{name}: nothing is left over");
        }
    }
}

#[test]
fn an_exit_ends_only_the_innermost_callback() {
    let code = "function E() { KSR.x.exit(); }
        function inner() { try { [1].forEach(E); } catch (e) { KSR.t.note('catch'); } }
        function dropper() { KSR.x.drop(); }
        function f() { const a = KSR.t.call('inner'); const b = KSR.t.call('dropper'); KSR.t.note('on'); return a + b; }";
    let mut loaded = load(code);
    assert_eq!(loaded.value(&[]), common::text("exitdrop"));
    assert_eq!(loaded.host.notes, ["on"]);
}

#[test]
fn many_exits_leave_nothing_behind() {
    let mut loaded = load(
        "let n = 0;
        function inner(a, b, c) { let d = 1, e = 2; KSR.x.exit(); return d + e; }
        function f(a, b) { n++; let c = [a, b]; if (n % 2) KSR.t.call('inner'); KSR.x.exit(); return c; }",
    );
    for _ in 0..20_000 {
        assert_eq!(loaded.call(&[1.into(), 2.into()]).expect("no limit is reached"), Outcome::Exit);
    }
}

#[test]
fn an_exit_at_the_top_level_ends_the_loading() {
    let sources = [
        kemi_core::Source::text(
            "a.js",
            "function f() { return KSR.t.add(1, 1); } KSR.x.exit(); function g() {} f = null;",
        ),
        kemi_core::Source::text("b.js", "f = null;"),
    ];
    let mut loaded = common::try_load(&sources, kemi_core::ArgumentPolicy::Strict).expect("loads");
    assert_eq!(loaded.value(&[]), Value::Int(2));
}

#[test]
fn the_last_callback_in_a_row_of_endings_is_unharmed() {
    let mut loaded = load("function f(how) { if (how) KSR.x[how](); return 'value'; }");
    for (how, outcome) in
        [("exit", Outcome::Exit), ("drop", Outcome::Drop), ("", Outcome::Value(common::text("value")))]
    {
        assert_eq!(loaded.call(&[how.into()]).expect("no error"), outcome);
    }
}

#[test]
fn what_an_exit_interrupted_can_be_met_again_without_harm() {
    let code = "let calm = false; const E = () => { if (!calm) KSR.x.exit(); };
        const g = (function* () { yield 1; E(); yield 2; })();
        const a = (async function* () { E(); yield 1; })();
        const p = new Proxy({}, { get() { E(); return 1; } });
        const list = [3, 1, 2];
        function met() { try { g.next(); return 'resumed'; } catch (e) { return e.name; } }
        function f(what) {
          if (what === 'generator') { g.next(); g.next(); }
          if (what === 'async') a.next();
          if (what === 'proxy') p.x;
          if (what === 'sort') list.sort(E);
          calm = true;
          a.next().catch(() => 0);
          return [met(), p.x, list.sort().length];
        }";
    for what in ["generator", "async", "proxy", "sort"] {
        let mut loaded = load(code);
        assert_eq!(loaded.call(&[what.into()]).unwrap_or_else(|error| panic!("{what}: {error:#}")), Outcome::Exit);
        match loaded.value(&["".into()]) {
            Value::Array(items) => assert_eq!(items.get(1..), Some(&[Value::Int(1), Value::Int(3)][..]), "{what}"),
            other => panic!("{what}: {other}"),
        }
    }
}
