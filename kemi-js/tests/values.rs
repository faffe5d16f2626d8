//! Conversion of values, both ways.

mod common;

use common::{body, error, load, text, try_load};
use kemi_core::{Arg, ArgumentPolicy, ByteString, ErrorCode, Map, Outcome, Source, Value};

/// Passes a value in as an argument of the callback, through a native function and out as the result.
fn through(value: &Value) -> Value {
    load("function f(v) { return KSR.t.echo(v); }").value(&[value.into()])
}

#[test]
fn what_has_a_counterpart_survives() {
    let map: Map = [("a", Value::Int(1)), ("__proto__", Value::Nil), ("7", text("x")), ("", Value::Array(vec![]))]
        .into_iter()
        .map(|(key, value)| (ByteString::from(key), value))
        .collect();
    let rows = [
        Value::Nil,
        Value::Bool(true),
        Value::Int(0),
        Value::Int(-1),
        Value::Int(i64::from(i32::MAX) + 1),
        Value::Int(1 << 53),
        Value::Int((1 << 53) + 1),
        Value::Int(i64::MAX),
        Value::Int(i64::MIN),
        Value::Float(0.5),
        Value::Float(f64::INFINITY),
        Value::Float(1e300),
        text(""),
        text("a\0b"),
        text("Grüße 😀"),
        Value::Str(ByteString::from(&[0xFF, 0x00, 0xC3, 0x28, 0xED, 0xA0, 0x80][..])),
        Value::Array(vec![Value::Int(1), Value::Nil, Value::Array(vec![text("x")])]),
        Value::Map(map),
    ];
    for value in rows {
        assert_eq!(through(&value), value);
    }
}

#[test]
fn floats_keep_their_oddities_and_integral_ones_become_integers() {
    assert!(matches!(through(&Value::Float(f64::NAN)), Value::Float(x) if x.is_nan()));
    assert!(matches!(through(&Value::Float(-0.0)), Value::Float(x) if x == 0.0 && x.is_sign_negative()));
    assert_eq!(through(&Value::Float(2.0)), Value::Int(2));
    assert_eq!(body("return 2 ** 53"), Value::Int(1 << 53));
    assert_eq!(body("return 2 ** 60"), Value::Float((1u64 << 60) as f64));
    assert_eq!(body("return 9007199254740993n"), Value::Int((1 << 53) + 1));
    assert_eq!(body("return -(2n ** 63n)"), Value::Int(i64::MIN));
}

#[test]
fn a_megabyte_of_any_bytes_survives() {
    let bytes: Vec<u8> = (0..1_000_000u32).map(|i| (i * 7 % 256) as u8).collect();
    let mut loaded = load("function f(s) { return KSR.t.keep(s); }");
    assert_eq!(loaded.value(&[Arg::Str(&bytes)]), Value::Str(bytes.as_slice().into()));
    assert_eq!(loaded.host.kept, bytes);
    assert_eq!(loaded.instance.calls(), (1, 0));
}

#[test]
fn strings_are_what_scripts_expect() {
    assert_eq!(body("return KSR.t.size('Grüße')"), Value::Int(7));
    assert_eq!(body("return KSR.t.size('\\uDCFF')"), Value::Int(1));
    assert_eq!(body("return KSR.t.keep('a' + 'b' + 'ü'.slice(0, 1)).length"), Value::Int(3));
    assert_eq!(body("return KSR.t.keep('x'.repeat(3) + 'yz') === 'xxxyz'"), Value::Bool(true));
    assert_eq!(body("return 'lone \\uD800'"), Value::Str(ByteString::from(&b"lone \xED\xA0\x80"[..])));
}

#[test]
fn several_results_are_an_array() {
    assert_eq!(body("const [a, b] = KSR.t.both(4, 'x'); return b + a"), text("x4"));
    assert_eq!(body("return KSR.t.both(4, 'x').length"), Value::Int(2));
}

#[test]
fn nothing_is_null_and_undefined_is_nothing() {
    assert_eq!(body("return KSR.t.note('x') === null"), Value::Bool(true));
    assert_eq!(body("return KSR.t.maybe(2) === null"), Value::Bool(true));
    assert_eq!(body("return KSR.t.maybe(2, undefined)"), Value::Nil);
    assert_eq!(body("return KSR.t.maybe(2, 3)"), Value::Int(6));
    assert_eq!(body("return undefined"), Value::Nil);
}

#[test]
fn objects_give_their_own_enumerable_string_keys() {
    let code = "class P { constructor() { this.a = 1; } get b() { return 2; } }
        const o = new P(); Object.defineProperty(o, 'c', { value: 3 }); o[Symbol('d')] = 4;
        Object.defineProperty(o, 'e', { enumerable: true, get() { return 5; } }); return o";
    let expected = Map::from([(ByteString::from("a"), Value::Int(1)), (ByteString::from("e"), Value::Int(5))]);
    assert_eq!(body(code), Value::Map(expected));
}

#[test]
fn what_has_no_counterpart_is_an_error() {
    for (value, what) in [
        ("Symbol('x')", "is a symbol"),
        ("new Date(0)", "is a Date"),
        ("new Proxy({}, {})", "is a Proxy"),
        ("2n ** 64n", "is a bigint beyond 64 bits"),
        ("new Map()", "is a Map"),
        ("new (class extends Map {})", "is a Map"),
        ("[Promise.resolve(1)]", "holds a Promise"),
        ("{ a: [new RangeError('x')] }", "holds an Error"),
        ("new Uint16Array(1)", "is a Uint16Array"),
        ("(function* () {})()", "is a Generator"),
        ("class {}", "is a class"),
        ("new WeakSet()", "is a WeakSet"),
    ] {
        let failed = error(&format!("// a line\nfunction f() {{\n return {value}; }}"));
        assert_eq!(failed.code, ErrorCode::ValueNotConvertible, "{value}: {failed}");
        let expected = format!("the result {what}, which has no counterpart outside the script");
        assert_eq!(failed.message, expected, "{value}");
        assert_eq!(failed.place.as_ref().map(|place| place.line), Some(2), "{value}: {failed}");
    }
    let failed = error("function f() {\n KSR.t.echo(new Map()); }");
    assert_eq!(failed.code, ErrorCode::BadArgument);
    assert_eq!(failed.argument.as_ref().map(|a| a.got.as_str()), Some("Map"));
    assert_eq!(failed.place.as_ref().map(|p| p.line), Some(2));
    let failed = error("function f() {\n KSR.t.count(1, [new Set()]); }");
    assert_eq!(failed.message, "argument 2 holds a Set, which has no counterpart outside the script");
    assert_eq!(failed.place.as_ref().map(|p| p.line), Some(2));
}

#[test]
fn bytes_are_a_uint8array() {
    let all: Vec<u8> = (0..=255).collect();
    for bytes in [&[][..], &[0xFF, 0, 0x80], &all] {
        let value = Value::Bytes(bytes.into());
        assert_eq!(through(&value), value);
        assert_eq!(load("function f(v) { return [{ v: KSR.t.echo([v])[0] }]; }").value(&[(&value).into()]), {
            Value::Array(vec![Value::Map(Map::from([("v".into(), value)]))])
        });
    }
    let bytes = Value::Bytes([1, 2, 254].as_slice().into());
    let code = "function f(b) { return [b instanceof Uint8Array, b.length, b[2], b.subarray(1), KSR.t.blob(b)]; }";
    let parts = vec![true.into(), 3.into(), 254.into(), Value::Bytes([2, 254].as_slice().into()), bytes.clone()];
    assert_eq!(load(code).value(&[(&bytes).into()]), Value::Array(parts));
    // A copy: neither side sees what the other changes.
    assert_eq!(body("const b = Uint8Array.of(1); const c = KSR.t.blob(b); c[0] = 2; return b[0]"), Value::Int(1));
}

#[test]
fn what_holds_bytes_crosses_as_bytes() {
    let bytes = Value::Bytes([1, 2].as_slice().into());
    for code in [
        "Uint8Array.of(0, 1, 2, 3).subarray(1, 3)",
        "Uint8Array.of(1, 2).buffer",
        "new DataView(Uint8Array.of(0, 1, 2, 3).buffer, 1, 2)",
        "(() => { const b = new SharedArrayBuffer(2); new Uint8Array(b).set([1, 2]); return b; })()",
        "(() => { const b = new SharedArrayBuffer(3); new Uint8Array(b).set([0, 1, 2]); return new DataView(b, 1); })()",
        "new (class Mine extends Uint8Array {})([1, 2])",
    ] {
        assert_eq!(body(&format!("return KSR.t.echo({code})")), bytes, "{code}");
    }
    for view in ["new Uint8Array(b, 4, 4)", "new Uint8Array(b, 4)", "new DataView(b, 4, 4)", "new DataView(b, 4)"] {
        let make = format!("const b = new ArrayBuffer(8, {{ maxByteLength: 16 }}); const v = {view}; v.b = b;");
        assert_eq!(body(&format!("{make} b.resize(9); return KSR.t.size(v) >= 4")), Value::Bool(true), "{view}");
        let failed = error(&format!("function f() {{ {make} b.resize(2); return v; }}"));
        assert_eq!(failed.code, ErrorCode::ValueNotConvertible, "{view}: {failed}");
        assert!(failed.message.contains("too short"), "{view}: {failed}");
    }
}

#[test]
fn text_and_bytes_fit_where_bytes_are_wanted() {
    assert_eq!(body("return KSR.t.size(Uint8Array.of(1, 255))"), Value::Int(2));
    assert_eq!(body("return KSR.t.keep(Uint8Array.of(104, 105))"), text("hi"));
    assert_eq!(body("return KSR.t.blob('hi')"), Value::Bytes("hi".into()));
    let failed = error("function f() { KSR.t.note(Uint8Array.of(1)); }");
    assert_eq!(failed.code, ErrorCode::BadArgument, "{failed}");
    assert!(failed.message.contains("expected string, got bytes"), "{failed}");
}

#[test]
fn the_budget_counts_bytes() {
    let code = "function f(n) { const b = new Uint8Array(1 << 20); return KSR.t.count(Array(n).fill(b), b.buffer); }";
    assert_eq!(load(code).value(&[60.into()]), Value::Int(2));
    let failed = load(code).call(&[64.into()]).unwrap_err();
    assert_eq!(failed.code, ErrorCode::ValueNotConvertible, "{failed}");
    assert!(failed.message.contains("bytes"), "{failed}");
}

#[test]
fn a_bigint_beyond_64_bits_is_a_bad_argument() {
    for big in ["2n ** 63n", "-(2n ** 63n) - 1n", "2n ** 200n", "-(2n ** 200n)"] {
        let error = error(&format!("function f() {{ return KSR.t.add(1, {big}); }}"));
        assert_eq!(error.code, ErrorCode::BadArgument, "{error}");
    }
}

#[test]
fn circles_depth_and_size_end_in_an_error() {
    let rows = [
        ("const a = []; a.push(a); KSR.t.echo(a)", "contains itself"),
        ("const a = {}; a.b = { a }; KSR.t.echo(a)", "contains itself"),
        ("let a = []; for (let i = 0; i < 100; i++) a = [a]; KSR.t.echo(a)", "deeper than 64"),
        ("let a = []; for (let i = 0; i < 60; i++) a = [a, a]; KSR.t.echo(a)", "more than a million".trim_end()),
        ("KSR.t.echo(new Array(4294967295))", "more than"),
    ];
    for (code, message) in rows {
        let error = error(&format!("function f() {{ {code} }}"));
        assert_eq!(error.code, ErrorCode::ValueNotConvertible, "{error}");
        assert!(error.message.contains(message.split(" a million").next().unwrap_or(message)), "{error}");
        assert_eq!(error.export.as_deref(), Some("KSR.t.echo"));
    }
    let deep = "function f() { let a = 1; for (let i = 0; i < 64; i++) a = [a]; return KSR.t.echo(a); }";
    assert!(matches!(load(deep).call(&[]), Ok(Outcome::Value(Value::Array(_)))));
}

#[test]
fn exact_types_take_the_typed_path_and_others_the_generic_one() {
    let rows = [
        ("KSR.t.add(1, 2)", (1, 0)),
        ("KSR.t.add(2 ** 40, -2.0)", (1, 0)),
        ("KSR.t.add(1n, 2)", (0, 1)),
        ("KSR.t.half(3)", (1, 0)),
        ("KSR.t.not(false)", (1, 0)),
        ("KSR.t.size('abc')", (1, 0)),
        ("KSR.t.size('äbc')", (1, 0)),
        ("KSR.t.echo([1])", (0, 1)),
        ("KSR.t.count(1, 'a', null, {})", (0, 1)),
        ("KSR.t.old(1)", (0, 1)),
        ("KSR.hello()", (1, 0)),
    ];
    for (code, calls) in rows {
        let mut loaded = load(&format!("function f() {{ {code}; }}"));
        loaded.value(&[]);
        assert_eq!(loaded.instance.calls(), calls, "{code}");
    }
    assert_eq!(body("return KSR.t.add(1n, 2)"), Value::Int(3));
    assert_eq!(body("return KSR.t.half(3)"), Value::Float(1.5));
}

#[test]
fn strict_refuses_what_compat_coerces() {
    let rows = [
        ("KSR.t.add('200', true)", Value::Int(201)),
        ("KSR.t.add(2.9, null)", Value::Int(2)),
        ("KSR.t.size(200)", Value::Int(3)),
        ("KSR.t.size(undefined)", Value::Int(0)),
        ("KSR.t.add(1, 2, 3)", Value::Int(3)),
    ];
    for (code, expected) in rows {
        let code = format!("function f() {{ return {code}; }}");
        let strict = error(&code);
        assert!(matches!(strict.code, ErrorCode::BadArgument | ErrorCode::ArgumentCount), "{strict}");
        let mut compat = try_load(&[Source::text("t.js", code)], ArgumentPolicy::Compat).expect("loads");
        assert_eq!(compat.value(&[]), expected);
    }
    let code = "function f() { return [KSR.t.add('two', 2), KSR.t.add(1)]; }";
    let mut compat = try_load(&[Source::text("t.js", code)], ArgumentPolicy::Compat).expect("loads");
    assert_eq!(compat.value(&[]), Value::Array(vec![Value::Bool(false), Value::Bool(false)]));
}

#[test]
fn a_number_out_of_range_names_the_argument() {
    let error = error("function f() {\n\n  return KSR.t.port(65536);\n}");
    assert_eq!(error.code, ErrorCode::BadArgument);
    assert_eq!(error.to_string().matches("t.js:3").count(), 1, "{error}");
    assert!(error.message.contains("int(0..65535)"), "{error}");
}
