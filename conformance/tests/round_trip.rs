//! Any value goes to a script and comes back as it was, through every way that there is.
//!
//! Where a language cannot keep a value apart from another one, its engine's `docs/values.md` says so, and `settle` here says
//! the same.

use std::cell::RefCell;

use kemi::{Arg, ByteString, CallbackId, Callbacks, Instance, Map, Outcome, Registry, Source, Value, kemi_export};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// The context.
#[derive(Debug, Default)]
struct Host {
    text: Vec<u8>,
}

#[kemi_export(module = "trip")]
fn anything(_cx: &mut Host, value: Value) -> Value {
    value
}

#[kemi_export(module = "trip")]
fn truth(_cx: &mut Host, value: bool) -> bool {
    value
}

#[kemi_export(module = "trip")]
fn int(_cx: &mut Host, value: i64) -> i64 {
    value
}

#[kemi_export(module = "trip")]
fn float(_cx: &mut Host, value: f64) -> f64 {
    value
}

#[kemi_export(module = "trip")]
fn text<'c>(cx: &'c mut Host, value: &[u8]) -> &'c [u8] {
    cx.text = value.to_vec();
    &cx.text
}

#[kemi_export(module = "trip")]
fn list(_cx: &mut Host, value: Vec<Value>) -> Vec<Value> {
    value
}

/// The ways through a script: straight back, and through a native function of each type.
const WAYS: [&str; 7] = ["back", "anything", "truth", "int", "float", "text", "list"];

/// Whether the function of that way takes a value that the language shows as `shown`.
fn can_go(way: &str, value: &Value, shown: &Value) -> bool {
    match way {
        "back" | "anything" => true,
        "truth" => matches!(value, Value::Bool(_)),
        "int" => matches!(value, Value::Int(_)),
        "float" => matches!(value, Value::Float(_)),
        "text" => matches!(value, Value::Str(_)),
        _ => matches!(shown, Value::Array(_)),
    }
}

/// A script with a function for each way; `function` and `end` are the language's.
fn script(before: &str, function: &str, end: &str) -> String {
    let mut script = before.to_owned();
    for way in WAYS {
        let value = if way == "back" { "value".to_owned() } else { format!("KSR.trip.{way}(value)") };
        script.push_str(&format!("{function} {way}(value){}\n", end.replace("VALUE", &value)));
    }
    script
}

fn round_trips(engine: &str, script: &str, settle: fn(Value) -> Value) {
    kemi::link();
    let engine = kemi::find_engine(engine).unwrap_or_else(|error| panic!("{error}"));
    let mut callbacks = Callbacks::new();
    let ways: Vec<CallbackId> = WAYS.iter().map(|way| callbacks.required(way, way, &["value"])).collect();
    let registry =
        Registry::<Host>::builder().root("KSR").module("trip").callbacks(callbacks).build().expect("sound exports");
    let instance = Instance::load(engine, &registry, &[Source::text("trip", script)]);
    let instance = instance.unwrap_or_else(|error| panic!("{error:#}"));
    let host = RefCell::new(Host::default());
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::default() });
    let result = runner.run(&values(), |value| {
        let expected = settle(value.clone());
        for (way, callback) in WAYS.iter().zip(&ways).filter(|(way, _)| can_go(way, &value, &expected)) {
            let came = match instance.call(*callback, &mut host.borrow_mut(), &[Arg::Value(&value)]) {
                Ok(Outcome::Value(came)) => came,
                other => return Err(TestCaseError::fail(format!("{way}: {other:?}"))),
            };
            prop_assert!(same(&came, &expected), "{way}: {expected} came back as {came}");
        }
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("{error}"));
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Nil),
        any::<bool>().prop_map(Value::Bool),
        prop_oneof![any::<i64>(), -9..9i64, Just(i64::MIN), Just((1 << 53) + 1)].prop_map(Value::Int),
        prop_oneof![
            any::<f64>(),
            any::<i32>().prop_map(f64::from),
            Just(-0.0),
            Just(f64::NAN),
            Just(f64::INFINITY),
            Just(f64::powi(2.0, 53)),
            Just(f64::powi(2.0, 63)),
        ]
        .prop_map(Value::Float),
        text_bytes().prop_map(Value::Str),
    ];
    leaf.prop_recursive(5, 60, 8, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..8).prop_map(Value::Array),
            btree_map(text_bytes(), inner, 0..8).prop_map(Value::Map),
        ]
    })
}

/// Bytes of all kinds: noise, text, what looks like a number or a name of the language, pieces of UTF-8, NUL.
fn text_bytes() -> impl Strategy<Value = ByteString> {
    let pieces: Vec<&[u8]> = vec![
        b"\xed\xb2\x80",
        b"\xf4\x8f\xbe\x80",
        b"\xc0\x80",
        b"\xf0\x9f",
        b"\0",
        b"\r\n",
        b"__proto__",
        b"constructor",
        b"1",
        b"-1",
        "é😀".as_bytes(),
    ];
    prop_oneof![
        vec(any::<u8>(), 0..20),
        any::<String>().prop_map(String::into_bytes),
        vec(prop::sample::select(pieces), 0..4).prop_map(|parts| parts.concat()),
    ]
    .prop_map(ByteString::from)
}

/// Equality that tells zeros apart and takes one NaN for another.
fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Float(a), Value::Float(b)) => a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Map(a), Value::Map(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|((k, a), (l, b))| k == l && same(a, b))
        }
        _ => one == other,
    }
}

/// Applies a change to a value and to everything in it, innermost first.
#[cfg(any(feature = "lua", feature = "js"))]
fn everywhere(value: Value, change: &dyn Fn(Value) -> Value) -> Value {
    change(match value {
        Value::Array(items) => Value::Array(items.into_iter().map(|item| everywhere(item, change)).collect()),
        Value::Map(map) => Value::Map(map.into_iter().map(|(key, item)| (key, everywhere(item, change))).collect()),
        other => other,
    })
}

#[cfg(feature = "lua")]
#[test]
fn lua() {
    round_trips("lua", &script("", "function", " return VALUE end"), |value| everywhere(value, &lua_table));
}

/// A table has no elements that are nil, and an empty one is an array.
#[cfg(feature = "lua")]
fn lua_table(value: Value) -> Value {
    match value {
        Value::Map(map) => {
            let kept: Map = map.into_iter().filter(|(_, item)| *item != Value::Nil).collect();
            if kept.is_empty() { Value::Array(Vec::new()) } else { Value::Map(kept) }
        }
        Value::Array(items) if items.contains(&Value::Nil) => {
            let numbered = items.into_iter().zip(1..).filter(|(item, _)| *item != Value::Nil);
            let kept: Vec<(Value, i64)> = numbered.collect();
            if kept.iter().zip(1..).all(|((_, at), expected)| *at == expected) {
                return Value::Array(kept.into_iter().map(|(item, _)| item).collect());
            }
            Value::Map(kept.into_iter().map(|(item, at)| (at.to_string().as_str().into(), item)).collect())
        }
        other => other,
    }
}

#[cfg(feature = "rhai")]
#[test]
fn rhai() {
    round_trips("rhai", &script("", "fn", " { VALUE }"), |value| value);
}

#[cfg(feature = "python")]
#[test]
fn python() {
    round_trips("python", &script("import KSR\n", "def", ": return VALUE"), |value| value);
}

#[cfg(feature = "js")]
#[test]
fn js() {
    round_trips("js", &script("", "function", " { return VALUE; }"), |value| everywhere(value, &js_number));
}

/// There is one type of numbers; a whole one that a double holds exactly is an integer.
#[cfg(feature = "js")]
fn js_number(value: Value) -> Value {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match value {
        Value::Float(x) if x.fract() == 0.0 && x.abs() <= EXACT && !(x == 0.0 && x.is_sign_negative()) => {
            Value::Int(x as i64)
        }
        other => other,
    }
}
