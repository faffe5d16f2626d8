//! Searching a text for another one, in a time that grows with both lengths, not with their product.
//!
//! Boa compares at each place anew, and begins from the front for each match. For short texts that is quicker; for long
//! ones these functions do what `split`, `replace`, `replaceAll`, `includes`, `indexOf` and `lastIndexOf` do.

use boa_engine::object::builtins::JsArray;
use boa_engine::{Context, JsResult, JsString, JsSymbol, JsValue, js_string};
use kemi_core::engine::Runtime;

use super::BuiltinCall;
use crate::terminate::terminated;

/// The length up to which a text is short.
const SHORT: usize = 1 << 12;

/// How many units are looked at between two looks at the limits.
const UNITS: usize = 1 << 16;

/// A text and the pattern to find in it, where the search is worth it.
struct Task {
    text: JsString,
    pattern: JsString,
}

impl Task {
    /// Reads receiver and first argument; `None` where the built-in is to do it.
    fn read(call: &mut BuiltinCall, method: Option<JsSymbol>, context: &mut Context) -> JsResult<Option<Task>> {
        let Some(text) = call.text(context)? else { return Ok(None) };
        if text.len() <= SHORT {
            return Ok(None);
        }
        let pattern = call.arg(0);
        if let Some(object) = pattern.as_object() {
            let special = method.unwrap_or_else(JsSymbol::r#match);
            if !object.get(special, context)?.is_null_or_undefined() {
                return Ok(None);
            }
        }
        if pattern.is_undefined() {
            return Ok(None);
        }
        let pattern = pattern.to_string(context)?;
        call.set_arg(0, pattern.clone());
        Ok((!pattern.is_empty()).then_some(Task { text, pattern }))
    }

    fn positions(&self, runtime: &Runtime, backwards: bool, most: usize) -> JsResult<Vec<usize>> {
        let go_on = &mut || runtime.pending_limit().is_none();
        positions(&self.text, &self.pattern, backwards, most, go_on).ok_or_else(terminated)
    }
}

/// Finds where a text has another one, without overlaps, at most so many times; `None` if it was not to go on.
pub(crate) fn positions(
    text: &JsString,
    pattern: &JsString,
    backwards: bool,
    most: usize,
    go_on: &mut dyn FnMut() -> bool,
) -> Option<Vec<usize>> {
    let (text, pattern): (Vec<u16>, Vec<u16>) = (text.to_vec(), pattern.to_vec());
    if pattern.is_empty() || pattern.len() > text.len() {
        return Some(Vec::new());
    }
    // Backwards it is the same the other way round.
    let at =
        |units: &[u16], i: usize| if backwards { units.iter().rev().nth(i).copied() } else { units.get(i).copied() };
    // How long the longest beginning of the pattern is that ends before each place, as Knuth, Morris and Pratt found.
    let mut border = vec![0usize; pattern.len()];
    let mut length = 0;
    for i in 1..pattern.len() {
        if i % UNITS == 0 && !go_on() {
            return None;
        }
        while length > 0 && at(&pattern, i) != at(&pattern, length) {
            length = *border.get(length - 1)?;
        }
        if at(&pattern, i) == at(&pattern, length) {
            length += 1;
        }
        *border.get_mut(i)? = length;
    }
    let (mut found, mut length) = (Vec::new(), 0);
    for i in 0..text.len() {
        if found.len() >= most {
            break;
        }
        if i % UNITS == 0 && !go_on() {
            return None;
        }
        while length > 0 && at(&text, i) != at(&pattern, length) {
            length = *border.get(length - 1)?;
        }
        if at(&text, i) == at(&pattern, length) {
            length += 1;
        }
        if length == pattern.len() {
            let end = i + 1;
            found.push(if backwards { text.len() - end } else { end - length });
            length = 0;
        }
    }
    Some(found)
}

/// Finds a text in a short one, if both are texts already.
fn first_in_short(this: &JsValue, args: &[JsValue]) -> Option<Option<usize>> {
    let [pattern] = args else { return None };
    let (text, pattern) = (this.as_string()?, pattern.as_string()?);
    (text.len() <= SHORT).then(|| text.index_of(pattern.as_str(), 0))
}

/// Does what `includes` does with one text in a short one.
pub(crate) fn includes_short(this: &JsValue, args: &[JsValue]) -> Option<JsValue> {
    first_in_short(this, args).map(|first| JsValue::new(first.is_some()))
}

/// Does what `indexOf` does with one text in a short one.
pub(crate) fn index_of_short(this: &JsValue, args: &[JsValue]) -> Option<JsValue> {
    first_in_short(this, args).map(|first| first.map_or_else(|| JsValue::new(-1), |index| JsValue::new(index as u32)))
}

pub(crate) fn includes(runtime: &Runtime, call: &mut BuiltinCall, context: &mut Context) -> JsResult<Option<JsValue>> {
    let from = call.arg(1);
    let Some(task) = Task::read(call, None, context)? else { return Ok(None) };
    let first = first_from(runtime, &task, &from, context)?;
    Ok(Some(JsValue::new(first.is_some())))
}

pub(crate) fn index_of(runtime: &Runtime, call: &mut BuiltinCall, context: &mut Context) -> JsResult<Option<JsValue>> {
    // A regular expression is a text here.
    let (from, pattern) = (call.arg(1), call.arg(0));
    let Some(text) = call.text(context)? else { return Ok(None) };
    if text.len() <= SHORT {
        return Ok(None);
    }
    let pattern = pattern.to_string(context)?;
    call.args = vec![pattern.clone().into(), from.clone()];
    if pattern.is_empty() {
        return Ok(None);
    }
    let first = first_from(runtime, &Task { text, pattern }, &from, context)?;
    Ok(Some(first.map_or(JsValue::new(-1), |at| JsValue::new(at as u64))))
}

fn first_from(runtime: &Runtime, task: &Task, from: &JsValue, context: &mut Context) -> JsResult<Option<usize>> {
    let from = from.to_integer_or_infinity(context)?.clamp_finite(0, task.text.len() as i64);
    let from = usize::try_from(from).unwrap_or_default();
    let rest = Task { text: task.text.get_expect(from..), pattern: task.pattern.clone() };
    Ok(rest.positions(runtime, false, 1)?.first().map(|at| at + from))
}

pub(crate) fn last_index_of(
    runtime: &Runtime,
    call: &mut BuiltinCall,
    context: &mut Context,
) -> JsResult<Option<JsValue>> {
    let (from, pattern) = (call.arg(1), call.arg(0));
    let Some(text) = call.text(context)? else { return Ok(None) };
    if text.len() <= SHORT {
        return Ok(None);
    }
    let pattern = pattern.to_string(context)?;
    let from = from.to_number(context)?;
    call.args = vec![pattern.clone().into(), from.into()];
    if pattern.is_empty() {
        return Ok(None);
    }
    let last = text.len().saturating_sub(pattern.len());
    let last = if from.is_nan() { last } else { (from.max(0.0).min(last as f64)) as usize };
    let end = (last + pattern.len()).min(text.len());
    let head = Task { text: text.get_expect(..end), pattern };
    let found = head.positions(runtime, true, 1)?;
    Ok(Some(found.first().map_or(JsValue::new(-1), |&at| JsValue::new(at as u64))))
}

pub(crate) fn split(runtime: &Runtime, call: &mut BuiltinCall, context: &mut Context) -> JsResult<Option<JsValue>> {
    let Some(task) = Task::read(call, Some(JsSymbol::split()), context)? else { return Ok(None) };
    let limit = call.arg(1);
    let limit = if limit.is_undefined() { u32::MAX } else { limit.to_u32(context)? };
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut parts = Vec::new();
    let mut start = 0;
    for at in task.positions(runtime, false, limit)? {
        parts.push(JsValue::from(task.text.get_expect(start..at)));
        start = at + task.pattern.len();
    }
    if parts.len() < limit {
        parts.push(task.text.get_expect(start..).into());
    }
    Ok(Some(JsArray::from_iter(parts, context).into()))
}

pub(crate) fn replace(runtime: &Runtime, call: &mut BuiltinCall, context: &mut Context) -> JsResult<Option<JsValue>> {
    substitute(runtime, call, 1, context)
}

pub(crate) fn replace_all(
    runtime: &Runtime,
    call: &mut BuiltinCall,
    context: &mut Context,
) -> JsResult<Option<JsValue>> {
    substitute(runtime, call, usize::MAX, context)
}

fn substitute(
    runtime: &Runtime,
    call: &mut BuiltinCall,
    most: usize,
    context: &mut Context,
) -> JsResult<Option<JsValue>> {
    let Some(task) = Task::read(call, Some(JsSymbol::replace()), context)? else { return Ok(None) };
    let Task { text, pattern } = &task;
    let with = call.arg(1);
    let function = with.as_callable();
    let template = if function.is_some() { js_string!() } else { with.to_string(context)? };
    let mut result: Vec<u16> = Vec::new();
    let mut start = 0;
    for (i, at) in task.positions(runtime, false, most)?.into_iter().enumerate() {
        if i % 1024 == 0 && runtime.pending_limit().is_some() {
            return Err(terminated());
        }
        result.extend(text.get_expect(start..at).iter());
        match &function {
            Some(function) => {
                let args = [pattern.clone().into(), JsValue::new(at as u64), text.clone().into()];
                let with = function.call(&JsValue::undefined(), &args, context)?.to_string(context)?;
                result.extend(with.iter());
            }
            None => expand(&mut result, &template, text, pattern, at),
        }
        start = at + pattern.len();
    }
    if start == 0 && result.is_empty() {
        return Ok(Some(text.clone().into()));
    }
    result.extend(text.get_expect(start..).iter());
    Ok(Some(JsString::from(result.as_slice()).into()))
}

/// Writes a replacement: `$$`, `$&` and what is before and after the match.
fn expand(result: &mut Vec<u16>, template: &JsString, text: &JsString, pattern: &JsString, at: usize) {
    let mut units = template.iter().peekable();
    while let Some(unit) = units.next() {
        let special = (unit == u16::from(b'$')).then(|| units.peek().copied().and_then(|next| u8::try_from(next).ok()));
        match special.flatten() {
            Some(b'$') => result.push(u16::from(b'$')),
            Some(b'&') => result.extend(pattern.iter()),
            Some(b'`') => result.extend(text.get_expect(..at).iter()),
            Some(b'\'') => result.extend(text.get_expect(at + pattern.len()..).iter()),
            _ => {
                result.push(unit);
                continue;
            }
        }
        units.next();
    }
}
