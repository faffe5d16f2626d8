use kemi_core::value::MAX_VALUE_DEPTH;
use kemi_core::{Arg, ErrorCode, Map, Value};

use crate::host::{error, eval, list, load, text};

#[test]
fn scalars_cross_both_ways_unchanged() {
    let mut script = load("function main(v) return KSR.t.any(v) end");
    let mut scalars = vec![
        Value::Nil,
        Value::Bool(true),
        Value::Bool(false),
        Value::Int(0),
        Value::Int(-1),
        Value::Float(0.5),
        Value::Float(f64::INFINITY),
        Value::Float(f64::NEG_INFINITY),
        text(""),
        text("grüß"),
        Value::from(&b"a\0b\xff\xfe"[..]),
    ];
    if cfg!(not(luajit)) {
        scalars.extend([Value::Int(i64::MIN), Value::Int(i64::MAX), Value::Int((1 << 53) + 1), Value::Float(2.0)]);
    }
    for value in scalars {
        assert_eq!(script.value(&[(&value).into()]), value);
    }
    let minus_zero = script.value(&[Arg::Float(-0.0)]);
    assert!(matches!(minus_zero, Value::Float(x) if x == 0.0 && x.is_sign_negative()), "{minus_zero:?}");
    assert!(matches!(script.value(&[Arg::Float(f64::NAN)]), Value::Float(x) if x.is_nan()));
}

#[test]
fn a_megabyte_crosses_borrowed_and_owned() {
    let bytes: Vec<u8> = (0..1 << 20).map(|i: u32| i.to_le_bytes()[i as usize % 4]).collect();
    let mut script = load("function main(v) assert(#v == 1048576) return KSR.t.sets(v) end");
    assert_eq!(script.value(&[Arg::Str(&bytes)]), Value::from(bytes.as_slice()));
    assert_eq!(script.host.text, bytes);
    let mut script = load("function main(v) return KSR.t.any(v) end");
    assert_eq!(script.value(&[Arg::Str(&bytes)]), Value::from(bytes.as_slice()));
}

#[test]
fn tables_with_the_keys_one_to_n_are_arrays_and_others_maps() {
    let rows = [
        ("{}", "[]"),
        ("{1, 'two', {3}}", r#"[1, "two", [3]]"#),
        ("{[2] = 'b', [1] = 'a'}", r#"["a", "b"]"#),
        ("{[2] = 'b'}", r#"{"2": "b"}"#),
        ("{1, nil, 3}", r#"{"1": 1, "3": 3}"#),
        ("{a = 1, b = {c = true}}", r#"{"a": 1, "b": {"c": true}}"#),
        ("{1, x = 2}", r#"{"1": 1, "x": 2}"#),
        ("setmetatable({5}, {__index = error, __len = error})", "[5]"),
    ];
    for (table, shown) in rows {
        assert_eq!(eval(&format!("return KSR.t.show({table})")), text(shown), "{table}");
    }
}

#[test]
fn containers_go_into_the_script() {
    let mut map = Map::new();
    map.insert("k\0".into(), list([Value::Int(1), Value::Nil, text("x")]));
    let value = Value::Map(map);
    let mut script = load("function main(v) local t = v['k\\0'] return t[1] .. tostring(t[2]) .. t[3] end");
    assert_eq!(script.value(&[Arg::Value(&value)]), text("1nilx"));
    assert_eq!(eval("local t = KSR.t.any({a = {1, 2}}) return t.a[2]"), Value::Int(2));
}

#[test]
fn typed_lists_maps_options_and_rests() {
    assert_eq!(eval("return KSR.t.total({1, 2, 3})"), Value::Int(6));
    assert_eq!(eval("return KSR.t.keys({b = 1, a = 2})"), list([text("a"), text("b")]));
    assert_eq!(eval("return #KSR.t.keys({})"), Value::Int(0));
    assert_eq!(eval("return KSR.t.again('ab', 2)"), text("abab"));
    assert_eq!(eval("return KSR.t.again('ab') .. KSR.t.again('c', nil)"), text("abc"));
    assert_eq!(eval("return KSR.t.arity()"), Value::Int(0));
    assert_eq!(eval("return KSR.t.arity(1, nil, {}, 'x', 5, 6, 7, 8, 9, nil)"), Value::Int(10));
    assert_eq!(error("KSR.t.total({1, 'x'})").code, ErrorCode::BadArgument);
}

#[test]
fn a_tuple_is_several_results_and_nothing_is_nil() {
    assert_eq!(eval("local a, b, c = KSR.t.pair() return {a, b, c == nil}").to_string(), r#"[7, "seven", true]"#);
    assert_eq!(eval("return select('#', KSR.t.note('x')) .. tostring(KSR.t.note('x'))"), text("1nil"));
    assert_eq!(eval("return tostring(KSR.t.get())"), text("nil"));
    assert_eq!(eval("KSR.t.sets('q') return KSR.t.get()"), text("q"));
}

#[test]
fn what_has_no_counterpart_is_an_error_with_its_type() {
    let got = |body: &str| error(body).argument.as_ref().map(|argument| argument.got.clone());
    assert_eq!(got("KSR.t.any(coroutine.create(print))").as_deref(), Some("coroutine"));
    assert_eq!(got("KSR.t.any(io.stdout)").as_deref(), Some("userdata"));
    for body in ["KSR.t.any({coroutine.create(print)})", "KSR.t.any({[true] = 1})", "KSR.t.any({[1.5] = 1})"] {
        assert_eq!(error(body).code, ErrorCode::ValueNotConvertible, "{body}");
    }
    let e = error("KSR.t.any({{}, {x = coroutine.create(print)}})");
    assert_eq!(e.message, "argument 1 holds a coroutine, which has no counterpart outside the script");
}

#[test]
fn a_result_that_does_not_cross_is_told_with_the_place_of_the_function() {
    let refused = |result: &str| {
        let e = load(&format!("\nlocal t = {{}}\nfunction main()\n  return {result}\nend"))
            .call(&[])
            .expect_err("a result");
        assert_eq!(e.code, ErrorCode::ValueNotConvertible, "{e}");
        assert_eq!(e.place.as_ref().map(|place| (place.file.as_str(), place.line)), Some(("test.lua", 3)), "{e}");
        e.message.clone()
    };
    let coroutine = refused("coroutine.create(print)");
    assert_eq!(coroutine, "the result is a coroutine, which has no counterpart outside the script");
    assert_eq!(refused("{io.stdout}"), "the result holds a userdata, which has no counterpart outside the script");
    assert_eq!(refused("{[true] = 1}"), "the result: a table has a key that is a boolean");
}

#[cfg(not(luajit))]
#[test]
fn a_whole_float_for_an_integer_is_told_how_to_become_one() {
    for (body, hinted) in [
        ("KSR.t.int(10 / 2)", true),
        ("KSR.t.add(1, 2.0)", true),
        ("KSR.t.again('x', 2.0)", true),
        ("KSR.t.int(10 / 4)", false),
        ("KSR.t.owned(2.0)", false),
        ("KSR.t.port(70000)", false),
        ("KSR.t.total({1.0})", false),
    ] {
        let e = error(body);
        assert_eq!(e.code, ErrorCode::BadArgument, "{body}: {e}");
        assert_eq!(e.hint.as_deref().is_some_and(|hint| hint.contains("a // b")), hinted, "{body}: {e}");
    }
}

#[test]
fn elements_are_counted_from_one_in_messages() {
    let e = error("KSR.t.total({1, 'x'})");
    assert_eq!(e.argument.as_ref().map(|argument| argument.path.as_str()), Some("[2]"), "{e}");
}

#[test]
fn bytes_are_strings_in_the_script() {
    let bytes = Value::Bytes(b"a\0\xff"[..].into());
    let mut script = load("function main(b) return {type(b), #b, KSR.t.sets(b)} end");
    assert_eq!(script.value(&[Arg::Value(&bytes)]).to_string(), r#"["string", 3, "a\x00\xff"]"#);
    let mut script = load("function main(list) return list[1] .. list.n end");
    let nested = Value::Map(Map::from([("1".into(), bytes.clone()), ("n".into(), bytes.clone())]));
    assert_eq!(script.call(&[Arg::Value(&nested)]).map_err(|e| e.code), Err(ErrorCode::Runtime), "a map has text keys");
    let mut script = load("function main(list) return list[1] .. list[2] end");
    assert_eq!(script.value(&[Arg::Value(&list([bytes, text("b")]))]), Value::from(&b"a\0\xffb"[..]));
    assert_eq!(eval("return KSR.t.digest('\\0ab')"), text("ba\0"));
    assert_eq!(eval("return table.concat(KSR.t.blobs({'a\\0', '', 'b'}), '|')"), text("a\0||b"));
    assert_eq!(error("KSR.t.digest(1)").argument.as_ref().map(|a| a.got.as_str()), Some("integer 1"));
}

#[test]
fn endless_and_huge_tables_end_in_an_error() {
    for body in [
        "local t = {} t[1] = t t[2] = t KSR.t.any(t)",
        "local t = {} t.x = t return t",
        "local t = {1} for _ = 1, 60 do t = {t, t} end KSR.t.any(t)",
    ] {
        assert_eq!(error(body).code, ErrorCode::ValueNotConvertible, "{body}");
    }
    let nested = |n| format!("local t = 1 for _ = 1, {n} do t = {{t}} end KSR.t.any(t) return true");
    assert_eq!(eval(&nested(MAX_VALUE_DEPTH)), Value::Bool(true));
    assert_eq!(error(&nested(MAX_VALUE_DEPTH + 1)).code, ErrorCode::ValueNotConvertible);
    assert_eq!(eval("return type(KSR.t.deep(64))"), text("table"));
    assert_eq!(error("return KSR.t.deep(65)").code, ErrorCode::ValueNotConvertible);
    let deep = (0..65).fold(Value::Nil, |inner, _| list([inner]));
    let refused = load("function main() end").call(&[Arg::Value(&deep)]);
    assert_eq!(refused.map_err(|e| e.code), Err(ErrorCode::ValueNotConvertible));
}

#[test]
fn what_is_shared_counts_each_time_and_all_arguments_count_together() {
    let bomb = "local t = {1} for _ = 1, 40 do t = {t, t} end";
    for body in [
        format!("{bomb} KSR.t.any(t)"),
        format!("{bomb} return t"),
        "local t = {} for i = 1, 400000 do t[i] = 1 end KSR.t.arity(t, t, t)".to_owned(),
        "local s = ('x'):rep(1000000) local t = {} for i = 1, 70 do t[i] = s end KSR.t.any(t)".to_owned(),
        "local s = ('x'):rep(1000000) local t = {} for i = 1, 70 do t[s .. i] = 1 end return t".to_owned(),
    ] {
        assert_eq!(error(&body).code, ErrorCode::ValueNotConvertible, "{body}");
    }
    assert_eq!(eval("local t = {} for i = 1, 400000 do t[i] = 1 end return KSR.t.arity(t, t)"), Value::Int(2));
}

#[test]
fn what_the_host_gives_a_script_can_give_back() {
    assert_eq!(eval("return KSR.t.known(KSR.t.gaps())"), Value::Int(2));
    assert_eq!(eval("return #KSR.t.keys(KSR.t.no_keys())"), Value::Int(0));
    assert_eq!(eval("return KSR.t.known({[5] = 1})"), Value::Int(1));
    assert_eq!(error("KSR.t.known({[1000000] = 1})").code, ErrorCode::BadArgument);
    assert_eq!(error("KSR.t.known({1, x = 2})").code, ErrorCode::BadArgument);
}

#[test]
fn a_function_called_with_a_colon_says_so() {
    for body in ["KSR.t:note('x')", "KSR:at_root()", "local t = KSR.t t:int(5)", "KSR.t:any()"] {
        let error = error(body);
        assert_eq!(error.code, ErrorCode::BadArgument, "{body}: {error}");
        assert!(error.message.contains("called with ':'; write KSR."), "{body}: {error}");
    }
}

#[test]
fn both_paths_are_taken() {
    let mut script = load(
        "function main()
            KSR.t.count() KSR.t.add(1, 2) KSR.t.sets('x') KSR.t.get() KSR.t.invert(true) KSR.t.note('n')
            KSR.t.owned('x') KSR.t.any(1) KSR.t.old(1) KSR.t.pair() KSR.t.run('inner')
        end
        function inner(name) return name end",
    );
    script.value(&[]);
    // `pair` has a shape; an `any` parameter, a deprecated export and one that takes the script have not.
    assert_eq!(script.instance.calls(), (8, 3));
}

#[test]
fn every_shape_gives_what_the_generic_path_gives() {
    let body = "return {
        KSR.t.count(), KSR.t.add(40, 2), KSR.t.int(-5), KSR.t.half(3.0), KSR.t.half(1), KSR.t.invert(false),
        KSR.t.sets('a\\0b'), KSR.t.owned('up'), KSR.t.at_root == nil, KSR.at_root() }";
    assert_eq!(eval(body).to_string(), r#"[0, 42, -5, 1.5, 0.5, true, "a\x00b", "UP", true, 1]"#);
}
