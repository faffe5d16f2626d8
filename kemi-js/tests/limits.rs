//! The limits on time, instructions and depth.

mod common;

use std::time::{Duration, Instant};

use common::{Loaded, load_limited};
use kemi_core::{ArgumentPolicy, ErrorCode, Limits, Outcome, ScriptError, Source, Value};

const SHORT: Limits = Limits { max_time_ms: 60, max_load_time_ms: 60, ..Limits::NONE };

/// Loops without end, some where their end might be swallowed.
const LOOPS: &[(&str, &str)] = &[
    ("for", "for (;;) {}"),
    ("while", "while (true) { let a = 1; a++; }"),
    ("do", "do { continue; } while (true);"),
    ("function", "for (;;) short();"),
    ("nested", "for (;;) for (let i = 0; i < 1e3; i++) {}"),
    ("calls only", "const r = n => { if (n) { r(n - 1); r(n - 1); } }; r(60);"),
    ("try", "try { for (;;) {} } catch (e) { KSR.t.note('catch'); } finally { KSR.t.note('finally'); }"),
    ("try again", "for (;;) { try { for (;;) {} } catch (e) {} finally { continue; } }"),
    ("forEach", "try { [1, 2].forEach(spin); } catch (e) { KSR.t.note('catch'); }"),
    ("sort", "try { [3, 1, 2].sort(spin); } catch (e) { KSR.t.note('catch'); }"),
    ("generator", "function* g() { try { spin(); yield 1; } finally { KSR.t.note('f'); } } [...g()];"),
    ("endless generator", "function* g() { for (;;) yield 1; } for (const x of g()) {}"),
    ("getter", "try { ({ get x() { return spin(); } }).x; } catch (e) { KSR.t.note('catch'); }"),
    ("toString", "try { '' + { toString: spin }; } catch (e) { KSR.t.note('catch'); }"),
    ("proxy", "new Proxy({}, { get: spin }).x;"),
    ("eval", "eval('for (;;) {}');"),
    ("Function", "new Function('for (;;) {}')();"),
    ("constructor", "try { new (class { constructor() { spin(); } })(); } catch (e) { KSR.t.note('catch'); }"),
    ("executor", "new Promise(spin).catch(() => KSR.t.note('catch'));"),
    ("job", "Promise.resolve().then(spin).finally(() => KSR.t.note('f')); return 1;"),
    ("async", "(async () => { await null; try { spin(); } finally { KSR.t.note('f'); } })(); return 1;"),
    ("result", "return { get x() { spin(); } };"),
    ("native", "for (;;) { try { KSR.t.count(); } catch (e) {} }"),
    ("callback", "try { KSR.t.call('spin'); } catch (e) { KSR.t.note('catch'); } finally { KSR.t.note('f'); }"),
];

/// More of them, in functions that built-ins call and in jobs, where only the clock ends what is no plain loop.
const DEEPER: &[(&str, &str)] = &[
    ("forEach, nested", "[1].forEach(() => { for (;;) for (let i = 0; i < 1e3; i++) {} });"),
    ("forEach, calls only", "const r = n => { if (n) { r(n - 1); r(n - 1); } }; [60].forEach(r);"),
    ("replace", "'a'.replace(/a/, () => { for (;;) short(); });"),
    ("toJSON", "JSON.stringify({ toJSON() { for (;;) short(); } });"),
    (
        "generator, nested",
        "function* g() { for (;;) { for (let i = 0; i < 9; i++); yield 1; } } for (const x of g()) {}",
    ),
    ("spread", "function* g() { for (;;) yield 1; } [...g()];"),
    ("Array.from", "Array.from({ *[Symbol.iterator]() { for (;;) yield 1; } });"),
    ("built-ins only", "const a = Array(1000).fill(0); for (;;) a.forEach(Math.abs);"),
    ("job", "Promise.resolve().then(() => { for (;;) short(); }); return 1;"),
    ("job, calls only", "const r = n => { if (n) { r(n - 1); r(n - 1); } }; Promise.resolve(60).then(r); return 1;"),
];

fn limited(limits: Limits, code: &str) -> Result<Loaded, ScriptError> {
    load_limited(&[Source::text("t.js", code)], ArgumentPolicy::Strict, limits)
}

fn error_of(loaded: Result<Loaded, ScriptError>) -> ScriptError {
    match loaded {
        Ok(_) => panic!("it loads"),
        Err(error) => error,
    }
}

fn place(error: &ScriptError) -> String {
    error.place.as_ref().map_or_else(|| "nowhere".to_owned(), ToString::to_string)
}

/// Runs the code as the body of a function, and checks how it ends and that the next call works.
fn ends(name: &str, limits: Limits, code: &str, expected: ErrorCode) {
    let mut loaded = limited(
        limits,
        &format!(
            "function spin() {{ for (;;) {{}} }} function short() {{ for (let i = 0; i < 100; i++) {{}} }}\n\
             let calm = false;\nfunction f(on) {{ if (calm) return 42; calm = true;\n{code}\nKSR.t.note('after'); }}"
        ),
    )
    .unwrap_or_else(|error| panic!("{name}: {error}"));
    let start = Instant::now();
    let error = match loaded.call(&[]) {
        Ok(outcome) => panic!("{name}: no error but {outcome:?}"),
        Err(error) => error,
    };
    assert!(start.elapsed() < Duration::from_secs(10), "{name}");
    assert_eq!(error.code, expected, "{name}: {error}");
    // Without a call at fault, the line is where the function begins; what follows an `await` has none.
    let lines = ["t.js:1", "t.js:3", "t.js:4", if name == "async" { "nowhere" } else { "" }];
    assert!(lines.contains(&place(&error).as_str()), "{name}: {error}");
    assert!(loaded.host.notes.is_empty(), "{name}: {:?}", loaded.host.notes);
    assert_eq!(loaded.value(&[]), Value::Int(42), "{name}: works on");
    assert!(loaded.host.notes.is_empty(), "{name}: {:?}", loaded.host.notes);
}

#[test]
fn nothing_hides_from_the_clock() {
    for (name, code) in LOOPS.iter().chain(DEEPER) {
        ends(name, SHORT, code, ErrorCode::TimeLimit);
    }
}

#[test]
fn instructions_are_counted_only_with_a_limit() {
    let counted = Limits { max_instructions: 100_000, ..Limits::NONE };
    // Neither the turns of a generator nor, after an `await`, the end of a function come to be known.
    for (name, code) in LOOPS.iter().filter(|(name, _)| *name != "endless generator" && *name != "async") {
        ends(name, counted, code, ErrorCode::InstructionLimit);
    }
    let mut few = limited(counted, "function f(n) { for (let i = 0; i < n; i++) KSR.t.count(); return n; }").unwrap();
    assert_eq!(few.value(&[10.into()]), Value::Int(10));
    assert_eq!(few.call(&[1_000_000.into()]).unwrap_err().code, ErrorCode::InstructionLimit);
    assert_eq!(few.value(&[10.into()]), Value::Int(10));
    let mut free = limited(Limits::NONE, "function f(n) { for (let i = 0; i < n; i++); return n; }").unwrap();
    assert_eq!(free.value(&[200_000.into()]), Value::Int(200_000));
}

#[test]
fn promise_jobs_without_end_are_ended() {
    for code in [
        "function f() { Promise.resolve().then(f); }",
        "async function g() { for (;;) await null; } function f() { g(); }",
    ] {
        let mut loaded = limited(SHORT, &format!("let calm = false; {code}\nfunction h() {{ return 42; }}")).unwrap();
        let error = loaded.call(&[]).unwrap_err();
        assert_eq!(error.code, ErrorCode::TimeLimit, "{code}: {error}");
    }
}

#[test]
fn the_top_level_has_its_own_time() {
    for (code, line) in [
        ("for (;;) {}", "t.js:1"),
        ("try { for (;;) {} } catch (e) {} finally { for (;;) {} }", "t.js:1"),
        ("function g() {\nfor (;;) {} }\n[1].forEach(g);", "t.js:2"),
        ("for (;;) try { KSR.t.count(); } catch (e) {}", "t.js:2"),
        ("for (;;) for (let i = 0; i < 1e3; i++) {}", "t.js:1"),
        ("const r = n => { if (n) { r(n - 1); r(n - 1); } };\nr(60);", "t.js:2"),
    ] {
        let error = error_of(limited(SHORT, &format!("let a = 1;\n{code}\nthrow 'not reached';")));
        assert_eq!(error.code, ErrorCode::TimeLimit, "{code}: {error}");
        // At a loop turn of the top level the line is not known.
        assert!([line, "t.js:1"].contains(&place(&error).as_str()), "{code}: {error}");
    }
    let counted = Limits { max_instructions: 10_000, ..Limits::NONE };
    assert_eq!(error_of(limited(counted, "for (;;) {}")).code, ErrorCode::InstructionLimit);
}

#[test]
fn a_module_that_never_ends_is_ended() {
    let folder = std::env::temp_dir().join(format!("kemi-js-limits-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("spin.js"), "let a = 1;\nfor (;;) {}").unwrap();
    std::fs::write(folder.join("main.js"), "function f() { try { require('./spin'); } catch (e) {} return 1; }")
        .unwrap();
    let source = Source::File(folder.join("main.js"));
    let error = load_limited(&[source], ArgumentPolicy::Strict, SHORT).unwrap().call(&[]).unwrap_err();
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!(error.code, ErrorCode::TimeLimit, "{error}");
    assert!(place(&error).ends_with("spin.js:1"), "{error}");
}

#[test]
fn a_nested_callback_takes_the_outer_ones_with_it() {
    let code = "let depth = 0;
        function deep() { if (++depth < 5) { try { KSR.t.call('deep'); } catch (e) {} } else for (;;) {} KSR.t.note('on'); }
        function f() { depth = 0; for (;;) { try { KSR.t.call('deep'); } catch (e) { KSR.t.note('catch'); } } }";
    let mut loaded = limited(SHORT, code).unwrap();
    for _ in 0..2 {
        let error = loaded.call(&[]).unwrap_err();
        assert_eq!((error.code, place(&error).as_str()), (ErrorCode::TimeLimit, "t.js:2"), "{error}");
        assert!(loaded.host.notes.is_empty(), "{:?}", loaded.host.notes);
    }
}

#[test]
fn nested_callbacks_that_go_on_leave_the_clock_running() {
    let code = "function g() { for (let i = 0; i < 1000; i++); return 1; }
        function f(n) { for (let i = 0; i < 20; i++) KSR.t.call('g'); for (;;) {} }";
    let mut loaded = limited(SHORT, code).unwrap();
    for _ in 0..3 {
        let error = loaded.call(&[]).unwrap_err();
        assert_eq!((error.code, place(&error).as_str()), (ErrorCode::TimeLimit, "t.js:2"), "{error}");
    }
}

#[test]
fn an_interrupt_hits_only_the_call_it_is_for() {
    let tight = Limits { max_time_ms: 12, max_load_time_ms: 10_000, ..Limits::NONE };
    let code =
        "function f(on) { if (on) for (;;) {} for (let i = 0; i < 1000; i++); return [1, 2].map(x => x + 1).length; }";
    let busy = std::thread::spawn(move || {
        let mut loaded = limited(tight, code).unwrap();
        for _ in 0..30 {
            assert_eq!(loaded.call(&[1.into()]).unwrap_err().code, ErrorCode::TimeLimit);
        }
    });
    let calm = Limits { max_time_ms: 10_000, ..tight };
    let mut other = limited(calm, code).unwrap();
    let mut loaded = limited(tight, code).unwrap();
    for _ in 0..30 {
        assert_eq!(loaded.call(&[1.into()]).unwrap_err().code, ErrorCode::TimeLimit);
        // Late signals come now.
        for _ in 0..20 {
            assert_eq!(other.value(&[0.into()]), Value::Int(2));
        }
    }
    busy.join().expect("the other thread's calls end as well");
}

#[test]
fn interrupts_at_any_moment_leave_the_interpreter_sound() {
    let code = "class A { constructor(n) { this.n = n; } get twice() { return this.n * 2; } }
        function* count(n) { try { for (let i = 0; i < n; i++) yield i; } finally { new A(n).twice; } }
        async function later(n) { try { return await n; } finally { await null; } }
        function work() {
            const [a, b = 2, ...rest] = [...count(5), ...[5, 3, 4].sort((x, y) => x - y)];
            const p = new Proxy({}, { get: (t, k) => [a, b, k].map(String).join('-') });
            const m = new Map(rest.map(x => [x, `${x}${p.key}`]));
            for (const [k, v] of m) { try { if (k === 4) throw new Error(v); } catch (e) { e.message; } finally { k + 1; } }
            return JSON.stringify([...m].concat(JSON.parse('[1, {\"a\": [2]}]')), (k, v) => v)
                .replace(/[0-9]+/g, x => x + 1).split(',').map(x => ({ x })).reduce((s, { x }) => s + x.length, 0)
                + Reflect.apply(Math.max, null, rest) + eval('a + b') + (later(a), new A(b).twice);
        }
        function f(on) { do work(); while (on); return work(); }";
    let tight = Limits { max_time_ms: 2, max_load_time_ms: 10_000, ..Limits::default() };
    let mut loaded = limited(tight, code).unwrap();
    let mut calm = limited(Limits::default(), code).unwrap();
    let expected = calm.value(&[0.into()]);
    for _ in 0..200 {
        let error = loaded.call(&[1.into()]).unwrap_err();
        assert_eq!(error.code, ErrorCode::TimeLimit, "{error}");
        if let Ok(Outcome::Value(value)) = loaded.call(&[0.into()]) {
            assert_eq!(value, expected);
        }
    }
}

#[test]
fn looking_for_a_callback_ends_without_a_clock() {
    let code = "Object.defineProperty(globalThis, 'f', { get() { const r = () => { for (;;) r(); }; r(); } });";
    let loaded = limited(Limits::NONE, code).unwrap();
    assert!(!loaded.instance.has(loaded.f));
}

#[test]
fn all_arguments_arrive() {
    for limits in [Limits::NONE, SHORT] {
        let mut loaded = limited(limits, "function f() { return [this === globalThis, ...arguments]; }").unwrap();
        for n in 0..7 {
            let args: Vec<kemi_core::Arg<'_>> = (0..n).map(|i: i64| i.into()).collect();
            let expected: Vec<Value> = [Value::Bool(true)].into_iter().chain((0..n).map(Value::Int)).collect();
            assert_eq!(loaded.value(&args), Value::Array(expected));
        }
    }
}

#[test]
fn calls_nest_as_deep_as_allowed() {
    let down = |depth: u32, code: &str, n: i64| {
        let mut loaded = limited(Limits { max_depth: depth, ..Limits::NONE }, code).unwrap();
        loaded.call(&[n.into()])
    };
    let plain = "function f(n) { return n ? f(n - 1) : 0; }";
    let built_in = "function f(n) { return n ? [n - 1].map(f)[0] : 0; }";
    for depth in [10, 50, 200] {
        for code in [plain, built_in] {
            assert_eq!(down(depth, code, depth.into()).unwrap(), Outcome::Value(Value::Int(0)), "{depth} {code}");
            let error = down(depth, code, i64::from(depth) * 2 + 130).unwrap_err();
            assert_eq!(error.code, ErrorCode::StackOverflow, "{depth} {code}");
        }
    }
    for depth in [0, 1_000_000] {
        assert_eq!(down(depth, plain, 450).unwrap(), Outcome::Value(Value::Int(0)));
        assert_eq!(down(depth, plain, 1000).unwrap_err().code, ErrorCode::StackOverflow);
    }
}

#[test]
fn buffers_are_not_larger_than_the_memory() {
    let small = Limits { max_memory: 1 << 20, ..Limits::NONE };
    let code = "function f(n) { try { return new ArrayBuffer(n).byteLength; } catch (e) { return e.name; } }";
    for (limits, size, expected) in [
        (small, 1 << 20, Value::Int(1 << 20)),
        (small, (1 << 20) + 1, common::text("RangeError")),
        (Limits::NONE, 1 << 21, Value::Int(1 << 21)),
    ] {
        assert_eq!(limited(limits, code).unwrap().value(&[size.into()]), expected);
    }
}

#[test]
fn the_time_of_a_call_holds_while_the_cost_of_a_built_in_is_counted() {
    let limits = Limits { max_time_ms: 10, max_memory: 64 << 20, ..Limits::default() };
    for call in ["text.replaceAll('a', 'bcd')", "text.split('a')"] {
        let source = format!("let text = 'a'; for (let i = 0; i < 25; i++) text += text; function f() {{ {call}; }}");
        let mut loaded =
            load_limited(&[Source::text("t.js", source)], ArgumentPolicy::Strict, limits).expect("it loads");
        assert_eq!(loaded.call(&[]).unwrap_err().code, ErrorCode::TimeLimit, "{call}");
    }
}
