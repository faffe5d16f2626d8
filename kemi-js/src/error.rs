//! Exceptions of JavaScript as [`ScriptError`]s with place and traceback, and the way back.

use std::cell::RefCell;
use std::rc::Rc;

use boa_engine::builtins::error::Error;
use boa_engine::builtins::function::OrdinaryFunction;
use boa_engine::error::{EngineError, RuntimeLimitError};
use boa_engine::object::JsObject;
use boa_engine::object::builtins::JsWeakMap;
use boa_engine::{Context, JsData, JsError, JsNativeError, JsValue, js_string};
use boa_gc::{Finalize, Trace};
use kemi_core::engine::Runtime;
use kemi_core::error::Frame;
use kemi_core::{CallbackId, ErrorCode, Location, ScriptError};

use crate::call::ContextLimits;
use crate::source::{ENGINE_FILE, SLICES_FILE, SourceTexts};
use crate::value::{self, error_text};
use crate::{stack, string};

/// How deep the classes of errors may derive from each other to be told from the code that uses them.
const MAX_CLASSES: usize = 8;

/// How many errors of a script may be wrapped around one of the host.
const MAX_CAUSES: usize = 16;

/// The state from which the errors of one interpreter are described.
pub(crate) struct Diagnostics {
    runtime: Rc<Runtime>,
    texts: RefCell<SourceTexts>,
    /// The last unknown name that was looked up.
    unknown: RefCell<String>,
    /// The getter of an error's `stack`.
    stack_getter: RefCell<Option<JsObject>>,
    /// `Function.prototype.toString`.
    function_text: RefCell<Option<JsObject>>,
    /// The errors of the host that error objects carry.
    carriers: RefCell<Option<JsWeakMap>>,
}

impl Diagnostics {
    pub(crate) fn new(runtime: Rc<Runtime>) -> Diagnostics {
        Diagnostics {
            runtime,
            texts: RefCell::default(),
            unknown: RefCell::default(),
            stack_getter: RefCell::default(),
            function_text: RefCell::default(),
            carriers: RefCell::default(),
        }
    }

    /// Looks up the functions by which places are found, before a script can change them.
    pub(crate) fn install(&self, context: &mut Context) {
        let error = context.intrinsics().constructors().error().prototype();
        let stack = error.borrow().properties().get(&js_string!("stack").into());
        self.stack_getter.replace(stack.and_then(|stack| stack.get().and_then(JsValue::as_object)));
        let function = context.intrinsics().constructors().function().prototype();
        let text = function.borrow().properties().get(&js_string!("toString").into());
        self.function_text.replace(text.and_then(|text| text.value().and_then(JsValue::as_object)));
    }

    /// Drops all objects.
    pub(crate) fn clear(&self) {
        self.stack_getter.take();
        self.function_text.take();
        self.carriers.take();
    }

    /// Notes the text of a loaded file.
    pub(crate) fn add_text(&self, file: &str, text: &str) {
        self.texts.borrow_mut().insert(file, text);
    }

    /// Notes that the script looked up a name that does not exist.
    pub(crate) fn note_unknown(&self, module: &str, function: Option<&str>) {
        self.runtime.note_unknown(module, function);
        function.unwrap_or(module).clone_into(&mut self.unknown.borrow_mut());
    }

    /// Returns where a callback is defined.
    pub(crate) fn definition(&self, callback: CallbackId) -> Option<Location> {
        self.texts.borrow().definition(&self.runtime.registry().callback_name(callback)?)
    }

    /// Returns where a function of the script is defined, by its text: Boa does not tell the line.
    pub(crate) fn place_of(&self, function: &JsObject, context: &mut Context) -> Option<Location> {
        let file = function.downcast_ref::<OrdinaryFunction>()?.codeblock().path().to_string();
        let to_text = self.function_text.borrow().clone()?;
        let text = to_text.call(&function.clone().into(), &[], context).ok()?;
        self.texts.borrow().line_of(&file, &string::lossy(&text.as_string()?))
    }

    /// Returns where the script is, while a native function of it runs.
    pub(crate) fn place(&self, limits: &ContextLimits, context: &mut Context) -> Option<Location> {
        self.trace(limits, context)?.place()
    }

    /// Returns where the script reads a member of an object. Boa keeps no position of reading what is called then.
    #[cold]
    pub(crate) fn place_of_member(
        &self,
        name: &str,
        limits: &ContextLimits,
        context: &mut Context,
    ) -> Option<Location> {
        let mut trace = self.trace(limits, context)?;
        let place = trace.place()?;
        let texts = self.texts.borrow();
        let is_called = |after| matches!(after, Some('(' | '?' | '`'));
        if texts.is_vague(&place, trace.column())
            && let Some(line) = texts.find(&format!(".{name}"), &place, is_called)
        {
            trace.set_line(line);
        }
        trace.place()
    }

    fn trace(&self, limits: &ContextLimits, context: &mut Context) -> Option<Backtrace> {
        let stack_getter = self.stack_getter.borrow().clone()?;
        let error = context.intrinsics().constructors().error().constructor();
        // As in `CallFrame::in_own_frame`. No code of the script runs here, so nothing else can fail.
        let outside = limits.get();
        limits.raise(context);
        let error = error.construct(&[], None, context);
        let stack = error.and_then(|error| stack_getter.call(&error.into(), &[], context));
        limits.set(outside, context);
        let stack = string::lossy(&stack.ok()?.as_string()?);
        Some(Backtrace::read(&stack))
    }

    /// Describes an error that no script has caught.
    pub(crate) fn script_error(&self, error: JsError, context: &mut Context) -> ScriptError {
        let mut trace = Backtrace::read(&backtrace_text(&error));
        let mut result = match (error.as_engine(), error.as_opaque()) {
            (Some(error), _) => match limit(error) {
                Some(_) if stack::has_overflowed() => limit_reached(RuntimeLimitError::Recursion),
                Some(limit) => limit_reached(limit),
                None => ScriptError::new(ErrorCode::Runtime, format!("internal error of the engine: {error}")),
            },
            (None, Some(thrown)) => match thrown.as_object() {
                Some(object) if object.is::<Error>() => {
                    let text = error_text(&object, context);
                    let carried = self.carried(&object, context);
                    trace.skip_constructors(&object, context);
                    match carried {
                        Some((error, said)) if said == text => {
                            self.sharpen(&mut trace, &error);
                            error
                        }
                        carried => {
                            let mut error = self.uncaught(text, &mut trace);
                            let cause = carried.map(|(error, _)| error).or_else(|| self.cause_of(&object, context));
                            error.cause = cause.map(Box::new);
                            error
                        }
                    }
                }
                _ => {
                    let kind = thrown.js_type_of().to_std_string_lossy();
                    let text = format!("the script threw {} ({kind})", shortened(value::describe(thrown, context)));
                    ScriptError::new(ErrorCode::Runtime, text)
                }
            },
            (None, None) => {
                let text = error.as_native().map(|native| match native.message() {
                    "" => native.kind().to_string(),
                    message => format!("{}: {message}", native.kind()),
                });
                self.uncaught(text.unwrap_or_else(|| error.to_string()), &mut trace)
            }
        };
        if result.place.is_none() {
            result.place = trace.place();
        }
        if result.traceback.is_empty() {
            result.traceback = trace.frames;
        }
        result
    }

    /// Makes an error object that carries an error of the host: it comes out as it went in, unless the script has changed
    /// what it says.
    #[cold]
    pub(crate) fn carry(&self, native: JsNativeError, error: ScriptError, context: &mut Context) -> JsError {
        let raised = JsError::from(native);
        let Ok(value) = raised.into_opaque(context) else {
            return JsNativeError::error().with_message(text_of(&error)).into();
        };
        if let Some(object) = value.as_object() {
            let text = error_text(&object, context);
            let carried = JsObject::from_proto_and_data(None, CarriedError { error, text }).upcast();
            // It fails for no object that was just made.
            drop(self.carriers(context).set(&object, carried.into(), context));
        }
        JsError::from_opaque(value)
    }

    /// Finds the error that an error object carries, and what it said at first.
    fn carried(&self, object: &JsObject, context: &mut Context) -> Option<(ScriptError, String)> {
        let carried = self.carriers(context).get(object, context).ok()?.as_object()?;
        let carried = carried.downcast_ref::<CarriedError>()?;
        Some((carried.error.clone(), carried.text.clone()))
    }

    #[cold]
    fn carriers(&self, context: &mut Context) -> JsWeakMap {
        self.carriers.borrow_mut().get_or_insert_with(|| JsWeakMap::new(context)).clone()
    }

    /// Finds the error of the host that one of a script's own names as its cause.
    fn cause_of(&self, object: &JsObject, context: &mut Context) -> Option<ScriptError> {
        let mut object = object.clone();
        for _ in 0..MAX_CAUSES {
            // Not by a getter: it is none of the script's business any more.
            let slot = object.borrow().properties().get(&js_string!("cause").into());
            object = slot?.value()?.as_object()?;
            if let Some((error, _)) = self.carried(&object, context) {
                return Some(error);
            }
        }
        None
    }

    /// Gives a trace the line of an error of the host, where Boa does not tell it.
    fn sharpen(&self, trace: &mut Backtrace, error: &ScriptError) {
        if let (Some(vague), Some(place)) = (trace.place(), &error.place)
            && vague.file == place.file
            && self.texts.borrow().is_vague(&vague, trace.column())
        {
            trace.set_line(place.line);
        }
    }

    /// Describes an error by its text, and finds its line where Boa does not tell it.
    fn uncaught(&self, text: String, trace: &mut Backtrace) -> ScriptError {
        let Some(place) = trace.place() else { return ScriptError::new(ErrorCode::Runtime, text) };
        let texts = self.texts.borrow();
        let is_vague = texts.is_vague(&place, trace.column());
        if is_vague
            && let Some(name) = not_defined(&text)
            && let Some(line) = texts.find(name, &place, |_| true)
        {
            trace.set_line(line);
            return ScriptError::new(ErrorCode::Runtime, text);
        }
        let explained = if says_undefined(&text) { self.runtime.explain_missing() } else { None };
        if let Some(explained) = explained {
            let unknown = self.unknown.borrow();
            let line = if is_vague {
                // Only what goes on to use the module is meant, not the question whether it is there.
                texts.find(&unknown, &place, |after| matches!(after, Some('.' | '[')))
            } else {
                // The place of a call is where its expression begins, which may go on on the next lines.
                let line = texts.find(&unknown, &place, |_| true);
                line.filter(|&line| line <= place.line.saturating_add(2))
            };
            if let Some(line) = line {
                trace.set_line(line);
                return explained;
            }
            // The name may have been looked up elsewhere, and for a reason: scripts ask whether a module exists.
            let hint = match &explained.hint {
                Some(hint) => format!("{}; {hint}", explained.message),
                None => explained.message.clone(),
            };
            let hint = format!("perhaps because of what was looked up before: {hint}");
            return ScriptError::new(ErrorCode::Runtime, text).with_hint(hint);
        }
        let of_nothing = text.ends_with("cannot convert 'null' or 'undefined' to object");
        let error = ScriptError::new(ErrorCode::Runtime, text);
        match is_vague {
            _ if of_nothing => error.with_hint("what stands before the dot or bracket is null or undefined"),
            true => error.with_hint("the line is where the function begins; the engine does not tell more"),
            false => error,
        }
    }
}

/// The error of the host that an error object carries.
#[derive(Trace, Finalize, JsData)]
struct CarriedError {
    #[unsafe_ignore_trace]
    error: ScriptError,
    /// The message of the error object at first.
    #[unsafe_ignore_trace]
    text: String,
}

/// Returns the message that a script reads of an error of the host.
pub(crate) fn text_of(error: &ScriptError) -> String {
    match &error.export {
        Some(export) => format!("{export}: {}", error.message),
        None => error.message.clone(),
    }
}

/// Describes a script that does not parse.
pub(crate) fn syntax_error(error: &JsError, name: &str, code: &str) -> ScriptError {
    let text = error.as_native().map_or_else(|| error.to_string(), |native| native.message().to_owned());
    unparsed(&text, name, code)
}

/// Describes a message of the parser.
pub(crate) fn unparsed(text: &str, name: &str, code: &str) -> ScriptError {
    let last = u32::try_from(code.lines().count().max(1)).unwrap_or(u32::MAX);
    let (message, line) = match position(text) {
        Some((message, line, column)) if line <= last => (format!("{message} (column {column})"), line),
        // What is put around a module goes on after its end.
        Some((message, ..)) => (message.to_owned(), last),
        // Only the end of the text has no position.
        None if text.ends_with("abrupt end") => {
            let error = ScriptError::new(ErrorCode::Syntax, "the text ends in the middle of something").at(name, last);
            return error.with_hint("a brace, bracket, parenthesis or quote is not closed");
        }
        None => (text.to_owned(), last),
    };
    let error = ScriptError::new(ErrorCode::Syntax, message).at(name, line);
    let first = code.lines().nth(line.saturating_sub(1) as usize).and_then(|line| line.split_whitespace().next());
    match first {
        Some("import" | "export") => error.with_hint("modules are loaded by `require` and export by `module.exports`"),
        _ => error,
    }
}

/// The frames of a backtrace, innermost first; those of the engine itself are left out.
#[derive(Default)]
struct Backtrace {
    frames: Vec<Frame>,
    columns: Vec<Option<u32>>,
    /// How many frames only construct the error.
    skipped: usize,
}

impl Backtrace {
    fn read(backtrace: &str) -> Backtrace {
        let mut trace = Backtrace::default();
        for line in backtrace.lines() {
            let Some(line) = line.strip_prefix("    at ") else { continue };
            let (function, place) = line.split_once(" (").unwrap_or((line, ""));
            let mut parts = place.strip_suffix(')').unwrap_or(place).rsplitn(3, ':');
            let (place, column) = match (parts.next(), parts.next(), parts.next()) {
                (Some(column), Some(line), Some(file)) => {
                    // Code at the top level may have no position.
                    (Some(Location { file: file.to_owned(), line: line.parse().unwrap_or(1) }), column.parse().ok())
                }
                _ => (None, None),
            };
            if place.as_ref().is_some_and(|place| place.file == ENGINE_FILE) {
                // The engine's own function is around each callback, and what it called is its native helper.
                if trace.frames.pop_if(|helper| helper.place.is_none()).is_some() {
                    trace.columns.pop();
                }
                continue;
            }
            if place.as_ref().is_some_and(|place| place.file == SLICES_FILE) {
                continue;
            }
            // What stands in front of a built-in has its name.
            let again = trace.frames.last().is_some_and(|frame| frame.place.is_none() && frame.function == function);
            if place.is_none() && again {
                continue;
            }
            trace.frames.push(Frame { function: function.to_owned(), place });
            trace.columns.push(column);
        }
        trace
    }

    /// Returns where the innermost script code is.
    fn place(&self) -> Option<Location> {
        self.at().and_then(|i| self.frames.get(i)?.place.clone())
    }

    fn at(&self) -> Option<usize> {
        self.frames.iter().enumerate().skip(self.skipped).find(|(_, frame)| frame.place.is_some()).map(|(i, _)| i)
    }

    fn column(&self) -> Option<u32> {
        self.columns.get(self.at()?).copied().flatten()
    }

    fn set_line(&mut self, line: u32) {
        if let Some(place) = self.at().and_then(|i| self.frames.get_mut(i)).and_then(|frame| frame.place.as_mut()) {
            place.line = line;
        }
    }

    /// Skips the frames of an error's own class: the error remembers them, but they are not its place.
    fn skip_constructors(&mut self, error: &JsObject, context: &mut Context) {
        let mut class = error.prototype();
        for _ in 0..MAX_CLASSES {
            let Some(prototype) = class else { break };
            let constructor =
                prototype.get(js_string!("constructor"), context).ok().and_then(|value| value.as_object());
            let name = constructor.and_then(|constructor| constructor.get(js_string!("name"), context).ok());
            let name = name.and_then(|name| name.as_string()).map(|name| string::lossy(&name));
            class = prototype.prototype();
            // From the most derived class on, while the outermost of the frames left belongs to one.
            if let Some(name) = name
                && let Some(i) = self.frames.iter().take(MAX_CLASSES).position(|frame| frame.function == name)
            {
                self.skipped = self.skipped.max(i + 1);
                break;
            }
        }
        if self.place().is_none() {
            self.skipped = 0;
        }
    }
}

/// Returns the part of an error's text that lists the frames.
fn backtrace_text(error: &JsError) -> String {
    let mut text = error.to_string();
    let head = match (error.as_opaque(), error.as_native(), error.as_engine()) {
        (Some(value), _, _) => value.display().to_string(),
        (_, Some(native), _) => native.to_string(),
        (_, _, Some(engine)) => engine.to_string(),
        _ => String::new(),
    };
    if text.starts_with(&head) { text.split_off(head.len()) } else { text }
}

/// Returns the name that a `ReferenceError` says is not defined.
fn not_defined(text: &str) -> Option<&str> {
    text.strip_prefix("ReferenceError: ")?.strip_suffix(" is not defined")
}

/// Returns whether an error may come of using what a missing name reads as.
fn says_undefined(text: &str) -> bool {
    text.starts_with("TypeError") && (text.contains("not a callable") || text.contains("undefined"))
}

/// Returns whether an error stands for a limit of any kind.
pub(crate) fn is_limit(error: &JsError) -> bool {
    error.as_engine().and_then(limit).is_some()
}

/// Returns whether a loop has taken more turns than it may, or a native function has ended the callback.
pub(crate) fn is_loop_limit(error: &JsError) -> bool {
    matches!(error.as_engine().and_then(limit), Some(RuntimeLimitError::LoopIteration))
}

/// Finds the limit behind an error, also where Boa believes that what it stopped cannot fail.
fn limit(error: &EngineError) -> Option<RuntimeLimitError> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(limit) = error.downcast_ref::<RuntimeLimitError>() {
            return Some(*limit);
        }
        cause = error.source();
    }
    None
}

fn limit_reached(limit: RuntimeLimitError) -> ScriptError {
    match limit {
        RuntimeLimitError::Recursion => ScriptError::new(ErrorCode::StackOverflow, "too many nested function calls")
            .with_hint("a function calls itself without end, or works down a very deep structure"),
        RuntimeLimitError::StackSize => ScriptError::new(ErrorCode::StackOverflow, "the interpreter's stack is full")
            .with_hint("a function calls itself without end, or passes very many arguments"),
        // A native function raises it to end a callback, and so does a limit of the call.
        RuntimeLimitError::LoopIteration => ScriptError::new(ErrorCode::Runtime, "the callback was ended"),
    }
}

/// Splits ` at line 3, col 7` off a parser's message.
fn position(text: &str) -> Option<(&str, u32, u32)> {
    let (message, place) = text.rsplit_once(" at line ")?;
    let (line, column) = place.split_once(", col ")?;
    let digits = column.find(|c: char| !c.is_ascii_digit()).unwrap_or(column.len());
    Some((message, line.parse().ok()?, column.get(..digits)?.parse().ok()?))
}

fn shortened(mut text: String) -> String {
    const MOST: usize = 200;
    if let Some((end, _)) = text.char_indices().nth(MOST) {
        text.truncate(end);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_read_and_own_ones_left_out() {
        let text = "\n    at get (native)\n    at f (dir (1)/a.js:3:7)\n    at <main> (a.js:?:?)\n    at enter (native)\n    \
                    at around (kemi-js:1:9)\n    at call (native)\n    at g (a.js:9:1)\n";
        let trace = Backtrace::read(text);
        let names: Vec<&str> = trace.frames.iter().map(|frame| frame.function.as_str()).collect();
        assert_eq!(names, ["get", "f", "<main>", "call", "g"]);
        let places: Vec<Option<String>> =
            trace.frames.iter().map(|frame| frame.place.as_ref().map(ToString::to_string)).collect();
        let expected = [None, Some("dir (1)/a.js:3"), Some("a.js:1"), None, Some("a.js:9")];
        assert_eq!(places.iter().map(Option::as_deref).collect::<Vec<_>>(), expected);
        assert_eq!(trace.columns, [None, Some(7), None, None, Some(1)]);
        assert_eq!(trace.place().map(|place| place.line), Some(3));
    }

    #[test]
    fn a_position_is_split_off() {
        assert_eq!(position("unexpected token 'x' at line 3, col 17"), Some(("unexpected token 'x'", 3, 17)));
        assert_eq!(position("abrupt end"), None);
    }
}
