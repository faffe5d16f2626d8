//! Rhai: `register_raw_fn`, and `register_fn`.

use std::any::TypeId;

use rhai::{AST, CallFnOptions, Dynamic, Engine, EvalAltResult, INT, ImmutableString, NativeCallContext, Scope};

use crate::floor::Way;
use crate::natives::{self, Counter, counter, with_counter};
use crate::scripts::{self, HostCall};
use crate::{Language, Subject};

/// A Rhai engine with the bench script.
#[derive(Debug)]
pub struct Rhai {
    engine: Engine,
    script: AST,
    counter: Counter,
}

impl Rhai {
    /// Loads the bench script.
    ///
    /// # Panics
    /// If it does not load.
    #[must_use]
    pub fn new(way: Way) -> Rhai {
        let mut engine = Engine::new();
        match way {
            Way::Floor => by_hand(&mut engine),
            Way::Idiomatic => usual(&mut engine),
        }
        let text = scripts::text(Language::Rhai, "bench").replace("bench.", "");
        let script = engine.compile(text).expect("the bench script");
        Rhai { engine, script, counter: Counter::default() }
    }

    fn call_one(&self, name: &str, args: impl rhai::FuncArgs) {
        let options = CallFnOptions::new().eval_ast(false).rewind_scope(false);
        let mut scope = Scope::new();
        let result = self.engine.call_fn_with_options::<()>(options, &mut scope, &self.script, name, args);
        result.expect("a function of the bench script");
    }
}

impl Subject for Rhai {
    fn repeat(&mut self, name: &str, turns: u64) {
        let mut counter = std::mem::take(&mut self.counter);
        with_counter(&mut counter, || self.call_one(name, (turns as INT,)));
        self.counter = counter;
    }

    fn call(&mut self, callback: HostCall, times: u64) {
        for turn in 0..times {
            match callback {
                HostCall::Empty => self.call_one(callback.name(), ()),
                HostCall::TwoInts => self.call_one(callback.name(), (turn as INT, 8 as INT)),
                HostCall::OneString => {
                    self.call_one(callback.name(), (ImmutableString::from("sip:alice@example.org"),))
                }
            }
        }
    }
}

fn usual(engine: &mut Engine) {
    engine
        .register_fn("none", || natives::none(counter!()))
        .register_fn("flag", |n: INT| natives::flag(counter!(), n))
        .register_fn("add", |a: INT, b: INT| natives::add(counter!(), a, b))
        .register_fn("length", |s: &str| natives::length(counter!(), s))
        .register_fn("get", |s: &str| ImmutableString::from(natives::get(counter!(), s)))
        .register_fn("reply", |s: &str, n: INT| natives::reply(counter!(), s, n))
        .register_fn("set", |s: &str, t: &str| natives::set(counter!(), s, t))
        .register_fn("mixed", |s: &str, a: INT, b: bool, t: &str, c: INT| natives::mixed(counter!(), s, a, b, t, c));
}

type Args<'a, 'b> = &'a mut [&'b mut Dynamic];

fn integer(args: &Args<'_, '_>, index: usize) -> Result<INT, Box<EvalAltResult>> {
    args[index].as_int().map_err(Into::into)
}

fn boolean(args: &Args<'_, '_>, index: usize) -> Result<bool, Box<EvalAltResult>> {
    args[index].as_bool().map_err(Into::into)
}

macro_rules! text {
    ($args:ident, $index:literal) => {
        &*$args[$index].as_immutable_string_ref().map_err(Box::<EvalAltResult>::from)?
    };
}

fn by_hand(engine: &mut Engine) {
    let (int, text, flag) = (TypeId::of::<INT>(), TypeId::of::<ImmutableString>(), TypeId::of::<bool>());
    engine
        .register_raw_fn("none", [], |_: NativeCallContext<'_>, _: Args<'_, '_>| Ok(natives::none(counter!())))
        .register_raw_fn("flag", [int], |_: NativeCallContext<'_>, args: Args<'_, '_>| {
            Ok(natives::flag(counter!(), integer(&args, 0)?))
        })
        .register_raw_fn("add", [int, int], |_: NativeCallContext<'_>, args: Args<'_, '_>| {
            Ok(natives::add(counter!(), integer(&args, 0)?, integer(&args, 1)?))
        })
        .register_raw_fn("length", [text], |_: NativeCallContext<'_>, args: Args<'_, '_>| {
            Ok(natives::length(counter!(), text!(args, 0)))
        })
        .register_raw_fn("get", [text], |_: NativeCallContext<'_>, args: Args<'_, '_>| {
            Ok(ImmutableString::from(natives::get(counter!(), text!(args, 0))))
        })
        .register_raw_fn("reply", [text, int], |_: NativeCallContext<'_>, args: Args<'_, '_>| {
            Ok(natives::reply(counter!(), text!(args, 0), integer(&args, 1)?))
        })
        .register_raw_fn("set", [text, text], |_: NativeCallContext<'_>, args: Args<'_, '_>| {
            Ok(natives::set(counter!(), text!(args, 0), text!(args, 1)))
        })
        .register_raw_fn("mixed", [text, int, flag, text, int], |_: NativeCallContext<'_>, args: Args<'_, '_>| {
            let (a, b, c) = (integer(&args, 1)?, boolean(&args, 2)?, integer(&args, 4)?);
            Ok(natives::mixed(counter!(), text!(args, 0), a, b, text!(args, 3), c))
        });
}
