//! One generic call of an export.

use super::convert::{FromArg, Mismatch, Rest};
use super::def::ExportDef;
use super::script::Script;
use crate::error::{BadArgument, ErrorCode, NativeError, ScriptError};
use crate::value::Arg;

/// The arguments of one generic call, with the running script.
#[derive(Debug)]
pub struct Call<'a> {
    /// The arguments as given.
    pub args: &'a [Arg<'a>],
    /// The script that calls.
    pub script: &'a Script<'a>,
    /// The export called.
    pub export: &'static ExportDef,
}

impl<'a> Call<'a> {
    /// Converts the argument at an index; one that is missing counts as nil.
    ///
    /// # Errors
    /// [`ErrorCode::BadArgument`] with the position, the expected and the given type.
    pub fn arg<T: FromArg<'a>>(&self, index: usize) -> Result<T, Box<NativeError>> {
        let arg = self.args.get(index).copied().unwrap_or(Arg::Nil);
        T::from_arg(&arg).map_err(|mismatch| bad_argument(self.export, index, mismatch))
    }

    /// Returns the arguments from an index on.
    #[must_use]
    pub fn rest(&self, index: usize) -> Rest<'a> {
        Rest(self.args.get(index..).unwrap_or(&[]))
    }
}

/// Builds the error for an argument that does not fit; used by expansions.
#[doc(hidden)]
#[must_use]
#[cold]
pub fn bad_argument(export: &'static ExportDef, index: usize, mismatch: Mismatch) -> Box<NativeError> {
    let name = export.params.get(index).map_or("", |p| p.name);
    let message = format!("argument {} '{name}': expected {}, got {}", index + 1, mismatch.expected, mismatch.got);
    let mut error = ScriptError::new(ErrorCode::BadArgument, message);
    error.argument = Some(BadArgument {
        position: index + 1,
        name: name.to_owned(),
        expected: mismatch.expected,
        got: mismatch.got,
    });
    error.into()
}
