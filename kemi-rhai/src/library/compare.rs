//! Comparison of arrays and maps, within the limits of the call.

use std::rc::Rc;

use kemi_core::engine::Runtime;
use rhai::{Array, Dynamic, Engine, EvalAltResult, Map, NativeCallContext};

use super::RhaiResult;
use crate::interrupt::LimitCheck;

/// How deep values may nest where a function goes down into them by itself.
const MAX_DEPTH: usize = 10_000;

/// Replaces `==` and `!=` of arrays and maps, `contains` and `index_of`.
pub(crate) fn install(engine: &mut Engine, runtime: &Rc<Runtime>) {
    checked!(engine, runtime, "==", |check, a: &mut Array, b: Array| arrays_equal(check, a, &b, 0));
    checked!(engine, runtime, "!=", |check, a: &mut Array, b: Array| arrays_equal(check, a, &b, 0).map(|equal| !equal));
    checked!(engine, runtime, "==", |check, a: &mut Map, b: Map| maps_equal(check, a, &b, 0));
    checked!(engine, runtime, "!=", |check, a: &mut Map, b: Map| maps_equal(check, a, &b, 0).map(|equal| !equal));
    checked!(engine, runtime, "contains", |check, array: &mut Array, value: Dynamic| {
        RhaiResult::Ok(position(check, array, &value, 0)? >= 0)
    });
    checked!(engine, runtime, "index_of", |check, array: &mut Array, value: Dynamic| position(check, array, &value, 0));
    checked!(engine, runtime, "index_of", |check, array: &mut Array, value: Dynamic, start: i64| {
        position(check, array, &value, offset(array.len(), start))
    });
}

/// Compares two values as `==` does.
fn equal(check: &mut LimitCheck<'_>, a: &mut Dynamic, b: &Dynamic, depth: usize) -> RhaiResult<bool> {
    check.step()?;
    if depth > MAX_DEPTH {
        return check.error("the values are nested too deep to be compared");
    }
    if let (Some(mut a), Some(b)) = (a.write_lock::<Array>(), b.read_lock::<Array>()) {
        return arrays_equal(check, &mut a, &b, depth + 1);
    }
    if let (Some(mut a), Some(b)) = (a.write_lock::<Map>(), b.read_lock::<Map>()) {
        return maps_equal(check, &mut a, &b, depth + 1);
    }
    check.call().call_native_fn_raw("==", true, &mut [a, &mut b.clone()]).map(|equal| equal.as_bool().unwrap_or(false))
}

/// Compares two items of arrays: those for which there is no `==` differ, if they are of different types.
///
/// As in Rhai, what contains such items differs as well, while items of one type are an error.
fn items_equal(check: &mut LimitCheck<'_>, a: &mut Dynamic, b: &Dynamic, depth: usize) -> RhaiResult<bool> {
    equal(check, a, b, depth).or_else(|error| match &*error {
        _ if !is_without_equality(&error) => Err(error),
        _ if a.type_id() != b.type_id() || a.is_array() || a.is_map() => Ok(false),
        _ => Err(error),
    })
}

fn is_without_equality(error: &EvalAltResult) -> bool {
    matches!(error, EvalAltResult::ErrorFunctionNotFound(signature, ..) if signature.starts_with("=="))
}

fn arrays_equal(check: &mut LimitCheck<'_>, a: &mut Array, b: &Array, depth: usize) -> RhaiResult<bool> {
    if a.len() != b.len() {
        return Ok(false);
    }
    for (a, b) in a.iter_mut().zip(b) {
        if !items_equal(check, a, b, depth)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn maps_equal(check: &mut LimitCheck<'_>, a: &mut Map, b: &Map, depth: usize) -> RhaiResult<bool> {
    if a.len() != b.len() {
        return Ok(false);
    }
    for (key, a) in a {
        match b.get(key) {
            Some(b) if equal(check, a, b, depth)? => {}
            _ => return Ok(false),
        }
    }
    Ok(true)
}

/// Returns where in an array a value stands, from a position on; -1 if nowhere.
fn position(check: &mut LimitCheck<'_>, array: &mut Array, value: &Dynamic, start: usize) -> RhaiResult<i64> {
    for (at, item) in array.iter_mut().enumerate().skip(start) {
        let found = equal(check, item, value, 0).or_else(|error| {
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
