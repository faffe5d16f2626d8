//! The object that a script catches for an error of a native function: it reads as a text and carries the error.

use std::rc::Rc;

use kemi_core::ScriptError;
use rhai::{Dynamic, Engine, EvalAltResult, EvalContext, ImmutableString, Position};

use crate::string;

/// The error of a native function in the hands of a script, or a text that the script has put around it.
///
/// It is recognised at the end by what it is, not by what it says: an error that the script has dealt with is never taken
/// for another one.
#[derive(Clone, Debug)]
pub(crate) struct ErrorObject {
    text: ImmutableString,
    error: Rc<ScriptError>,
    /// Whether the text is the script's.
    wrapped: bool,
}

impl ErrorObject {
    pub(crate) fn new(error: ScriptError) -> ErrorObject {
        let text = match &error.export {
            Some(export) => format!("{export}: {}", error.message),
            None => error.message.clone(),
        };
        ErrorObject { text: string::encode(text.as_bytes()).as_ref().into(), error: Rc::new(error), wrapped: false }
    }

    /// Returns the text that the script reads.
    pub(crate) fn text(&self) -> &ImmutableString {
        &self.text
    }

    /// Returns the error, and whether the script has put words of its own around it.
    pub(crate) fn into_parts(self) -> (ScriptError, bool) {
        (Rc::unwrap_or_clone(self.error), self.wrapped)
    }

    fn within(&self, before: &str, after: &str) -> ErrorObject {
        let text = format!("{before}{}{after}", self.text).into();
        ErrorObject { text, error: self.error.clone(), wrapped: true }
    }
}

/// Lets scripts use such an error as the text that it was before it became an object.
pub(crate) fn install(engine: &mut Engine) {
    engine.register_type_with_name::<ErrorObject>("Error");
    engine
        .register_get("message", |error: &mut ErrorObject| error.text.clone())
        .register_get("len", |error: &mut ErrorObject| int(error.text.chars().count()))
        .register_get("bytes", |error: &mut ErrorObject| int(error.text.len()))
        .register_get("is_empty", |error: &mut ErrorObject| error.text.is_empty());
    for name in ["to_string", "print", "to_debug", "debug"] {
        engine.register_fn(name, |error: &mut ErrorObject| error.text.clone());
    }
    engine
        .register_fn("+", |before: ImmutableString, error: ErrorObject| error.within(&before, ""))
        .register_fn("+", |error: ErrorObject, after: ImmutableString| error.within("", &after))
        .register_fn("+", |before: char, error: ErrorObject| error.within(before.encode_utf8(&mut [0; 4]), ""))
        .register_fn("+", |error: ErrorObject, after: char| error.within("", after.encode_utf8(&mut [0; 4])))
        .register_fn("+", |before: ErrorObject, after: ErrorObject| before.within("", &after.text))
        .register_fn("+=", |error: &mut ErrorObject, after: ImmutableString| *error = error.within("", &after))
        .register_fn("==", |a: ErrorObject, b: ErrorObject| a.text == b.text)
        .register_fn("!=", |a: ErrorObject, b: ErrorObject| a.text != b.text)
        .register_fn("==", |a: ErrorObject, b: ImmutableString| a.text == b)
        .register_fn("!=", |a: ErrorObject, b: ImmutableString| a.text != b)
        .register_fn("==", |a: ImmutableString, b: ErrorObject| a == b.text)
        .register_fn("!=", |a: ImmutableString, b: ErrorObject| a != b.text);
    engine.register_indexer_get(|error: &mut ErrorObject, index: i64| -> Result<char, Box<EvalAltResult>> {
        let count = error.text.chars().count();
        let from_end = usize::try_from(index.unsigned_abs()).ok().and_then(|index| count.checked_sub(index));
        let position = if index < 0 { from_end } else { usize::try_from(index).ok() };
        position
            .and_then(|position| error.text.chars().nth(position))
            .ok_or_else(|| EvalAltResult::ErrorStringBounds(count, index, Position::NONE).into())
    });
    // All that there is for strings, now and in later versions of Rhai, need not be listed here.
    #[allow(deprecated)]
    engine.on_missing_function(|name, args, _is_method, mut context| as_text(name, args, &mut context));
}

/// Calls a function that there is none of for such an error with its text instead.
///
/// Rhai also asks after a function that failed; of those that take a text or such an error first, none changes anything.
#[cold]
pub(crate) fn as_text(
    name: &str,
    args: &mut [&mut Dynamic],
    context: &mut EvalContext<'_, '_, '_, '_, '_, '_>,
) -> Found {
    let about_text = args.first().is_some_and(|first| first.is::<ErrorObject>() || first.is_string());
    if !about_text || !args.iter().any(|arg| arg.is::<ErrorObject>()) {
        return Ok(None);
    }
    let text_of = |arg: &Dynamic| match arg.read_lock::<ErrorObject>() {
        Some(error) => Dynamic::from(error.text.clone()),
        None => arg.clone(),
    };
    let mut texts: Vec<Dynamic> = args.iter().map(|arg| text_of(arg)).collect();
    let mut texts: Vec<&mut Dynamic> = texts.iter_mut().collect();
    match context.call_native_fn_raw(name, false, &mut texts) {
        Err(error) if matches!(*error, EvalAltResult::ErrorFunctionNotFound(..)) => Ok(None),
        result => result.map(Some),
    }
}

type Found = Result<Option<Dynamic>, Box<EvalAltResult>>;

fn int(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
