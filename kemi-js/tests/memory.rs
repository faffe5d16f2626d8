//! The limit on memory, in a program whose allocator counts. One test: the peak is the process's.

mod common;

use common::{Loaded, load_limited};
use kemi_core::{ArgumentPolicy, CountingAllocator, ErrorCode, Limits, Outcome, ScriptError, Source, Value};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator::system();

const MIB: u64 = 1 << 20;

const LIMIT: u64 = 32 * MIB;

const LIMITS: Limits = Limits { max_memory: LIMIT, max_time_ms: 60_000, ..Limits::NONE };

/// Ways to ask for any amount of memory: bit by bit, by doubling, in one step.
const GREEDY: &[(&str, &str)] = &[
    ("push", "let a = []; for (;;) a.push({ n: a.length });"),
    (
        "push, caught",
        "let a = []; for (;;) try { for (;;) a.push({ n: a.length }); } catch (e) {} finally { a.push(1); }",
    ),
    ("doubled", "let s = 'x'; for (;;) s += s;"),
    ("doubled, wide", "let s = '\\u{4e00}'; for (;;) s = `${s}${s}`;"),
    ("doubled in forEach", "let s = 'x'; Array(99).fill(0).forEach(() => { s += s; });"),
    ("doubled array", "let a = [1]; for (;;) a = a.concat(a);"),
    ("spread", "let a = [1]; for (;;) a = [...a, ...a];"),
    (
        "recursion",
        "function r(a) { return a.length > 1e7 ? a : r([...a, ...a]); } for (const keep = [];;) keep.push(r([1]));",
    ),
    ("generator", "function* g() { for (;;) yield 'x'.repeat(1e5) + Math.random(); } [...g()];"),
    ("Map", "const m = new Map(); for (let i = 0;; i++) m.set(i, [i]);"),
    ("buffers", "const a = []; for (;;) a.push(new Uint8Array(1 << 20));"),
    (
        "jobs",
        "const p = []; const go = () => { p.push(big(5e5) + p.length); return Promise.resolve().then(go); }; go(); return 1;",
    ),
    ("repeat", "'x'.repeat(1e9);"),
    (
        "repeat, caught",
        "try { 'x'.repeat(1e9); } catch (e) { KSR.t.note('catch'); } finally { KSR.t.note('finally'); }",
    ),
    ("repeat of a number", "String.prototype.repeat.call(12, { valueOf: () => 1e9 });"),
    ("padStart", "'x'.padStart(2 ** 31);"),
    ("padEnd", "'x'.padEnd(2 ** 31, 'ab');"),
    ("concat", "const s = 'x'.repeat(1e5); s.concat(...Array(10000).fill(s));"),
    ("join", "const s = 'x'.repeat(1e5); Array(10000).fill(s).join();"),
    ("join of holes", "Array(2 ** 32 - 1).join('x');"),
    ("join of what looks like an array", "Array.prototype.join.call({ length: 2 ** 53 - 1 });"),
    ("join of bytes", "const s = 'x'.repeat(1e4); new Uint8Array(1e5).join(s);"),
    ("toString", "String(Array(2 ** 32 - 1));"),
    ("replaceAll", "'x'.repeat(1e5).replaceAll('x', 'y'.repeat(1e5));"),
    ("replaceAll, all around", "'x'.repeat(1e5).replaceAll('x', \"$'\");"),
    ("replace", "'x'.repeat(1e4).replace(/x/g, 'y'.repeat(1e5));"),
    ("replace by a function", "const s = 'y'.repeat(1e5); 'x'.repeat(1e4).replace(/x/g, () => s + 1);"),
    ("split", "big(4e6).split('');"),
    ("fill", "Array(2 ** 32 - 1).fill(0);"),
    ("Array.from", "Array.from({ length: 1e9 });"),
    ("Array.from a string", "Array.from(big(4e6));"),
    ("slice", "Array.prototype.slice.call({ length: 2 ** 32 - 1 });"),
    ("indexOf", "Array(2 ** 32 - 1).indexOf(1);"),
    ("keys", "Object.keys(big(4e6));"),
];

/// A function of the scripts that makes a string of so many units or somewhat more, with little on the way.
const BIG: &str = "function big(n) { let s = 'x'; while (s.length < n) s += s; return s; }";

fn limited(limits: Limits, code: &str) -> Result<Loaded, ScriptError> {
    load_limited(&[Source::text("big.js", BIG), Source::text("t.js", code)], ArgumentPolicy::Strict, limits)
}

/// The most that the process has ever held in memory, in bytes.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux has it");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("it has the line");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
}

#[cfg(target_os = "linux")]
#[test]
fn nothing_takes_more_than_a_few_times_the_limit() {
    for (name, code) in GREEDY {
        let before = peak();
        let calm = "let calm = false; function f() { if (calm) return 42; calm = true;\n";
        let mut loaded = limited(LIMITS, &format!("{calm}{code}\nKSR.t.note('after'); }}")).unwrap();
        let error = match loaded.call(&[]) {
            Err(error) => error,
            Ok(outcome) => panic!("{name}: no error but {outcome:?}"),
        };
        assert_eq!(error.code, ErrorCode::MemoryLimit, "{name}: {error}");
        assert!(loaded.host.notes.is_empty(), "{name}: {:?}", loaded.host.notes);
        assert_eq!(loaded.value(&[]), Value::Int(42), "{name}: works on");
        let grown = peak().saturating_sub(before);
        assert!(grown < 4 * LIMIT, "{name}: the peak grew by {} MiB", grown / MIB);
    }
    endless_but_small();
    modest();
    top_level();
    kept();
    counted_without_a_clock();
}

/// What takes no end of time before it takes memory, where no loop of the script is.
fn endless_but_small() {
    let code = "function f() { let a = []; for (let i = 0; i < 60; i++) a = [a, a]; JSON.stringify(a); }";
    let error = limited(Limits { max_time_ms: 300, ..LIMITS }, code).unwrap().call(&[]).unwrap_err();
    assert!(matches!(error.code, ErrorCode::TimeLimit | ErrorCode::MemoryLimit), "{error}");
}

/// What is garbage soon, and what looks large but is not, is allowed.
fn modest() {
    for code in [
        "const b = big(5e5); for (let i = 0; i < 500; i++) { const o = { s: b + i }; o.o = o; KSR.t.count(); } return 1;",
        "const b = big(5e5); for (let i = 0; i < 500; i++) b + i; return 1;",
        "return big(2e6).split('-').length;",
        "const s = big(2e6); return s.replaceAll('-', 'y'.repeat(100)).length === s.length ? 1 : 0;",
        "const s = big(2e6) + '\u{4e00}-'; return s.replaceAll('-', 'y'.repeat(100)).length - s.length === 99 ? 1 : 0;",
        "const s = big(2e6); return s.split('\u{4e00}').length;",
        "const s = big(2e6); return s.replace(/x/, '$1$&') === '$1' + s ? 1 : 0;",
        "const a = Array(1e5).fill(1); return a.fill(1).indexOf(1) + a.slice(1, 2).length;",
        "return 'x'.padStart(2 ** 31, '').length;",
        "return JSON.stringify({ a: [1], b: undefined }) === '{\"a\":[1]}' && JSON.stringify([1, 2], null, 1).length > 6 ? 1 : 0;",
        "return JSON.stringify({ a: 1, b: 2 }, ['a']) === '{\"a\":1}' && JSON.stringify(undefined) === undefined ? 1 : 0;",
        "const { name, length } = ''.repeat; const keys = []; for (const key in '') keys.push(key);
         return name === 'repeat' && length === 1 && keys.length === 0 ? 1 : 0;",
        "try { ''.repeat.call(null, 1); } catch (e) { return e instanceof TypeError ? 1 : 0; }",
        "try { 'x'.repeat(-1); } catch (e) { return e instanceof RangeError ? 1 : 0; }",
        "try { 'x'.repeat(Infinity); } catch (e) { return e instanceof RangeError ? 1 : 0; }",
    ] {
        let mut loaded = limited(LIMITS, &format!("function f() {{ {code} }}")).unwrap();
        match loaded.call(&[]) {
            Ok(outcome) => assert_eq!(outcome, Outcome::Value(Value::Int(1)), "{code}"),
            Err(error) => panic!("{code}: {error}"),
        }
    }
}

fn top_level() {
    for code in ["let a = [];\nfor (;;) a.push({});", "let a = [];\n'x'.repeat(1e9);"] {
        let error = limited(LIMITS, code).err().expect("it does not load");
        assert_eq!(error.code, ErrorCode::MemoryLimit, "{error}");
        assert_eq!(error.place.as_ref().map(|place| place.file.as_str()), Some("t.js"));
    }
}

/// What a script keeps from call to call counts, and what it lets go of does not.
fn kept() {
    let code = "let all = []; function f(n) { if (n) all.push(big(n)); else all = []; return all.length; }";
    let mut loaded = limited(LIMITS, code).unwrap();
    let mut keep = |bytes: i64| loaded.call(&[bytes.into()]);
    let calls = (0..20).take_while(|_| keep(4 << 20).is_ok()).count();
    assert!((4..=8).contains(&calls), "{calls}");
    assert_eq!(keep(4 << 20).unwrap_err().code, ErrorCode::MemoryLimit);
    assert!(keep(1000).is_ok(), "small calls go on");
    assert!(keep(0).is_ok());
    assert!(keep(4 << 20).is_ok());
}

fn counted_without_a_clock() {
    for limits in [Limits { max_time_ms: 0, ..LIMITS }, Limits { max_instructions: 1_000_000_000, ..LIMITS }] {
        let mut loaded =
            limited(limits, "function f(n) { let s = 'x'; for (let i = 0; i < n; i++) s += s; return 1; }").unwrap();
        assert_eq!(loaded.call(&[40.into()]).unwrap_err().code, ErrorCode::MemoryLimit);
        assert_eq!(loaded.value(&[4.into()]), Value::Int(1));
    }
}
