//! Values both ways.

mod common;

use common::{Cx, body, bytes, eval, eval_error, load, load_limited};
use kemi_core::{Arg, ArgumentPolicy, ErrorCode, Limits, Outcome, Source, Value};

/// Passes a value to a callback which passes it to an export and returns what that gives.
fn round_trip(value: &Value) -> Value {
    let mut host = load("fn on_reply(v, _r) { KSR.t.echo(v) }").unwrap();
    let outcome = host.instance.call(host.reply, &mut host.cx, &[Arg::from(value), Arg::Nil]).unwrap();
    assert_eq!(format!("{:?}", host.cx.values), format!("{:?}", [value]), "as the export saw it");
    match outcome {
        Outcome::Value(value) => value,
        other => panic!("{other:?}"),
    }
}

#[test]
fn scalars_and_strings_come_back_unchanged() {
    let floats = [0.0, 1.5, f64::MAX, f64::MIN_POSITIVE, f64::INFINITY, f64::NEG_INFINITY].map(Value::Float);
    let ints = [0, -1, i64::MIN, i64::MAX, (1 << 53) + 1].map(Value::Int);
    let every_byte: Vec<u8> = (0..=255).collect();
    let large = [b"x".repeat(500_000), vec![0xFF; 500_000]].concat();
    let strings: [&[u8]; 7] =
        [b"", b"\0", b"a\0b", "grüß \u{1F600}".as_bytes(), "\u{10FF80}\u{10FFFF}".as_bytes(), &every_byte, &large];
    let others = [Value::Nil, Value::Bool(true), Value::Bool(false)];
    for value in floats.into_iter().chain(ints).chain(strings.map(bytes)).chain(others) {
        assert_eq!(round_trip(&value), value);
    }
    let Value::Float(zero) = round_trip(&Value::Float(-0.0)) else { panic!("no float") };
    assert!(zero == 0.0 && zero.is_sign_negative());
    let Value::Float(nan) = round_trip(&Value::Float(f64::NAN)) else { panic!("no float") };
    assert!(nan.is_nan());
}

#[test]
fn containers_come_back_unchanged() {
    let map = Value::Map([("a".into(), Value::Int(1)), (b"\xff".as_slice().into(), Value::Nil)].into());
    let list = Value::Array(vec![Value::Int(1), bytes(b"\xfe"), map.clone(), Value::Array(vec![])]);
    for value in [map, list, Value::Map([].into())] {
        assert_eq!(round_trip(&value), value);
    }
}

#[test]
fn literals_become_values() {
    assert_eq!(eval("9223372036854775807"), Value::Int(i64::MAX));
    assert_eq!(eval("()"), Value::Nil);
    assert_eq!(eval("'ß'"), Value::from("ß"));
    assert_eq!(eval("KSR.t.echo('c')"), Value::from("c"));
    assert_eq!(eval("[1, 'c', #{a: 2.5}]").to_string(), r#"[1, "c", {"a": 2.5}]"#);
    assert_eq!(eval("KSR.t.pair()").to_string(), r#"[7, "seven"]"#);
    assert_eq!(eval("KSR.t.maybe(1)"), Value::Nil);
}

#[test]
fn bytes_of_a_string_reach_the_host_on_both_paths() {
    let mut host = body("KSR.t.keep(\"\\U0010FFFFa\"); KSR.t.length(KSR.t.kept())");
    assert_eq!(host.value(), Value::Int(2));
    assert_eq!(host.cx.bytes, b"\xffa");
}

fn blob(bytes: &[u8]) -> Value {
    Value::Bytes(bytes.into())
}

#[test]
fn a_blob_is_bytes_both_ways() {
    let every_byte: Vec<u8> = (0..=255).collect();
    for bytes in [&[][..], &[0, 255], &every_byte] {
        assert_eq!(round_trip(&blob(bytes)), blob(bytes));
        let nested = Value::Array(vec![blob(bytes), Value::Map([("b".into(), blob(bytes))].into())]);
        assert_eq!(round_trip(&nested), nested);
    }
    assert_eq!(eval("blob(3, 255)"), blob(&[255; 3]));
    assert_eq!(eval("KSR.t.echo(blob(2, 0))"), blob(&[0; 2]));
    assert_eq!(eval("let b = blob(2, 1); b[1] = 2; KSR.t.reversed(b)"), blob(&[2, 1]));
    assert_eq!(eval("KSR.t.reversed(\"ab\")"), blob(b"ba"));
    assert_eq!(eval("type_of(KSR.t.reversed(blob(2, 1)))"), Value::from("blob"));
    assert_eq!(
        eval("let b = blob(1, 7); let f = || b; f.call(); [KSR.t.echo(b), b]"),
        Value::Array(vec![blob(&[7]); 2])
    );
}

#[test]
fn a_blob_is_a_text_where_a_text_is_wanted() {
    assert_eq!(eval("KSR.t.length(blob(3, 255))"), Value::Int(3));
    assert_eq!(eval("KSR.t.si(blob(2, 65), 1)"), Value::from("AA1"));
    assert_eq!(eval_error("KSR.t.si(blob(2, 255), 1)").code, ErrorCode::BadArgument);
    assert_eq!(eval_error("KSR.t.add(blob(2, 255), 1)").code, ErrorCode::BadArgument);
}

#[test]
fn other_types_cannot_cross() {
    for (expression, message) in [
        ("timestamp()", "the result is a timestamp, which has no counterpart outside the script"),
        ("0..3", "the result is a range, which has no counterpart outside the script"),
        ("[1, [0..=3]]", "the result holds a range, which has no counterpart outside the script"),
        ("KSR.t.echo([timestamp()])", "the argument holds a timestamp, which has no counterpart outside the script"),
    ] {
        let error = eval_error(expression);
        assert_eq!((error.code, error.message.as_str()), (ErrorCode::ValueNotConvertible, message), "{expression}");
        assert_eq!(error.place.as_ref().map(|p| p.line), Some(1), "{error}");
    }
    let error = eval_error("KSR.t.echo(0..3)");
    assert_eq!(error.code, ErrorCode::BadArgument);
    assert!(error.message.contains("got range"), "{error}");
}

#[test]
fn values_nested_too_deep_are_errors() {
    let error = eval_error("let a = []; for i in 0..100 { a = [a]; } KSR.t.echo(a)");
    assert_eq!(error.code, ErrorCode::ValueNotConvertible, "{error}");
    // Putting a value into itself puts in a copy, even where it is captured: nothing in Rhai is endless.
    assert_eq!(eval("let a = [1]; let f = || a.push(a); f.call(); a").to_string(), "[1, [1]]");
    assert_eq!(eval("let a = []; for i in 0..60 { a = [a]; } KSR.t.echo(a); 1"), Value::Int(1));
}

#[test]
fn values_of_too_many_elements_or_bytes_are_errors_as_arguments_and_as_results() {
    let large = "let a = []; a.pad(1000001, 1);";
    let text = "let s = \"x\"; for i in 0..22 { s += s; } let a = []; for i in 0..20 { a.push(s); }";
    let unlimited = Limits::NONE;
    let blobs = "let s = blob(4000000); let a = []; for i in 0..20 { a.push(s); }";
    for (values, what) in [(large, "1000000 elements"), (text, "67108864 bytes"), (blobs, "67108864 bytes")] {
        for end in ["KSR.t.echo(a)", "a", "KSR.t.echo(#{ a: a })", "let b = a; KSR.t.sum(a, b)"] {
            let source = Source::text("test.rhai", format!("fn run() {{ {values} {end} }}"));
            let error = load_limited(ArgumentPolicy::Strict, unlimited, &[source]).unwrap().error();
            assert_eq!(error.code, ErrorCode::ValueNotConvertible, "{end}: {error}");
            assert!(error.message.contains(what), "{end}: {error}");
        }
    }
    // All arguments of a call share one budget.
    let shared = "let a = []; a.pad(400000, 1); KSR.t.sum(a, a, a)";
    assert_eq!(eval_error(shared).code, ErrorCode::ValueNotConvertible);
    assert_eq!(eval("let a = []; a.pad(400000, 1); KSR.t.echo(a).len()"), Value::Int(400_000));
}

#[test]
fn captured_variables_are_passed_by_value() {
    assert_eq!(eval("let s = \"ab\"; let f = || KSR.t.length(s); s += \"c\"; f.call()"), Value::Int(3));
    let mut host = body("let a = [1]; let f = || a.push(2); f.call(); KSR.t.echo(a)");
    assert_eq!(host.value().to_string(), "[1, 2]");
    let _: &Cx = &host.cx;
}
