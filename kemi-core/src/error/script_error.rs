//! Errors of a script or at its border, with all that is needed to mend them.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $text:literal,)*) => {
        /// The kind of a [`ScriptError`]; its text form is stable and made to be searched for.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ErrorCode {
            $($(#[$doc])* $variant,)*
        }

        impl ErrorCode {
            /// All codes.
            pub const ALL: &[ErrorCode] = &[$(ErrorCode::$variant),*];

            /// Returns the stable text of the code.
            ///
            /// ```
            /// assert_eq!(kemi_core::ErrorCode::BadArgument.as_str(), "bad-argument");
            /// ```
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(ErrorCode::$variant => $text,)*
                }
            }
        }
    };
}

// `docs/errors.md` tells operators what to do about each.
codes! {
    /// An argument has the wrong type or is out of range.
    BadArgument = "bad-argument",
    /// The result of a callback has another type than the host asked for.
    BadResult = "bad-result",
    /// A function of the script was called after its interpreter was reloaded or had ended.
    FunctionGone = "function-gone",
    /// An object of the host was used after it had ended.
    ObjectGone = "object-gone",
    /// A script has assigned to something that it can only read.
    ReadOnly = "read-only",
    /// An object of the host was used while one of its functions runs, or by two threads at once.
    ObjectBusy = "object-busy",
    /// Too few or too many arguments.
    ArgumentCount = "argument-count",
    /// The host demands that scripts are confined, and the engine cannot keep that.
    CannotConfine = "cannot-confine",
    /// The host no longer wanted the call.
    Cancelled = "cancelled",
    /// An id or an export was given to another registry than its own.
    ForeignId = "foreign-id",
    /// The call used more than `max_instructions`.
    InstructionLimit = "instruction-limit",
    /// The interpreter held more than `max_memory`.
    MemoryLimit = "memory-limit",
    /// The call ran longer than `max_time_ms`.
    TimeLimit = "time-limit",
    /// The script lacks a function that the host must be able to call, or that it has itself named as a callback.
    MissingCallback = "missing-callback",
    /// Callbacks nest deeper than the runtime allows.
    NestedTooDeep = "nested-too-deep",
    /// A function that needs the host's context was called while there is none to use.
    NoContext = "no-context",
    /// The function may not be called from this callback.
    NotAllowedHere = "not-allowed-here",
    /// The function needs a capability that the script is not granted, or the script's profile does not allow it.
    NotPermitted = "not-permitted",
    /// A native function panicked; the interpreter works on.
    NativePanic = "native-panic",
    /// A native function returned an error.
    NativeError = "native-error",
    /// A reload was asked for while another one did not end.
    ReloadUnderWay = "reload-under-way",
    /// The host gives its root object, or a module, function or callback, a name that the engine's scripts cannot use.
    ReservedName = "reserved-name",
    /// The script replaced the root object or something in it; it was put back.
    RootReplaced = "root-replaced",
    /// The script raised an error of its own, or its language did.
    Runtime = "runtime",
    /// The script recursed until the interpreter's stack was full.
    StackOverflow = "stack-overflow",
    /// The script does not parse.
    Syntax = "syntax",
    /// The script names a function or module that does not exist.
    UnknownFunction = "unknown-function",
    /// A file of the script cannot be read.
    Unreadable = "unreadable",
    /// A value cannot cross the border: nested too deep, or of a type without a counterpart.
    ValueNotConvertible = "value-not-convertible",
    /// The call waited longer than `max_wait_ms`.
    WaitLimit = "wait-limit",
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for ErrorCode {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// A place in a script.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Location {
    /// The file as it was given to the host, or the name of a script given as text.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// One frame of a traceback, innermost first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Frame {
    /// The function, as its language names it.
    pub function: String,
    /// The place in it, if the interpreter knows it.
    pub place: Option<Location>,
}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(place) => write!(f, "{place}: in {}", self.function),
            None => write!(f, "in {}", self.function),
        }
    }
}

/// The mismatch of one argument of a native call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BadArgument {
    /// The position, from 1; the context does not count.
    pub position: usize,
    /// The parameter's name in the Rust function.
    pub name: String,
    /// The way to the value within the argument, such as `items[2].price`; empty for the argument itself.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// The type that is taken there.
    pub expected: String,
    /// The type or value that the script gave.
    pub got: String,
}

/// An error of a script or at its border.
///
/// [`Display`](fmt::Display) gives one line; the alternate form (`{:#}`) adds the traceback.
#[derive(Clone, Debug, Serialize)]
pub struct ScriptError(Box<ErrorFields>);

/// The fields of a [`ScriptError`].
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct ErrorFields {
    /// The kind.
    pub code: ErrorCode,
    /// The message.
    pub message: String,
    /// The engine's name, empty until an engine has seen the error.
    pub engine: &'static str,
    /// The place in the script.
    pub place: Option<Location>,
    /// The traceback, innermost frame first; nested callbacks follow their native caller.
    pub traceback: Vec<Frame>,
    /// The callback the host had called.
    pub callback: Option<String>,
    /// The export concerned, as a script names it.
    pub export: Option<String>,
    /// The argument concerned.
    pub argument: Option<BadArgument>,
    /// The advice what to do about it.
    pub hint: Option<String>,
    /// The error that the script caught and wrapped into this one, if it kept it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<Box<ScriptError>>,
    /// The error that the native function returned, as the type it had.
    #[serde(skip)]
    pub source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

impl ScriptError {
    /// Creates an error of a kind.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<String>) -> ScriptError {
        ScriptError(Box::new(ErrorFields {
            code,
            message: message.into(),
            engine: "",
            place: None,
            traceback: Vec::new(),
            callback: None,
            export: None,
            argument: None,
            hint: None,
            cause: None,
            source: None,
        }))
    }

    /// Creates the error for one that a native function returned: it becomes the [`source`](std::error::Error::source).
    ///
    /// A [`ScriptError`] goes on as it is; its place and traceback are worth more than its text.
    #[must_use]
    pub fn native(error: Box<dyn std::error::Error + Send + Sync>) -> ScriptError {
        match error.downcast::<ScriptError>() {
            Ok(error) => *error,
            Err(error) => {
                let mut native = ScriptError::new(ErrorCode::NativeError, error.to_string());
                native.source = Some(error.into());
                native
            }
        }
    }

    /// Sets the place in the script.
    #[must_use]
    pub fn at(mut self, file: impl Into<String>, line: u32) -> ScriptError {
        self.0.place = Some(Location { file: file.into(), line });
        self
    }

    /// Sets the hint.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> ScriptError {
        self.0.hint = Some(hint.into());
        self
    }

    /// Creates the error of a script that does not define a callback, for engines; the runtime adds the nearest name.
    #[must_use]
    pub fn missing_callback(name: &str) -> ScriptError {
        ScriptError::new(ErrorCode::MissingCallback, format!("the script defines no function '{name}'"))
    }

    /// Adds to the hint.
    pub(crate) fn add_hint(&mut self, hint: String) {
        self.0.hint = Some(match self.0.hint.take() {
            Some(first) => format!("{first}; {hint}"),
            None => hint,
        });
    }

    /// Creates the error for a file that cannot be read.
    #[must_use]
    pub fn unreadable(file: &std::path::Path, error: &std::io::Error) -> ScriptError {
        ScriptError::new(ErrorCode::Unreadable, format!("cannot read {}: {error}", file.display()))
    }
}

impl std::ops::Deref for ScriptError {
    type Target = ErrorFields;
    fn deref(&self) -> &ErrorFields {
        &self.0
    }
}

impl std::ops::DerefMut for ScriptError {
    fn deref_mut(&mut self) -> &mut ErrorFields {
        &mut self.0
    }
}

impl fmt::Display for ScriptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.engine.is_empty() {
            write!(f, "{}: ", self.engine)?;
        }
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        if let Some(callback) = &self.callback {
            write!(f, "in {callback}: ")?;
        }
        if let Some(export) = &self.export {
            write!(f, "{export}: ")?;
        }
        f.write_str(&self.message)?;
        if let Some(hint) = &self.hint {
            write!(f, "; {hint}")?;
        }
        write!(f, " [{}]", self.code)?;
        if f.alternate() { Trace(&self.traceback).fmt(f) } else { Ok(()) }
    }
}

/// A traceback, each frame on a line of its own.
pub(crate) struct Trace<'a>(pub(crate) &'a [Frame]);

impl fmt::Display for Trace<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|frame| write!(f, "\n    {frame}"))
    }
}

impl std::error::Error for ScriptError {
    /// Returns the error that the script wrapped ([`ErrorFields::cause`]), else the one that the native function returned
    /// ([`ErrorFields::source`]).
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match (&self.0.cause, &self.0.source) {
            (Some(cause), _) => Some(&**cause),
            (None, Some(source)) => Some(&**source),
            (None, None) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{IntoNativeError, NativeError};

    #[test]
    fn every_code_is_in_the_table_for_operators_and_nothing_else_is() {
        let table = include_str!("../../../docs/errors.md");
        let rows: Vec<&str> = table.lines().filter(|line| line.starts_with("| `")).collect();
        let mut listed: Vec<&str> = rows.iter().filter_map(|row| row.split('`').nth(1)).collect();
        let mut codes: Vec<&str> = ErrorCode::ALL.iter().map(|code| code.as_str()).collect();
        codes.sort_unstable();
        listed.sort_unstable();
        assert_eq!(listed, codes);
        for row in rows {
            let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
            assert!(cells.len() == 4 && cells.iter().all(|cell| !cell.is_empty()), "{row}");
        }
    }

    #[derive(Debug, PartialEq)]
    struct DiskFull {
        free: u64,
    }

    impl fmt::Display for DiskFull {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "disk full: {} bytes free", self.free)
        }
    }

    impl std::error::Error for DiskFull {}

    #[allow(clippy::boxed_local, reason = "faults come in boxes")]
    fn script_error(fault: Box<NativeError>) -> ScriptError {
        match *fault {
            NativeError::Error(error) => error,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_native_functions_error_survives_as_the_source_with_its_type() {
        let error = script_error(DiskFull { free: 3 }.into());
        assert_eq!((error.code, error.message.as_str()), (ErrorCode::NativeError, "disk full: 3 bytes free"));
        let kept = |error: &ScriptError| {
            std::error::Error::source(error).and_then(|source| source.downcast_ref()) == Some(&DiskFull { free: 3 })
        };
        assert!(kept(&error) && kept(&error.clone()));
        let boxed: Box<dyn std::error::Error + Send + Sync> = Box::new(DiskFull { free: 3 });
        assert!(kept(&script_error(boxed.into_native_error())));
        // A value that only implements `Display` keeps its text.
        let text = script_error(DiskFull { free: 3 }.into_native_error());
        assert_eq!((&text.message, text.source.is_none()), (&error.message, true));
    }

    #[test]
    fn text_is_an_error_too() {
        let texts = [
            script_error("no".into_native_error()),
            script_error("no".to_owned().into_native_error()),
            script_error(std::borrow::Cow::Borrowed("no").into_native_error()),
        ];
        for error in texts {
            assert_eq!((error.code, error.message.as_str()), (ErrorCode::NativeError, "no"));
        }
    }

    #[test]
    fn a_script_error_goes_on_as_it_is_boxed_or_not() {
        let error = ScriptError::new(ErrorCode::TimeLimit, "too long").at("a.lua", 3);
        let boxed: Box<dyn std::error::Error + Send + Sync> = Box::new(error.clone());
        for same in [script_error(error.clone().into_native_error()), script_error(boxed.into_native_error())] {
            assert_eq!((same.code, &same.place), (error.code, &error.place));
            assert!(std::error::Error::source(&same).is_none());
        }
    }

    #[test]
    fn what_a_script_wrapped_is_the_source_before_what_a_function_returned() {
        let mut wrapped = ScriptError::new(ErrorCode::Runtime, "while saving: disk full: 3 bytes free");
        wrapped.cause = Some(Box::new(script_error(DiskFull { free: 3 }.into())));
        let chain: Vec<String> = std::iter::successors(std::error::Error::source(&wrapped), |error| error.source())
            .map(ToString::to_string)
            .collect();
        assert_eq!(chain, ["disk full: 3 bytes free [native-error]", "disk full: 3 bytes free"]);
    }

    #[test]
    fn one_line_tells_engine_place_callback_export_hint_and_code() {
        let mut error = ScriptError::new(ErrorCode::BadArgument, "argument 1 'code': expected int, got nil")
            .at("route.lua", 7)
            .with_hint("give a number");
        error.engine = "lua";
        error.callback = Some("on_request".to_owned());
        error.export = Some("app.sl.send_reply".to_owned());
        error.traceback = vec![Frame { function: "f".to_owned(), place: error.place.clone() }];
        let line = "lua: route.lua:7: in on_request: app.sl.send_reply: argument 1 'code': expected int, got nil; \
                    give a number [bad-argument]";
        assert_eq!(error.to_string(), line);
        assert_eq!(format!("{error:#}"), format!("{line}\n    route.lua:7: in f"));
    }
}
