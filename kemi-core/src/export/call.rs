//! One generic call of an export.

use std::any::Any;

use super::convert::{FromArg, Mismatch, Rest};
use super::def::ExportDef;
use super::script::Script;
use crate::error::{BadArgument, ErrorCode, NativeError, ScriptError};
use crate::value::{Arg, Type};

/// The arguments of one generic call, with the running script.
#[derive(Debug)]
#[non_exhaustive]
pub struct Call<'a> {
    /// The arguments as given.
    pub args: &'a [Arg<'a>],
    /// The script that calls.
    pub script: &'a Script<'a>,
    /// The export called.
    pub export: &'static ExportDef,
    /// The closure behind the export, if it is one.
    pub(crate) closure: Option<&'a (dyn Any + Send + Sync)>,
}

impl<'a> Call<'a> {
    /// Converts the argument at an index; one that is missing counts as nil.
    ///
    /// # Errors
    /// [`ErrorCode::BadArgument`] with the position, the expected and the given type.
    pub fn arg<T: FromArg<'a>>(&self, index: usize) -> Result<T, Box<NativeError>> {
        let arg = self.args.get(index).copied().unwrap_or(Arg::Nil);
        let first = self.script.first_index();
        T::from_arg(&arg).map_err(|mismatch| unfit_argument(self.export, index, &mismatch, first))
    }

    /// Builds the error for an argument that is not of a type.
    #[cold]
    pub(super) fn unfit(&self, index: usize, wanted: Type) -> Box<NativeError> {
        let arg = self.args.get(index).copied().unwrap_or(Arg::Nil);
        unfit_argument(self.export, index, &Mismatch::of(wanted, &arg), self.script.first_index())
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
    // What a typed entry takes has no elements.
    unfit_argument(export, index, &mismatch, 0)
}

#[cold]
fn unfit_argument(export: &ExportDef, index: usize, mismatch: &Mismatch, first: usize) -> Box<NativeError> {
    let name = export.params.get(index).map_or("", |p| p.name);
    let message = format!("argument {} '{name}': {}", index + 1, mismatch.describe(first));
    let mut error = ScriptError::new(ErrorCode::BadArgument, message);
    error.argument = Some(BadArgument {
        position: index + 1,
        name: name.to_owned(),
        path: mismatch.path(first),
        expected: mismatch.expected.clone(),
        got: mismatch.got.clone(),
    });
    error.into()
}
