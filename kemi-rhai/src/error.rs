//! Rhai's errors as the host's, and the other way round.

use kemi_core::engine::Runtime;
use kemi_core::error::Frame;
use kemi_core::registry::{Export, RegistryData};
use kemi_core::{ErrorCode, Location, NativeError, ScriptError, Value};
use rhai::{Dynamic, EvalAltResult, ImmutableString, Map, ParseError, Position};

use crate::error_object::ErrorObject;
use crate::objects::{self, Refusals};
use crate::parse::Parser;
use crate::program::{Program, is_closure, line_of};
use crate::stack::StackUse;
use crate::string;
use crate::terminate::terminated;
use crate::value::{most_arguments, plain_value};

/// Builds Rhai's error for a native error: one that `catch` gets as an [`ErrorObject`], or an end that nothing catches.
pub(crate) fn raise(runtime: &Runtime, fault: NativeError, position: Position) -> Box<EvalAltResult> {
    match fault {
        NativeError::Exit | NativeError::Drop => terminated(position),
        NativeError::Error(error) => {
            // The script keeps a copy, which is its own.
            let object = ErrorObject::new(error.clone());
            runtime.host_side(|| drop(error));
            EvalAltResult::ErrorRuntime(Dynamic::from(object), position).into()
        }
    }
}

/// Describes a script that does not parse.
pub(crate) fn unparsed(parser: &Parser, file: &str, error: &ParseError) -> ScriptError {
    let mut described = syntax_error(file, error);
    if let Some(message) = parser.take_refusal() {
        described.message = message;
    }
    described
}

/// Describes what Rhai's own parser did not take.
pub(crate) fn syntax_error(file: &str, error: &ParseError) -> ScriptError {
    at(ScriptError::new(ErrorCode::Syntax, error.err_type().to_string()), place(file, error.position()))
}

/// Describes a text that parses, but cannot mean what its author wants.
pub(crate) fn refused(file: &str, position: Position, message: String) -> ScriptError {
    at(ScriptError::new(ErrorCode::Syntax, message), place(file, position))
}

/// What to do where Rhai finds a variable in use.
const IN_USE: &str = "a variable that a closure has captured cannot be used while a function is called on it: call that on a copy, \
                      `let copy = variable;`";

/// The parts of an interpreter that describe errors of its script.
#[derive(Clone, Copy)]
pub(crate) struct ErrorContext<'a> {
    registry: &'a RegistryData,
    parser: &'a Parser,
    stack: &'a StackUse,
    program: &'a Program,
    refusals: &'a Refusals,
}

impl<'a> ErrorContext<'a> {
    pub(crate) fn new(
        registry: &'a RegistryData,
        parser: &'a Parser,
        stack: &'a StackUse,
        program: &'a Program,
        refusals: &'a Refusals,
    ) -> ErrorContext<'a> {
        ErrorContext { registry, parser, stack, program, refusals }
    }

    /// Describes an error that came out of the script, with its place and traceback.
    ///
    /// `file` is where the outermost code is, `function` its name; none if the host called the outermost function itself.
    pub(crate) fn describe(&self, mut error: EvalAltResult, file: &str, function: Option<&str>) -> ScriptError {
        let mut file = file.to_owned();
        let mut function = function.map(str::to_owned);
        let mut frames = Vec::new();
        let mut push = |function: Option<String>, place: Option<Location>| {
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
        let mut error = at(self.reason(innermost), place);
        // An error of a nested callback brings its own frames, further in than these.
        error.traceback.append(&mut frames);
        error
    }

    fn reason(&self, error: EvalAltResult) -> ScriptError {
        let (code, message) = match error {
            EvalAltResult::ErrorRuntime(thrown, _) => return thrown_error(&thrown),
            EvalAltResult::ErrorParsing(kind, _) => {
                (ErrorCode::Syntax, self.parser.take_refusal().unwrap_or_else(|| kind.to_string()))
            }
            EvalAltResult::ErrorStackOverflow(_) => return self.stack_overflow(),
            EvalAltResult::ErrorTerminated(..) if self.stack.take_overflown() => return self.stack_overflow(),
            mut other => {
                if let Some(error) = self.unknown_name(&other) {
                    return error;
                }
                // The place has its own field.
                other.clear_position();
                if matches!(other, EvalAltResult::ErrorDataRace(..)) {
                    return ScriptError::new(ErrorCode::Runtime, other.to_string()).with_hint(IN_USE);
                }
                (ErrorCode::Runtime, objects::with_type_name(other.to_string()))
            }
        };
        ScriptError::new(code, message)
    }

    fn unknown_name(&self, error: &EvalAltResult) -> Option<ScriptError> {
        match error {
            EvalAltResult::ErrorFunctionNotFound(signature, _) => {
                self.no_function(signature).or_else(|| self.no_method(signature))
            }
            EvalAltResult::ErrorDotExpr(message, _) | EvalAltResult::ErrorIndexingType(message, _) => {
                self.refusals.explain_assignment(message)
            }
            EvalAltResult::ErrorVariableNotFound(name, _) => self.no_variable(name),
            _ => None,
        }
    }

    /// Explains a call of a function of the root that Rhai did not find: its signature is `root::module::name (i64, bool)`.
    fn no_function(&self, signature: &str) -> Option<ScriptError> {
        let registry = self.registry;
        let (path, types) = signature.split_once(" (").unwrap_or((signature, ""));
        let names = names_below_root(registry, path)?;
        let export = match find(registry, &names) {
            Found::Export(export) => export,
            Found::Constant(scope) => {
                return Some(no_call(registry, &names, if scope { "a map" } else { "a constant" }));
            }
            Found::Module => return Some(no_call(registry, &names, "a module")),
            Found::Unknown(error) => return Some(error),
        };
        let given = types.split(", ").count();
        let message = format!("takes at most {} arguments in Rhai, got {given}", most_arguments(export));
        let mut error = ScriptError::new(ErrorCode::ArgumentCount, message);
        error.export = Some(registry.script_name(export.def()));
        Some(error)
    }

    /// Explains a call of a function of a class that Rhai did not find: its signature is `name (Object, i64)`.
    fn no_method(&self, signature: &str) -> Option<ScriptError> {
        let name = signature.split(" (").next().unwrap_or(signature);
        // A function of the script's own may only have been called with another number of arguments.
        let unbound =
            || self.program.function(name).is_none().then(|| objects::without_object(self.registry, name)).flatten();
        self.refusals.explain_call(self.registry, signature).or_else(unbound)
    }

    fn no_variable(&self, name: &str) -> Option<ScriptError> {
        let registry = self.registry;
        let root = registry.root();
        if name == root {
            let message = format!("{root} must be followed by a dot and a name");
            return Some(ScriptError::new(ErrorCode::UnknownFunction, message));
        }
        if let Some(names) = names_below_root(registry, name) {
            return match find(registry, &names) {
                Found::Export(export) => {
                    let name = registry.script_name(export.def());
                    let error =
                        ScriptError::new(ErrorCode::UnknownFunction, format!("{name} is a function, not a value"));
                    Some(error.with_hint(format!("call it: {name}(…)")))
                }
                Found::Unknown(error) => Some(error),
                Found::Constant(_) | Found::Module => None,
            };
        }
        self.program.is_variable(name).then(|| {
            ScriptError::new(ErrorCode::Runtime, format!("there is no variable '{name}' here"))
                .with_hint("functions see only their parameters and constants of the top level, made with `const`")
        })
    }

    fn stack_overflow(&self) -> ScriptError {
        let most = match self.registry.limits().max_depth {
            0 => "more than the thread's stack has room for".to_owned(),
            levels => format!("more than {levels} calls (max_depth), or fewer inside large expressions"),
        };
        let message = format!("the script's functions call each other too deep: {most}");
        ScriptError::new(ErrorCode::StackOverflow, message)
            .with_hint("look for a function that calls itself without end")
    }
}

/// Describes what a script threw: an error of a native function as it was, or with what the script has put around it.
fn thrown_error(thrown: &Dynamic) -> ScriptError {
    let raised = |value: &Dynamic| value.read_lock::<ErrorObject>().map(|raised| raised.clone());
    if let Some(raised) = raised(thrown) {
        let text = string::readable(raised.text());
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

/// Describes what a script threw.
fn thrown_text(thrown: &Dynamic) -> String {
    if let Some(text) = thrown.read_lock::<ImmutableString>() {
        return string::readable(&text);
    }
    // What `catch` gives for Rhai's own errors, thrown again.
    if let Some(map) = thrown.read_lock::<Map>()
        && let Some(text) = map.get("message").and_then(|message| message.read_lock::<ImmutableString>())
        && (map.contains_key("error") || map.contains_key("cause"))
    {
        return string::readable(&text);
    }
    match plain_value(thrown) {
        Ok(value) => format!("the script threw {value}"),
        Err(_) => format!("the script threw a value of type {}", thrown.type_name()),
    }
}

fn readable(name: String) -> String {
    if is_closure(&name) { "closure".to_owned() } else { name }
}

/// What a path below the root stands for.
enum Found<'a> {
    Export(&'a Export),
    /// A constant, and whether it has names within it.
    Constant(bool),
    Module,
    /// Nothing, with the explanation.
    Unknown(ScriptError),
}

/// Finds what a path below the root stands for.
fn find<'a>(registry: &'a RegistryData, names: &[&str]) -> Found<'a> {
    let mut module = registry.module();
    for (i, name) in names.iter().enumerate() {
        if let Some(child) = module.modules().iter().find(|child| child.name() == *name) {
            module = child;
            continue;
        }
        match registry.find(module.path(), name) {
            Some(export) if export.def().is_function() => return Found::Export(export),
            Some(export) => {
                let message = format!("{} is reached through an object only", registry.script_name(export.def()));
                return Found::Unknown(ScriptError::new(ErrorCode::UnknownFunction, message));
            }
            None => {}
        }
        if let Some(constant) = module.constants().iter().find(|constant| constant.def().name == *name) {
            return find_within(registry, names, i, constant.value());
        }
        return Found::Unknown(unknown(registry, names, i));
    }
    Found::Module
}

/// Finds what the names behind a constant stand for.
fn find_within<'a>(registry: &'a RegistryData, names: &[&str], constant: usize, value: &Value) -> Found<'a> {
    let mut value = value;
    for (i, name) in names.iter().enumerate().skip(constant + 1) {
        match value.get(name) {
            Some(within) => value = within,
            None => return Found::Unknown(unknown(registry, names, i)),
        }
    }
    Found::Constant(value.as_map().is_some())
}

/// Explains the first name of a path that stands for nothing.
fn unknown(registry: &RegistryData, names: &[&str], at: usize) -> ScriptError {
    let path = |count: usize| names.get(..count).unwrap_or_default().join(".");
    if let Some(off) = (1..=names.len()).map(path).find(|path| registry.disabled_modules().any(|off| off == *path)) {
        return registry.explain_unknown(&off, None);
    }
    let name = names.get(at).copied().unwrap_or_default();
    match at {
        0 => registry.explain_unknown(name, names.get(1).copied()),
        _ => registry.explain_unknown(&path(at), Some(name)),
    }
}

/// Explains the call of something that is no function.
fn no_call(registry: &RegistryData, names: &[&str], what: &str) -> ScriptError {
    let path = format!("{}.{}", registry.root(), names.join("."));
    ScriptError::new(ErrorCode::UnknownFunction, format!("{path} is {what}, not a function"))
}

/// Splits a name of Rhai's, such as `root::module::name`, into the names after the root.
fn names_below_root<'a>(registry: &RegistryData, path: &'a str) -> Option<Vec<&'a str>> {
    Some(path.strip_prefix(registry.root())?.strip_prefix("::")?.split("::").collect())
}

fn place(file: &str, position: Position) -> Option<Location> {
    Some(Location { file: file.to_owned(), line: line_of(position)? })
}

fn at(mut error: ScriptError, place: Option<Location>) -> ScriptError {
    if error.place.is_none() {
        error.place = place;
    }
    error
}
