//! Values both ways.

mod common;

use common::{Host, check, eval};
use kemi_core::{Arg, ArgumentPolicy, ErrorCode, Limits, Map, Outcome, Value};

#[test]
fn scalars_come_back_as_they_went() {
    check(
        "for i in (0, -1, 1, 2**53 + 1, 2**63 - 1, -2**63):
    assert KSR.echo.int(i) == i and KSR.echo.any(i) == i, i
    assert type(KSR.echo.any(i)) is int
for x in (0.0, -0.0, 1.5, 1e308, float('inf'), float('-inf')):
    assert repr(KSR.echo.float(x)) == repr(x) == repr(KSR.echo.any(x)), x
nan = KSR.echo.any(float('nan'))
assert nan != nan
assert KSR.echo.float(3) == 3.0
assert KSR.echo.truth(True) is True and KSR.echo.any(False) is False
assert KSR.echo.any(None) is None and KSR.echo.nothing() is None
assert KSR.echo.maybe() is None and KSR.echo.maybe(None) is None and KSR.echo.maybe(5) == 5
assert KSR.echo.pair() == (7, 'seven')
assert KSR.is_ok() is True",
    );
}

#[test]
fn strings_keep_every_byte() {
    check(
        "every = bytes(range(256))
for s in (b'', b'a', b'\\0', b'a\\0b', 'é€😀'.encode(), b'\\xff\\xfe', b'\\xed\\xa0\\x80', every, every * 4096):
    as_text = s.decode('utf-8', 'surrogateescape')
    for got in (KSR.echo.bytes(s), KSR.echo.bytes(as_text), KSR.echo.any(as_text)):
        assert type(got) is str and got == as_text, s[:10]
        assert got.encode('utf-8', 'surrogateescape') == s
assert KSR.echo.text('é') == 'é'
class Name(str): pass
class Number(int): pass
assert KSR.echo.bytes(Name('n')) == 'n' and KSR.echo.int(Number(4)) == 4",
    );
}

#[test]
fn lists_and_dictionaries_nest() {
    check(
        "v = {'a': [1, [2.5, None], {'b': True}], 'k\\udcff': 'v\\udcff', '': []}
assert KSR.echo.any(v) == v
assert KSR.echo.any((1, (2,))) == [1, [2]]
assert KSR.echo.any({b'k': 1}) == {'k': 1}
assert KSR.echo.list([1, 2, 3]) == 6
assert KSR.echo.count() == 0 and KSR.echo.count(*range(20)) == 20",
    );
}

#[test]
fn what_has_no_counterpart_is_an_error_and_never_a_crash() {
    check(
        "def fails(f, *args):
    try:
        f(*args)
    except KSR.Error as e:
        return str(e)
    assert False, args
loop = []; loop.append(loop)
ring = {}; ring['r'] = [ring, ring]
deep = []
for _ in range(100): deep = [deep]
for v in (loop, ring, deep):
    assert 'deeper than 64' in fails(KSR.echo.any, v)
assert 'got module' in fails(KSR.echo.any, KSR.echo)
assert 'got function' in fails(KSR.echo.int, lambda: 1)
assert 'got class' in fails(KSR.echo.any, int)
assert 'got object' in fails(KSR.echo.bytes, object())
class Order: pass
assert 'got Order' in fails(KSR.echo.any, Order())
assert 'argument 1: an Order has no counterpart outside the script' in fails(KSR.echo.any, [Order()])
assert 'got module that is not enabled' in fails(KSR.echo.any, KSR.nathelper)
assert 'an integer as a key' in fails(KSR.echo.any, {1: 2})
for big in (2**63, -2**63 - 1, 10**400):
    assert 'integer out of range' in fails(KSR.echo.int, big)
    assert 'integer out of range' in fails(KSR.echo.any, big)
    assert 'integer out of range' in fails(KSR.echo.any, [big])
assert 'surrogates' in fails(KSR.echo.bytes, '\\ud800')
assert 'integer 65536' in fails(KSR.echo.port, 65536)
assert 'float 1.0' in fails(KSR.echo.int, 1.0)
assert 'got boolean' in fails(KSR.echo.int, True)
assert 'got integer' in fails(KSR.echo.truth, 1) or 'integer 1' in fails(KSR.echo.truth, 1)
assert 'takes 2 argument(s) (a, b), got 1' in fails(KSR.echo.add, 1)
assert 'valid UTF-8' in fails(KSR.echo.text, b'\\xff')",
    );
}

#[test]
fn callbacks_take_and_return_values() {
    let host = Host::new(ArgumentPolicy::Strict);
    let instance = host.load("def event(a, b):\n    return [b, {'a': a}]\n").unwrap();
    let map = Value::Map(Map::from([("x".into(), Value::Int(1))]));
    let result = host.event(&instance, &[Arg::Str(b"\xff\0"), Arg::Value(&map)]).unwrap();
    let a = Value::Map(Map::from([("a".into(), Value::from(&b"\xff\0"[..]))]));
    assert_eq!(result, Outcome::Value(Value::Array(vec![map, a])));
    assert_eq!(eval("2**63 - 1").unwrap(), Value::Int(i64::MAX));
    let error = eval("(n for n in ())").unwrap_err();
    assert_eq!(
        error.to_string().split(" [").next(),
        Some("python: test.py:2: in main: the result is a generator, which has no counterpart outside the script"),
        "{error:#}"
    );
    let error = eval("[{1}]").unwrap_err();
    assert_eq!(error.message, "the result: a set has no counterpart outside the script", "{error:#}");
}

#[test]
fn bytes_come_back_as_bytes() {
    check(
        "every = bytes(range(256))
for b in (b'', b'a\\0b', b'\\xff', every * 16):
    for given in (b, bytearray(b), memoryview(b), memoryview(bytearray(b))):
        got = KSR.echo.any(given)
        assert type(got) is bytes and got == b, given
        assert KSR.echo.any([given, {'k': given}]) == [b, {'k': b}]
        assert KSR.echo.blob(given) == b and type(KSR.echo.blob(given)) is bytes
        # A parameter that takes text takes their bytes.
        as_text = b.decode('utf-8', 'surrogateescape')
        assert KSR.echo.bytes(given) == KSR.echo.byte_string(given) == as_text
        assert KSR.echo.texts([given]) == [as_text]
assert KSR.echo.blob('é') == 'é'.encode() and type(KSR.echo.any('é')) is str
assert KSR.echo.text(b'plain') == KSR.echo.text(bytearray(b'plain')) == KSR.echo.text(memoryview(b'plain')) == 'plain'
assert KSR.echo.maybe_text(b'x') == 'x' and KSR.echo.maybe_text(None) is None
assert KSR.echo.blobs() == [b'\\xff', b'']
import array
assert KSR.echo.any(memoryview(array.array('H', [258]))) in (b'\\x01\\x02', b'\\x02\\x01')
assert KSR.echo.any(memoryview(b'abcdef')[::2]) == b'ace'
class Own(bytes): pass
assert KSR.echo.any(Own(b'own')) == b'own'
assert KSR.echo.any({b'k': b'v'}) == {'k': b'v'}
released = memoryview(b'x'); released.release()
def fails(value):
    try:
        KSR.echo.any(value)
    except KSR.Error as e:
        return str(e)
assert 'got released memoryview' in fails(released)",
    );
    let host = Host::new(ArgumentPolicy::Strict);
    let instance =
        host.load("def event(a, b):\n    assert type(a) is bytes, a\n    return [a, bytearray(b[0])]\n").unwrap();
    let (a, b) = (Value::Bytes("\u{e9}".into()), Value::Array(vec![Value::Bytes(vec![0xff].into())]));
    let result = host.event(&instance, &[Arg::from(&a), Arg::from(&b)]).unwrap_or_else(|error| panic!("{error:#}"));
    assert_eq!(result, Outcome::Value(Value::Array(vec![a, Value::Bytes(vec![0xff].into())])));
    assert_eq!(eval("b'\\xff'").unwrap(), Value::Bytes(vec![0xff].into()));
}

#[test]
fn bytes_count_like_text() {
    let host = Host::limited(ArgumentPolicy::Strict, "KSR", Limits::NONE);
    let text = "import KSR
def main():
    big = bytes(33 << 20)
    for value in ([big, big], [big, memoryview(big)], {'k': [big, bytearray(big)]}):
        try:
            KSR.echo.any(value)
        except KSR.Error as e:
            assert 'more than 67108864 bytes' in str(e), e
        else:
            assert False
";
    let result = host.call(&host.load(text).unwrap()).0;
    assert_eq!(result.unwrap_or_else(|error| panic!("{error:#}")), Outcome::Value(Value::Nil));
}

#[test]
fn exact_arguments_take_the_typed_path_and_others_the_generic_one() {
    let host = Host::new(ArgumentPolicy::Strict);
    let calls = |body: &str| {
        let instance = host.load(&format!("import KSR\ndef main():\n    return {body}\n")).unwrap();
        let (result, _) = host.call(&instance);
        (result.unwrap(), instance.calls())
    };
    let rows: [(&str, Value, (u64, u64)); 15] = [
        ("KSR.is_ok()", Value::Bool(true), (1, 0)),
        ("KSR.echo.int(5)", Value::Int(5), (1, 0)),
        ("KSR.echo.float(0.5)", Value::Float(0.5), (1, 0)),
        ("KSR.echo.truth(True)", Value::Bool(true), (1, 0)),
        ("KSR.echo.bytes('x')", "x".into(), (1, 0)),
        ("KSR.echo.bytes(b'x')", "x".into(), (1, 0)),
        ("KSR.echo.add(1, 2)", Value::Int(3), (1, 0)),
        ("KSR.echo.si('ab', 1)", Value::Int(3), (1, 0)),
        ("KSR.echo.times(3, 'ab')", Value::Int(6), (1, 0)),
        ("KSR.echo.ss('a', 'b')", Value::Bool(false), (1, 0)),
        ("KSR.echo.sss('a', 'b', 'c')", Value::Int(3), (1, 0)),
        ("KSR.echo.ssi('a', 'b', 5)", Value::Int(7), (1, 0)),
        ("KSR.echo.many(1, 2, 3, 4)", Value::Int(10), (1, 0)),
        ("KSR.echo.float(1)", Value::Float(1.0), (0, 1)),
        ("KSR.bad.old(1)", Value::Int(1), (0, 1)),
    ];
    for (body, value, counts) in rows {
        assert_eq!(calls(body), (Outcome::Value(value), counts), "{body}");
    }
}

#[test]
fn compat_coerces_only_truth_values_and_answers_false_to_the_rest() {
    let host = Host::new(ArgumentPolicy::Compat);
    let script = "import KSR
def main():
    return [KSR.echo.int(True), KSR.echo.add(1, 2, 3), KSR.echo.int('5'), KSR.echo.int(1.0), KSR.echo.add(1),
            KSR.echo.bytes(5), KSR.echo.int(2**70), KSR.echo.int(None)]
";
    let instance = host.load(script).unwrap();
    let no = Value::Bool(false);
    let expected = vec![Value::Int(1), Value::Int(3), no.clone(), no.clone(), no.clone(), no.clone(), no.clone(), no];
    assert_eq!(host.call(&instance).0.unwrap(), Outcome::Value(Value::Array(expected)));
}

#[test]
fn a_key_that_stands_as_text_and_as_bytes_is_refused() {
    for value in ["{'a': 1, b'a': 2}", "[{b'a': 1, 'a': 1}]"] {
        let error = eval(value).unwrap_err();
        assert_eq!(error.code, ErrorCode::ValueNotConvertible, "{error:#}");
        assert!(error.message.contains("both as str and as bytes"), "{error}");
    }
}
