//! Built-ins that take long for little: each ends with its call, or is refused before it begins, and else gives what
//! Boa's own gives.

mod common;

use std::time::{Duration, Instant};

use common::{body, load, load_limited};
use kemi_core::{ArgumentPolicy, ErrorCode, Limits, Source, Value};

const SHORT: Limits = Limits { max_time_ms: 100, max_load_time_ms: 5_000, ..Limits::NONE };

/// What would take minutes to centuries.
const LONG: &[(&str, &str)] = &[
    ("exponential", "/(a+)+b/.test('a'.repeat(50));"),
    ("alternatives", "/^(a|a)*$/.exec('a'.repeat(50) + 'b');"),
    ("polynomial", "/.*.*.*.*.*.*b/.exec('a'.repeat(3000));"),
    ("optional", "new RegExp('(?:a?){40}' + 'a'.repeat(40) + 'b').test('a'.repeat(40));"),
    ("look ahead", "/(?=(a+)+b)c/.test('a'.repeat(50));"),
    ("look behind", "/(?<=b(a+)+)c/.test('a'.repeat(50) + 'c');"),
    ("reference", "/(.*)(.*)(.*)\\1\\2\\3x/.test('ab'.repeat(500));"),
    ("match", "'a'.repeat(50).match(/(a+)+b/);"),
    ("matchAll", "[...'a'.repeat(50).matchAll(/(a+)+b/g)];"),
    ("replace", "'a'.repeat(50).replace(/(a+)+b/g, '');"),
    ("replaceAll", "'a'.repeat(50).replaceAll(/(a+)+b/g, x => x);"),
    ("search", "'a'.repeat(50).search(/(a+)+b/);"),
    ("split", "'a'.repeat(50).split(/(a+)+b/);"),
    ("sticky", "const r = /(a+)+b/y; r.lastIndex = 1; r.test('a'.repeat(50));"),
    ("unicode", "/(\\p{L}+)+b/u.test('é'.repeat(50));"),
    ("ignoring case", "/(A+)+b/i.test('a'.repeat(50));"),
    ("constructor", "new RegExp('(a+)+b', 'v').test('a'.repeat(50));"),
    ("compiled", "const r = /a/; r.compile('(a+)+b'); r.test('a'.repeat(50));"),
    ("derived", "class R extends RegExp {} new R('(a+)+b').test('a'.repeat(50));"),
    ("caught", "for (;;) try { /(a+)+b/.test('a'.repeat(50)); } catch (e) {} finally { KSR.t.note('finally'); }"),
    ("trim by pattern", "('x' + ' '.repeat(1e5) + 'x').replace(/\\s+$/, '');"),
    ("lines", "'\\n'.repeat(1e5).match(/^\\s*$.*x/m);"),
    ("holes, forEach", "Array(4e9).forEach(x => x);"),
    ("holes, map", "Array(4e9).map(x => x);"),
    ("holes, filter", "Array(4e9).filter(x => x);"),
    ("holes, some", "Array(4e9).some(x => x);"),
    ("holes, every", "Array(4e9).every(x => x);"),
    ("holes, reduce", "Array(4e9).reduce((a, b) => a, 1);"),
    ("holes, reduceRight", "Array(4e9).reduceRight((a, b) => a, 1);"),
    ("holes, flatMap", "Array(4e9).flatMap(x => x);"),
    ("holes, flat", "Array(4e9).flat();"),
    ("holes, find", "Array(4e9).find(x => x);"),
    ("holes, findLast", "Array(4e9).findLast(x => x);"),
    ("holes, includes", "Array(4e9).includes(1);"),
    ("holes, indexOf", "Array(4e9).indexOf(1);"),
    ("holes, lastIndexOf", "Array(4e9).lastIndexOf(1);"),
    ("holes, sort", "const a = []; a[4294967294] = 1; a.sort();"),
    ("holes, toSorted", "const a = []; a[4294967294] = 1; a.toSorted();"),
    ("holes, reverse", "Array(4e9).reverse();"),
    ("holes, shift", "Array(4e9).shift();"),
    ("holes, unshift", "Array(4e9).unshift(1);"),
    ("holes, splice", "Array(4e9).splice(0, 1);"),
    ("holes, fill", "Array(4e9).fill(1);"),
    ("holes, join", "Array(4e9).join();"),
    ("holes, toString", "String(Array(4e9));"),
    ("holes, copyWithin", "Array(4e9).copyWithin(1, 0);"),
    ("holes, concat", "[].concat(Array(4e9));"),
    ("holes, slice", "Array(4e9).slice();"),
    ("holes, with", "Array(4e9).with(0, 1);"),
    ("holes, JSON", "JSON.stringify([Array(4e9)]);"),
    ("holes, JSON names", "JSON.stringify({}, Array(4e9));"),
    ("long, forEach", "Array.prototype.forEach.call({ length: 2 ** 53 - 1 }, x => x);"),
    ("long, sort", "Array.prototype.sort.call({ length: 2 ** 53 - 1 }, (a, b) => 0);"),
    ("long, from", "Array.from({ length: 2 ** 32 - 1 });"),
    ("long, apply", "Math.max.apply(null, { length: 2 ** 40 });"),
    ("long, Reflect.apply", "Reflect.apply(Math.max, null, { length: 2 ** 40 });"),
    ("long, Reflect.construct", "Reflect.construct(Array, { length: 2 ** 40 });"),
    ("long, raw", "String.raw({ raw: { length: 2 ** 53 - 1 } });"),
    ("long, lastIndexOf", "Array.prototype.lastIndexOf.call({ length: 2 ** 53 - 1 }, 1);"),
    ("flat of a circle, caught", "const a = []; a.push(a, a); for (;;) try { a.flat(Infinity); } catch (e) {}"),
    ("flat of the same", "let a = [1]; for (let i = 0; i < 60; i++) a = [a, a]; a.flat(Infinity);"),
    ("JSON of the same", "let a = [1]; for (let i = 0; i < 60; i++) a = [a, a]; JSON.stringify(a, ['x']);"),
    ("sort", "const a = Array.from({ length: 2e5 }, (x, i) => 'x' + (i * 7919) % 200003); for (;;) a.toSorted();"),
    ("waitAsync", "Atomics.waitAsync(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 3600000); return 1;"),
    (
        "waitAsync, awaited",
        "return (async () => { await Atomics.waitAsync(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1e9).value; })();",
    ),
    ("jobs", "const g = () => Promise.resolve().then(g); g(); return 1;"),
    (
        "async generator",
        "(async () => { for await (const x of (async function* () { for (;;) yield 1; })()) {} })(); return 1;",
    ),
    ("BigInt text", "(1n << 40000000n).toString();"),
    ("iterator", "Iterator.from({ next() { return { value: 1, done: false }; } }).drop(1e15).next();"),
    ("iterator of built-ins", "Iterator.from({ next: () => ({}) }).toArray();"),
];

#[test]
fn nothing_takes_long_for_little() {
    for (name, code) in LONG {
        let source = format!(
            "let calm = false; function f() {{ if (calm) return 42; calm = true; {code} KSR.t.note('after'); }}"
        );
        let mut loaded = load_limited(&[Source::text("t.js", source)], ArgumentPolicy::Strict, SHORT)
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let start = Instant::now();
        let outcome = loaded.call(&[]);
        let took = start.elapsed();
        assert!(took < Duration::from_secs(20), "{name}: {took:?}");
        match outcome {
            Err(error) if name.contains("circle") || name.contains("JSON") => {
                assert!(matches!(error.code, ErrorCode::TimeLimit | ErrorCode::Runtime), "{name}: {error}");
            }
            Err(error) if name.contains("holes") || name.contains("long") => {
                assert!(matches!(error.code, ErrorCode::TimeLimit | ErrorCode::Runtime), "{name}: {error}");
            }
            Err(error) => assert_eq!(error.code, ErrorCode::TimeLimit, "{name}: {error}"),
            Ok(outcome) => panic!("{name}: no error but {outcome:?}"),
        }
        assert!(loaded.host.notes.is_empty(), "{name}: {:?}", loaded.host.notes);
        assert_eq!(loaded.value(&[]), Value::Int(42), "{name}: works on");
    }
}

#[test]
fn what_waits_for_nobody_is_given_up() {
    let code = "function f() { Atomics.waitAsync(new Int32Array(new SharedArrayBuffer(4)), 0, 0); return 7; }
        function g() { return Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0); }";
    assert_eq!(load(code).value(&[]), Value::Int(7));
    let waits = "Atomics.waitAsync(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20).value";
    assert_eq!(body(&format!("return {waits};")), common::text("timed-out"));
    assert_eq!(
        body(
            "const a = new Int32Array(new SharedArrayBuffer(4)); const p = Atomics.waitAsync(a, 0, 0).value; Atomics.notify(a, 0); return p;"
        ),
        common::text("ok")
    );
    assert_eq!(
        body("try { Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0); } catch (e) { return e.name; }"),
        common::text("TypeError")
    );
}

/// Loads a script that a slow machine cannot bring over a limit.
fn unlimited(code: &str) -> common::Loaded {
    load_limited(&[Source::text("t.js", code)], ArgumentPolicy::Strict, Limits::NONE)
        .unwrap_or_else(|error| panic!("{error}"))
}

/// Compares what a script's built-ins give with what they should, each line an expression that is true.
#[test]
fn what_is_done_in_another_way_gives_the_same() {
    let long = "const long = 'abc-'.repeat(2000), at = long.indexOf('c-');";
    for expression in [
        "[1, [2, [3, [4]]]].flat().length === 3",
        "[1, [2, [3, [4]]]].flat(Infinity).join() === '1,2,3,4'",
        "[1, [2, [3]]].flat(0).length === 2 && [[1]].flat(-1)[0].length === 1 && [[1]].flat('1')[0] === 1",
        "[, 1, [, 2]].flat().length === 2",
        "(class A extends Array {}).from([[1]]).flat().constructor.name === 'A'",
        "Array.prototype.flat.call({ length: 2, 0: [1], 1: 2 }).join() === '1,2'",
        "[new Proxy([1, 2], {})].flat().length === 2",
        "Array.prototype.flat.length === 0 && Array.prototype.flat.name === 'flat'",
        "long.split('-').length === 2001 && long.split('-')[1] === 'abc' && long.split('-', 3).length === 3",
        "long.split('zz').length === 1 && long.split('-', 0).length === 0 && long.split(undefined)[0] === long",
        "long.split('c-abc').length === 1001 || long.split('c-abc').length === 2000",
        "long.replaceAll('-', '+') === 'abc+'.repeat(2000) && long.replace('-', '+') === 'abc+' + 'abc-'.repeat(1999)",
        "long.replaceAll('-', '$$[$&]$1') === 'abc$[-]$1'.repeat(2000)",
        "long.replace('b', \"<$`|$'>\").startsWith('a<a|c-abc')",
        "long.replaceAll('-', (m, i, s) => m + i % 10 + (s === long)).startsWith('abc-3trueabc-7true')",
        "long.replace('zz', 'y') === long && long.replaceAll('zz', 'y') === long",
        "long.includes('c-a') && !long.includes('c-b') && !long.includes('abc', 7999) && long.includes('')",
        "at === 2 && long.indexOf('abc', 1) === 4 && long.indexOf('zz') === -1 && long.indexOf('', 5) === 5",
        "long.indexOf('abc', -9) === 0 && long.indexOf('abc', Infinity) === -1 && long.indexOf('abc', NaN) === 0",
        "long.lastIndexOf('abc') === 7996 && long.lastIndexOf('abc', 7995) === 7992 && long.lastIndexOf('abc', 0) === 0",
        "long.lastIndexOf('zz') === -1 && long.lastIndexOf('') === 8000 && long.lastIndexOf('abc', NaN) === 7996 && long.lastIndexOf('b', -5) === -1",
        "'é'.repeat(5000).indexOf('é\u{1F600}') === -1 && ('\u{1F600}'.repeat(5000) + 'x').indexOf('x') === 10000",
        "(() => { try { long.includes(/a/); } catch (e) { return e.name; } })() === 'TypeError'",
        "long.split(/-/).length === 2001 && long.replace(/b/g, '').length === 6000",
        "JSON.stringify(JSON.parse('{\"a\":[1,-0,2.5e3,\"x\\\\u00e9\\\\n\",true,null,{}],\"__proto__\":1,\"1\":2}')) === '{\"1\":2,\"a\":[1,0,2500,\"xé\\\\n\",true,null,{}],\"__proto__\":1}'",
        "Object.is(JSON.parse('-0'), -0) && Object.is(JSON.parse(' 1 '), 1) && JSON.parse('[ ]').length === 0 && JSON.parse('\"\"') === ''",
        "JSON.parse('{\"a\":1,\"a\":2}').a === 2 && Object.keys(JSON.parse('{\"b\":1,\"a\":2}')).join() === 'b,a'",
        "['', '{', '[1,]', '01', '1.', '.5', '+1', '\\'a\\'', '\"\\u0001\"', 'nul', '[1 2]', '{\"a\"}', '{a:1}', '1 1', '\"\\\\x\"', '-', '1e', 'NaN', undefined].every(t => { try { JSON.parse(t); return false; } catch (e) { return e.name === 'SyntaxError'; } })",
        "JSON.parse('[1,2]', (k, v) => Array.isArray(v) ? v : v * 2).join() === '2,4'",
        "JSON.parse('123456789012') === 123456789012 && JSON.parse('1e400'.slice(0, 3)) === 1e4",
        "JSON.stringify({ a: [1, undefined, () => 1, Symbol()], b: undefined, c: NaN, d: 'x\\u0007\\ud800\"\\\\' }) === '{\"a\":[1,null,null,null],\"c\":null,\"d\":\"x\\\\u0007\\\\ud800\\\\\"\\\\\\\\\"}'",
        "JSON.stringify([{ a: 1, b: [] }, {}], null, 2) === '[\\n  {\\n    \"a\": 1,\\n    \"b\": []\\n  },\\n  {}\\n]'",
        "JSON.stringify({ a: 1, b: { a: 2, c: 3 } }, ['b', 'a', 'b']) === '{\"b\":{\"a\":2},\"a\":1}'",
        "JSON.stringify({ a: 1, b: 2 }, (k, v) => k === 'a' ? undefined : v) === '{\"b\":2}'",
        "JSON.stringify(undefined) === undefined && JSON.stringify(() => 1) === undefined && JSON.stringify(null) === 'null'",
        "JSON.stringify([new Number(1), new String('a'), new Boolean(false), new Date(0), Object(1).constructor]) === '[1,\"a\",false,\"1970-01-01T00:00:00.000Z\",null]'",
        "JSON.stringify({ toJSON(k) { return 'k' + k; } }) === '\"k\"' && JSON.stringify({ x: { toJSON(k) { return k; } } }) === '{\"x\":\"x\"}'",
        "JSON.stringify(new Proxy([1, { a: 1 }], {})) === '[1,{\"a\":1}]' && JSON.stringify(new Proxy({ a: 1 }, {})) === '{\"a\":1}'",
        "JSON.stringify([1], null, '--') === '[\\n--1\\n]' && JSON.stringify([1], null, 99) === '[\\n          1\\n]' && JSON.stringify([1], null, 0.5) === '[1]'",
        "(() => { const a = []; a.push(a); try { JSON.stringify(a); } catch (e) { return e.name; } })() === 'TypeError'",
        "(() => { try { JSON.stringify(1n); } catch (e) { return e.name; } })() === 'TypeError'",
        "(() => { const o = {}; return JSON.stringify([o, o]); })() === '[{},{}]'",
        "JSON.stringify.length === 3 && JSON.parse.length === 2 && JSON.stringify.name === 'stringify'",
        "typeof JSON.rawJSON !== 'function' || JSON.stringify([JSON.rawJSON('1e5')]) === '[1e5]'",
        "Array.from({ length: 5000 }, (x, i) => i).sort()[1] === 1 && Array.from({ length: 5000 }, (x, i) => i).toSorted()[11] === 1007",
        "[3, undefined, 1].sort()[0] === 1 && [3, , 1].sort().length === 3 && new Uint8Array([3, 1, 2]).sort().join() === '1,2,3'",
        "/(?<y>\\d+)-(?<m>\\d+)/.exec('on 2024-05').groups.m === '05'",
        "(() => { const r = /a/g; r.test('aa'); return r.lastIndex; })() === 1 && /a/.exec('b') === null",
        "RegExp.prototype.exec.length === 1 && RegExp.prototype.exec.name === 'exec'",
        "(() => { try { RegExp.prototype.exec.call({}, ''); } catch (e) { return e.name; } })() === 'TypeError'",
        "new Proxy({ a: 1 }, {}).a === 1 && new Proxy({}, { get: (t, k) => k }).b === 'b' && Proxy.name === 'Proxy' && Proxy.length === 2",
        "Proxy.prototype === undefined && typeof Proxy.revocable({}, {}).revoke === 'function' && typeof new Proxy(() => 1, {}) === 'function'",
        "(() => { try { Proxy({}, {}); } catch (e) { return e.name; } })() === 'TypeError'",
        "(() => { try { new Proxy(1, {}); } catch (e) { return e.name; } })() === 'TypeError'",
        "Object.getPrototypeOf(Object.setPrototypeOf({}, Array.prototype)) === Array.prototype && Reflect.setPrototypeOf({}, null)",
        "(() => { const o = {}; o.__proto__ = Array.prototype; return o instanceof Array; })()",
        "(() => { const t = {}; const o = { __proto__: new Proxy(t, { get: () => 7 }) }; return o.x; })() === 7",
        "Math.max.apply(null, [1, 3, 2]) === 3 && Reflect.apply(Math.max, null, [1, 3]) === 3 && String.raw`a\\n${1}` === 'a\\\\n1'",
        "Reflect.construct(Array, [3]).length === 3 && (255n).toString(16) === 'ff' && (5n).toLocaleString() === '5'",
    ] {
        let source = format!("{long} function f() {{ return ({expression}) === true; }}");
        let mut loaded = unlimited(&source);
        assert_eq!(loaded.value(&[]), Value::Bool(true), "{expression}");
    }
}

/// The two ways to match, through the whole of what scripts use: the texts are long enough for the one, and cut for the other.
#[test]
fn a_dear_pattern_gives_what_a_cheap_one_gives() {
    let code = "function show(r, s) {
            const again = new RegExp(r.source, r.flags), all = [];
            for (let i = 0; i < 4; i++) { const m = again.exec(s); all.push(m && JSON.stringify([m, m.index, m.groups, m.indices, m.indices && m.indices.groups]), again.lastIndex); }
            return all.join() + s.replace(r, '[$1$&]') + s.search(r) + JSON.stringify(s.split(r).slice(0, 5)) + JSON.stringify(s.match(r));
        }
        function f(source, flags) {
            const short = 'xaab-AAB\\n1😀 aab';
            // What never matches makes it dear.
            const dear = source + '|(?:(?:[^\\\\s\\\\S]+)+)+[^\\\\s\\\\S]';
            return show(new RegExp(source, flags), short) === show(new RegExp(dear, flags), short) ? 1 : source + ' ' + flags + '\\n' + show(new RegExp(source, flags), short) + '\\n' + show(new RegExp(dear, flags), short);
        }";
    let mut loaded = unlimited(code);
    for source in [
        "(a+)b",
        "(?<n>a)(?<m>x)?",
        "\\b(.)",
        "(?<=a)(b)",
        "^(.)",
        "(.)$",
        "(\\d)|(-)",
        "(.)\\1",
        "",
        "(?!a)(.)",
        "()b",
        "\\u{1F600}|(\\n)",
    ] {
        for flags in ["", "g", "i", "gi", "m", "s", "u", "y", "gy", "d", "dgu", "v", "gims"] {
            if source.contains("u{") && !flags.contains(['u', 'v']) {
                continue;
            }
            assert_eq!(loaded.value(&[source.into(), flags.into()]), Value::Int(1), "/{source}/{flags}");
        }
    }
}
