//! JavaScript: functions that borrow what Boa holds, and the usual conversions.

use boa_engine::object::{JsObject, ObjectInitializer};
use boa_engine::property::Attribute;
use boa_engine::string::{JsStr, JsStrVariant};
use boa_engine::{Context, JsArgs, JsNativeError, JsResult, JsString, JsValue, NativeFunction, Source, js_string};

use crate::floor::Way;
use crate::natives::{self, Counter, counter, with_counter};
use crate::scripts::{self, HostCall};
use crate::{Language, Subject};

/// A Boa context with the bench script.
#[derive(Debug)]
pub struct Js {
    context: Context,
    callbacks: [JsObject; 3],
    counter: Counter,
}

type Native = fn(&JsValue, &[JsValue], &mut Context) -> JsResult<JsValue>;

impl Js {
    /// Loads the bench script.
    ///
    /// # Panics
    /// If it does not load.
    #[must_use]
    pub fn new(way: Way) -> Js {
        let functions: [(&str, Native, Native); 8] = [
            ("none", none, usual::none),
            ("flag", flag, usual::flag),
            ("add", add, usual::add),
            ("length", length, usual::length),
            ("get", get, usual::get),
            ("reply", reply, usual::reply),
            ("set", set, usual::set),
            ("mixed", mixed, usual::mixed),
        ];
        let mut context = Context::default();
        let mut bench = ObjectInitializer::new(&mut context);
        for (name, floor, idiomatic) in functions {
            let native = if way == Way::Floor { floor } else { idiomatic };
            bench.function(NativeFunction::from_fn_ptr(native), JsString::from(name), 0);
        }
        let bench = bench.build();
        context.register_global_property(js_string!("bench"), bench, Attribute::all()).expect("a global");
        let text = scripts::text(Language::Js, "bench");
        context.eval(Source::from_bytes(&text)).expect("the bench script");
        let callbacks = HostCall::ALL.map(|call| function(&mut context, call.name()));
        Js { context, callbacks, counter: Counter::default() }
    }
}

fn function(context: &mut Context, name: &str) -> JsObject {
    let value = context.global_object().get(JsString::from(name), context);
    value.ok().and_then(|value| value.as_object()).unwrap_or_else(|| panic!("no function {name}"))
}

impl Subject for Js {
    fn repeat(&mut self, name: &str, turns: u64) {
        let Js { context, counter, .. } = self;
        let function = function(context, name);
        let result =
            with_counter(counter, || function.call(&JsValue::undefined(), &[JsValue::new(turns as f64)], context));
        result.expect("the loop");
    }

    fn call(&mut self, callback: HostCall, times: u64) {
        let Js { context, callbacks: [empty, ints, text], .. } = self;
        let this = JsValue::undefined();
        for turn in 0..times {
            match callback {
                HostCall::Empty => empty.call(&this, &[], context),
                HostCall::TwoInts => ints.call(&this, &[JsValue::new(turn as i32), JsValue::new(8)], context),
                HostCall::OneString => {
                    let arg = JsString::from(JsStr::latin1(b"sip:alice@example.org"));
                    text.call(&this, &[arg.into()], context)
                }
            }
            .expect("the callback");
        }
    }
}

#[cold]
fn bad() -> boa_engine::JsError {
    JsNativeError::typ().with_message("bad arguments").into()
}

fn integer(value: &JsValue) -> JsResult<i64> {
    if let Some(i) = value.as_i32() {
        return Ok(i.into());
    }
    match value.as_number() {
        Some(x) if x.fract() == 0.0 && x.abs() <= 9_007_199_254_740_992.0 => Ok(x as i64),
        _ => Err(bad()),
    }
}

fn boolean(value: &JsValue) -> JsResult<bool> {
    value.as_boolean().ok_or_else(bad)
}

fn string(value: &JsValue) -> JsResult<JsString> {
    value.as_string().ok_or_else(bad)
}

fn text(string: &JsString) -> JsResult<&str> {
    match string.as_str().variant() {
        JsStrVariant::Latin1(bytes) if bytes.is_ascii() => std::str::from_utf8(bytes).map_err(|_| bad()),
        _ => Err(bad()),
    }
}

fn int(number: i64) -> JsValue {
    i32::try_from(number).map_or_else(|_| JsValue::new(number as f64), JsValue::new)
}

fn none(_: &JsValue, args: &[JsValue], _: &mut Context) -> JsResult<JsValue> {
    let [] = args else { return Err(bad()) };
    Ok(int(natives::none(counter!())))
}

fn flag(_: &JsValue, args: &[JsValue], _: &mut Context) -> JsResult<JsValue> {
    let [a] = args else { return Err(bad()) };
    Ok(natives::flag(counter!(), integer(a)?).into())
}

fn add(_: &JsValue, args: &[JsValue], _: &mut Context) -> JsResult<JsValue> {
    let [a, b] = args else { return Err(bad()) };
    Ok(int(natives::add(counter!(), integer(a)?, integer(b)?)))
}

fn length(_: &JsValue, args: &[JsValue], _: &mut Context) -> JsResult<JsValue> {
    let [a] = args else { return Err(bad()) };
    let a = string(a)?;
    Ok(int(natives::length(counter!(), text(&a)?)))
}

fn get(_: &JsValue, args: &[JsValue], _: &mut Context) -> JsResult<JsValue> {
    let [a] = args else { return Err(bad()) };
    let a = string(a)?;
    let result = natives::get(counter!(), text(&a)?);
    Ok(match result.is_ascii() {
        true => JsString::from(JsStr::latin1(result.as_bytes())).into(),
        false => JsString::from(result).into(),
    })
}

fn reply(_: &JsValue, args: &[JsValue], _: &mut Context) -> JsResult<JsValue> {
    let [a, b] = args else { return Err(bad()) };
    let a = string(a)?;
    Ok(int(natives::reply(counter!(), text(&a)?, integer(b)?)))
}

fn set(_: &JsValue, args: &[JsValue], _: &mut Context) -> JsResult<JsValue> {
    let [a, b] = args else { return Err(bad()) };
    let (a, b) = (string(a)?, string(b)?);
    Ok(int(natives::set(counter!(), text(&a)?, text(&b)?)))
}

fn mixed(_: &JsValue, args: &[JsValue], _: &mut Context) -> JsResult<JsValue> {
    let [a, b, c, d, e] = args else { return Err(bad()) };
    let (a, d) = (string(a)?, string(d)?);
    let (b, c, e) = (integer(b)?, boolean(c)?, integer(e)?);
    Ok(int(natives::mixed(counter!(), text(&a)?, b, c, text(&d)?, e)))
}

mod usual {
    //! What the documentation of Boa suggests.

    use super::*;

    fn number(args: &[JsValue], index: usize, context: &mut Context) -> JsResult<i64> {
        args.get_or_undefined(index).to_number(context).map(|x| x as i64)
    }

    fn text(args: &[JsValue], index: usize, context: &mut Context) -> JsResult<String> {
        Ok(args.get_or_undefined(index).to_string(context)?.to_std_string_escaped())
    }

    pub(super) fn none(_: &JsValue, _: &[JsValue], _: &mut Context) -> JsResult<JsValue> {
        Ok(JsValue::from(natives::none(counter!())))
    }

    pub(super) fn flag(_: &JsValue, args: &[JsValue], context: &mut Context) -> JsResult<JsValue> {
        Ok(JsValue::from(natives::flag(counter!(), number(args, 0, context)?)))
    }

    pub(super) fn add(_: &JsValue, args: &[JsValue], context: &mut Context) -> JsResult<JsValue> {
        let (a, b) = (number(args, 0, context)?, number(args, 1, context)?);
        Ok(JsValue::from(natives::add(counter!(), a, b)))
    }

    pub(super) fn length(_: &JsValue, args: &[JsValue], context: &mut Context) -> JsResult<JsValue> {
        Ok(JsValue::from(natives::length(counter!(), &text(args, 0, context)?)))
    }

    pub(super) fn get(_: &JsValue, args: &[JsValue], context: &mut Context) -> JsResult<JsValue> {
        Ok(JsString::from(natives::get(counter!(), &text(args, 0, context)?)).into())
    }

    pub(super) fn reply(_: &JsValue, args: &[JsValue], context: &mut Context) -> JsResult<JsValue> {
        let (a, b) = (text(args, 0, context)?, number(args, 1, context)?);
        Ok(JsValue::from(natives::reply(counter!(), &a, b)))
    }

    pub(super) fn set(_: &JsValue, args: &[JsValue], context: &mut Context) -> JsResult<JsValue> {
        let (a, b) = (text(args, 0, context)?, text(args, 1, context)?);
        Ok(JsValue::from(natives::set(counter!(), &a, &b)))
    }

    pub(super) fn mixed(_: &JsValue, args: &[JsValue], context: &mut Context) -> JsResult<JsValue> {
        let (a, b) = (text(args, 0, context)?, number(args, 1, context)?);
        let c = args.get_or_undefined(2).to_boolean();
        let (d, e) = (text(args, 3, context)?, number(args, 4, context)?);
        Ok(JsValue::from(natives::mixed(counter!(), &a, b, c, &d, e)))
    }
}
