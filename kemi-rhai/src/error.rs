//! Rhai's errors as the host's, and the other way round.

use kemi_core::{ErrorCode, Fault, Frame, Place, Runtime, ScriptError};
use rhai::{Dynamic, EvalAltResult, ImmutableString, Map, ParseError, Position};

use crate::bind::{most_arguments, split_path};
use crate::error_object::Raised;
use crate::interpreter::{Shared, line_of};
use crate::string;
use crate::value::to_value;

/// Makes what Rhai raises for a fault: an error that `catch` gets as a [`Raised`], or an end that nothing catches.
pub(crate) fn raise(runtime: &Runtime, fault: Fault, position: Position) -> Box<EvalAltResult> {
    Box::new(match fault {
        Fault::Exit | Fault::Drop => EvalAltResult::ErrorTerminated(Dynamic::UNIT, position),
        Fault::Error(error) => {
            // The script keeps a copy, which is its own.
            let raised = Raised::new(error.clone());
            runtime.host_side(|| drop(error));
            EvalAltResult::ErrorRuntime(Dynamic::from(raised), position)
        }
    })
}

/// Describes a script that does not parse.
pub(crate) fn syntax(shared: &Shared, file: &str, error: &ParseError) -> ScriptError {
    let refused = shared.tokens.take_refused();
    shared.tokens.reset();
    let mut described = syntax_error(file, error);
    if let Some(message) = refused {
        described.message = message;
    }
    described
}

/// Describes what Rhai's own parser did not take.
pub(crate) fn syntax_error(file: &str, error: &ParseError) -> ScriptError {
    at(ScriptError::new(ErrorCode::Syntax, error.err_type().to_string()), place(file, error.position()))
}

/// Describes an error that came out of the script, with its place and traceback.
///
/// `file` is where the outermost code is, `function` its name; none if the host called the outermost function itself.
pub(crate) fn describe(shared: &Shared, mut error: EvalAltResult, file: &str, function: Option<&str>) -> ScriptError {
    let mut file = file.to_owned();
    let mut function = function.map(str::to_owned);
    let mut frames = Vec::new();
    let mut push = |function: Option<String>, place: Option<Place>| {
        frames.extend(function.map(|function| Frame { function, place }));
    };
    let innermost = loop {
        match error {
            EvalAltResult::ErrorInFunctionCall(name, source, inner, position) => {
                push(function.take(), place(&file, position));
                function = Some(readable(name));
                if !source.is_empty() {
                    file = source;
                }
                error = *inner;
            }
            EvalAltResult::ErrorInModule(path, inner, position) => {
                push(function.take(), place(&file, position));
                function = Some(format!("module {path}"));
                file = path;
                error = *inner;
            }
            innermost => break innermost,
        }
    };
    let place = place(&file, innermost.position());
    push(function, place.clone());
    frames.reverse();
    let mut error = at(reason(shared, innermost), place);
    // An error of a nested callback brings its own frames, further in than these.
    error.traceback.append(&mut frames);
    error
}

fn reason(shared: &Shared, error: EvalAltResult) -> ScriptError {
    let (code, message) = match error {
        EvalAltResult::ErrorRuntime(thrown, _) => return thrown_error(&thrown),
        EvalAltResult::ErrorParsing(kind, _) => {
            let message = shared.tokens.take_refused().unwrap_or_else(|| kind.to_string());
            shared.tokens.reset();
            (ErrorCode::Syntax, message)
        }
        EvalAltResult::ErrorStackOverflow(_) => return stack_overflow(shared),
        EvalAltResult::ErrorTerminated(..) if shared.stack.take_overflown() => return stack_overflow(shared),
        mut other => {
            if let Some(error) = unknown_name(shared, &other) {
                return error;
            }
            // The place has its own field.
            other.clear_position();
            (ErrorCode::Runtime, other.to_string())
        }
    };
    ScriptError::new(code, message)
}

fn unknown_name(shared: &Shared, error: &EvalAltResult) -> Option<ScriptError> {
    match error {
        EvalAltResult::ErrorFunctionNotFound(signature, _) => no_function(shared, signature),
        EvalAltResult::ErrorVariableNotFound(name, _) => no_variable(shared, name),
        _ => None,
    }
}

/// Explains a call of a function of the root that Rhai did not find: its signature is `KSR::pv::gte (i64, bool)`.
fn no_function(shared: &Shared, signature: &str) -> Option<ScriptError> {
    let registry = shared.runtime.registry();
    let (path, types) = signature.split_once(" (").unwrap_or((signature, ""));
    let (first, second) = split_path(registry, path)?;
    let (module, function) = second.map_or(("", first), |second| (first, second));
    let Some(export) = registry.find(module, function) else {
        return Some(registry.explain_unknown(first, second));
    };
    let given = types.split(", ").count();
    let message = format!("takes at most {} arguments in Rhai, got {given}", most_arguments(export));
    let mut error = ScriptError::new(ErrorCode::ArgumentCount, message);
    error.export = Some(registry.script_name(export.def()));
    Some(error)
}

fn no_variable(shared: &Shared, name: &str) -> Option<ScriptError> {
    let registry = shared.runtime.registry();
    let root = registry.root();
    if name == root {
        let message = format!("{root} must be followed by a dot and a name");
        return Some(ScriptError::new(ErrorCode::UnknownFunction, message));
    }
    if let Some((first, second)) = split_path(registry, name) {
        let (module, function) = second.map_or(("", first), |second| (first, second));
        return Some(match registry.find(module, function) {
            Some(export) => {
                let name = registry.script_name(export.def());
                ScriptError::new(ErrorCode::UnknownFunction, format!("{name} is a function, not a value"))
                    .with_hint(format!("call it: {name}(…)"))
            }
            None => registry.explain_unknown(first, second),
        });
    }
    shared.is_global(name).then(|| {
        ScriptError::new(ErrorCode::Runtime, format!("there is no variable '{name}' here"))
            .with_hint("functions see only their parameters and constants of the top level, made with `const`")
    })
}

fn stack_overflow(shared: &Shared) -> ScriptError {
    let most = match shared.runtime.registry().limits().max_depth {
        0 => "more than the thread's stack has room for".to_owned(),
        levels => format!("more than {levels} calls (max_depth), or fewer inside large expressions"),
    };
    let message = format!("the script's functions call each other too deep: {most}");
    ScriptError::new(ErrorCode::StackOverflow, message).with_hint("look for a function that calls itself without end")
}

/// Describes what a script threw: an error of a native function as it was, or with what the script has put around it.
fn thrown_error(thrown: &Dynamic) -> ScriptError {
    let raised = |value: &Dynamic| value.read_lock::<Raised>().map(|raised| raised.clone());
    if let Some(raised) = raised(thrown) {
        let text = readable_text(raised.text());
        return match raised.into_parts() {
            (error, false) => error,
            (error, true) => caused(text, error),
        };
    }
    let mut error = ScriptError::new(ErrorCode::Runtime, thrown_text(thrown));
    if let Some(map) = thrown.read_lock::<Map>() {
        let cause = map.get("cause").and_then(raised).or_else(|| map.values().find_map(raised));
        error.cause = cause.map(|raised| Box::new(raised.into_parts().0));
    }
    error
}

fn caused(message: String, cause: ScriptError) -> ScriptError {
    let mut error = ScriptError::new(ErrorCode::Runtime, message);
    error.cause = Some(Box::new(cause));
    error
}

fn readable_text(text: &str) -> String {
    String::from_utf8_lossy(&string::decode(text)).into_owned()
}

/// Describes what a script threw.
fn thrown_text(thrown: &Dynamic) -> String {
    if let Some(text) = thrown.read_lock::<ImmutableString>() {
        return readable_text(&text);
    }
    // What `catch` gives for Rhai's own errors, thrown again.
    if let Some(map) = thrown.read_lock::<Map>()
        && let Some(text) = map.get("message").and_then(|message| message.read_lock::<ImmutableString>())
        && (map.contains_key("error") || map.contains_key("cause"))
    {
        return readable_text(&text);
    }
    match to_value(thrown) {
        Ok(value) => format!("the script threw {value}"),
        Err(_) => format!("the script threw a value of type {}", thrown.type_name()),
    }
}

fn readable(name: String) -> String {
    if rhai_closure(&name) { "closure".to_owned() } else { name }
}

/// Rhai names closures `anon$` and a hash.
fn rhai_closure(name: &str) -> bool {
    name.starts_with("anon$")
}

fn place(file: &str, position: Position) -> Option<Place> {
    Some(Place { file: file.to_owned(), line: line_of(position)? })
}

fn at(mut error: ScriptError, place: Option<Place>) -> ScriptError {
    if error.place.is_none() {
        error.place = place;
    }
    error
}
