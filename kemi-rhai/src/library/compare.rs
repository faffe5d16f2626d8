//! Functions of Rhai's own library that may run long, or grow without bound, in versions that look at the limits of the
//! call.
//!
//! They give the same results otherwise; `tests/library.rs` compares them, and lists what Rhai's packages have besides.

use std::rc::Rc;

use rhai::{Array, Dynamic, Engine, EvalAltResult, ImmutableString, Map, NativeCallContext, Position};

use crate::interpreter::{Shared, View};
use crate::library::json;

/// How many steps pass between two looks at the clock.
const STEPS: u32 = 256;

/// How deep values may nest where a function goes down into them by itself.
const MAX_DEPTH: usize = 10_000;

pub(crate) type Outcome<T> = Result<T, Box<EvalAltResult>>;

/// Replaces them.
pub(crate) fn install(engine: &mut Engine, shared: &Rc<Shared>) {
    /// Registers a function that gets a [`Look`] first.
    macro_rules! looking {
        ($name:literal, |$look:ident, $($arg:ident: $ty:ty),+| $body:expr) => {
            let own = shared.clone();
            engine.register_fn($name, move |call: NativeCallContext<'_>, $($arg: $ty),+| {
                let $look = &mut Look::new(&own, &call);
                $body
            });
        };
    }
    looking!("==", |look, a: &mut Array, b: Array| arrays_equal(look, a, &b, 0));
    looking!("!=", |look, a: &mut Array, b: Array| arrays_equal(look, a, &b, 0).map(|equal| !equal));
    looking!("==", |look, a: &mut Map, b: Map| maps_equal(look, a, &b, 0));
    looking!("!=", |look, a: &mut Map, b: Map| maps_equal(look, a, &b, 0).map(|equal| !equal));
    looking!("contains", |look, array: &mut Array, value: Dynamic| Ok::<_, Box<EvalAltResult>>(
        position(look, array, &value, 0)? >= 0
    ));
    looking!("index_of", |look, array: &mut Array, value: Dynamic| position(look, array, &value, 0));
    looking!("index_of", |look, array: &mut Array, value: Dynamic, start: i64| {
        position(look, array, &value, offset(array.len(), start))
    });
    looking!("to_json", |look, map: &mut Map| json::write(look, map));
    looking!("parse_json", |look, text: ImmutableString| json::read(look, &text));
    for_replace(engine);
}

/// Looks at the limits of the call now and then.
pub(crate) struct Look<'a> {
    shared: &'a Shared,
    call: &'a NativeCallContext<'a>,
    steps: u32,
}

impl<'a> Look<'a> {
    fn new(shared: &'a Shared, call: &'a NativeCallContext<'a>) -> Look<'a> {
        Look { shared, call, steps: 0 }
    }

    /// Takes a step.
    ///
    /// # Errors
    /// The end of the call.
    #[inline]
    pub(crate) fn step(&mut self) -> Outcome<()> {
        self.steps += 1;
        if self.steps < STEPS {
            return Ok(());
        }
        self.steps = 0;
        if self.shared.runtime.poll(&View::of_call(self.shared, self.call)) {
            return Err(EvalAltResult::ErrorTerminated(Dynamic::UNIT, self.call.call_position()).into());
        }
        Ok(())
    }

    /// Returns the engine.
    pub(crate) fn engine(&self) -> &Engine {
        self.call.engine()
    }

    /// Makes an error of the script.
    #[cold]
    pub(crate) fn error<T>(&self, message: impl Into<ImmutableString>) -> Outcome<T> {
        Err(EvalAltResult::ErrorRuntime(message.into().into(), self.call.call_position()).into())
    }
}

/// Refuses a text that is longer than a value may hold.
///
/// # Errors
/// The limit of memory.
pub(crate) fn fits(engine: &Engine, length: usize) -> Outcome<()> {
    match engine.max_string_size() {
        0 => Ok(()),
        most if length <= most => Ok(()),
        _ => Err(EvalAltResult::ErrorDataTooLarge("Length of string".to_owned(), Position::NONE).into()),
    }
}

/// Compares two values as `==` does.
fn equal(look: &mut Look<'_>, a: &mut Dynamic, b: &Dynamic, depth: usize) -> Outcome<bool> {
    look.step()?;
    if depth > MAX_DEPTH {
        return look.error("the values are nested too deep to be compared");
    }
    if let (Some(mut a), Some(b)) = (a.write_lock::<Array>(), b.read_lock::<Array>()) {
        return arrays_equal(look, &mut a, &b, depth + 1);
    }
    if let (Some(mut a), Some(b)) = (a.write_lock::<Map>(), b.read_lock::<Map>()) {
        return maps_equal(look, &mut a, &b, depth + 1);
    }
    look.call.call_native_fn_raw("==", true, &mut [a, &mut b.clone()]).map(|equal| equal.as_bool().unwrap_or(false))
}

/// Compares two items of arrays: those for which there is no `==` differ, if they are of different types.
///
/// As in Rhai, what contains such items differs as well, while items of one type are an error.
fn items_equal(look: &mut Look<'_>, a: &mut Dynamic, b: &Dynamic, depth: usize) -> Outcome<bool> {
    equal(look, a, b, depth).or_else(|error| match &*error {
        _ if !is_without_equality(&error) => Err(error),
        _ if a.type_id() != b.type_id() || a.is_array() || a.is_map() => Ok(false),
        _ => Err(error),
    })
}

fn is_without_equality(error: &EvalAltResult) -> bool {
    matches!(error, EvalAltResult::ErrorFunctionNotFound(signature, ..) if signature.starts_with("=="))
}

fn arrays_equal(look: &mut Look<'_>, a: &mut Array, b: &Array, depth: usize) -> Outcome<bool> {
    if a.len() != b.len() {
        return Ok(false);
    }
    for (a, b) in a.iter_mut().zip(b) {
        if !items_equal(look, a, b, depth)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn maps_equal(look: &mut Look<'_>, a: &mut Map, b: &Map, depth: usize) -> Outcome<bool> {
    if a.len() != b.len() {
        return Ok(false);
    }
    for (key, a) in a {
        match b.get(key) {
            Some(b) if equal(look, a, b, depth)? => {}
            _ => return Ok(false),
        }
    }
    Ok(true)
}

/// Returns where in an array a value stands, from a position on; -1 if nowhere.
fn position(look: &mut Look<'_>, array: &mut Array, value: &Dynamic, start: usize) -> Outcome<i64> {
    for (at, item) in array.iter_mut().enumerate().skip(start) {
        let found = equal(look, item, value, 0).or_else(|error| {
            if is_without_equality(&error) && item.type_id() != value.type_id() { Ok(false) } else { Err(error) }
        })?;
        if found {
            return Ok(i64::try_from(at).unwrap_or(i64::MAX));
        }
    }
    Ok(-1)
}

/// Returns the position that an index stands for, which counts from the end if it is negative.
fn offset(length: usize, index: i64) -> usize {
    let distance = usize::try_from(index.unsigned_abs()).unwrap_or(usize::MAX);
    if index < 0 { length.saturating_sub(distance) } else { distance.min(length) }
}

/// `replace`, which could make more of a text than there is memory.
fn for_replace(engine: &mut Engine) {
    type Text = ImmutableString;
    engine
        .register_fn("replace", |call: NativeCallContext<'_>, text: &mut Text, find: Text, put: Text| {
            replace(&call, text, &find, &put)
        })
        .register_fn("replace", |call: NativeCallContext<'_>, text: &mut Text, find: Text, put: char| {
            replace(&call, text, &find, put.encode_utf8(&mut [0; 4]))
        })
        .register_fn("replace", |call: NativeCallContext<'_>, text: &mut Text, find: char, put: Text| {
            replace(&call, text, find.encode_utf8(&mut [0; 4]), &put)
        })
        .register_fn("replace", |call: NativeCallContext<'_>, text: &mut Text, find: char, put: char| {
            replace(&call, text, find.encode_utf8(&mut [0; 4]), put.encode_utf8(&mut [0; 4]))
        });
}

fn replace(call: &NativeCallContext<'_>, text: &mut ImmutableString, find: &str, put: &str) -> Outcome<()> {
    if text.is_empty() {
        return Ok(());
    }
    if put.len() > find.len() {
        let more = text.matches(find).count().saturating_mul(put.len() - find.len());
        fits(call.engine(), text.len().saturating_add(more))?;
    }
    *text = text.replace(find, put).into();
    Ok(())
}
