use kemi_core::{ArgumentPolicy, ErrorCode, Source, Value};

use crate::host::{Loaded, error, text, try_load};

fn compat(body: &str) -> Loaded {
    let script = format!("function main() {body}\nend");
    try_load(ArgumentPolicy::Compat, &[Source::text("test.lua", script)]).unwrap_or_else(|error| panic!("{error:#}"))
}

#[test]
fn compat_coerces_as_lua_scripts_expect() {
    let rows = [
        ("return KSR.t.int('200')", Value::Int(200)),
        ("return KSR.t.int(nil)", Value::Int(0)),
        ("return KSR.t.int(2.0)", Value::Int(2)),
        ("return KSR.t.int(2.9)", Value::Int(2)),
        ("return KSR.t.owned(42)", text("42")),
        ("return KSR.t.owned(nil)", text("")),
        ("return KSR.t.int(5, 'surplus')", Value::Int(5)),
        ("return KSR.t.count('surplus')", Value::Int(0)),
    ];
    for (body, expected) in rows {
        assert_eq!(compat(body).value(&[]), expected, "{body}");
    }
}

#[test]
fn compat_returns_false_where_nothing_fits() {
    for call in ["KSR.t.int('two')", "KSR.t.int(true)", "KSR.t.int()", "KSR.t.port(70000)", "KSR.t.owned(print)"] {
        assert_eq!(compat(&format!("return {call}")).value(&[]), Value::Bool(false), "{call}");
    }
}

#[test]
fn strict_coerces_nothing() {
    for call in ["KSR.t.int('200')", "KSR.t.int(nil)", "KSR.t.int(2.5)", "KSR.t.owned(42)", "KSR.t.invert(nil)"] {
        assert_eq!(error(call).code, ErrorCode::BadArgument, "{call}");
    }
    if cfg!(not(luajit)) {
        assert_eq!(error("KSR.t.int(2.0)").code, ErrorCode::BadArgument);
    }
}

#[cfg(luajit)]
#[test]
fn on_luajit_a_whole_double_is_an_integer() {
    use crate::host::eval;
    assert_eq!(eval("return KSR.t.int(2.0)"), Value::Int(2));
    assert_eq!(eval("local zero = 0 return KSR.t.int(-zero)"), Value::Int(0));
    assert_eq!(eval("local zero = 0 return KSR.t.again('x', -zero)"), text(""));
    assert_eq!(eval("return KSR.t.half(3)"), Value::Float(1.5));
}
