//! The module `x`: exit and drop for scripts, the same in every language.

use super::call::Call;
use super::def::{ContextType, EXPORTS, ExportDef, NoContext};
use super::entry::Thunk;
use crate::abi::Ret;
use crate::error::{IntoNativeError, NativeError, NativeExit};
use crate::value::Type;

/// The name of the module, which is always enabled.
pub(crate) const MODULE: &str = "x";

const fn ending(
    name: &'static str,
    doc: &'static str,
    line: u32,
    function: fn(&mut NoContext, &Call<'_>) -> Result<Ret, Box<NativeError>>,
) -> ExportDef {
    ExportDef {
        module: MODULE,
        name,
        doc,
        params: &[],
        returns: Type::Nil,
        since: Some("0.1.0"),
        deprecated: None,
        callbacks: &[],
        cost: 1,
        capability: None,
        member: None,
        context: ContextType::of::<NoContext>(),
        needs_context: false,
        blocking: false,
        file: file!(),
        line,
        // SAFETY: the functions return no bytes.
        thunk: unsafe { Thunk::new(function) },
        typed: None,
    }
}

#[linkme::distributed_slice(EXPORTS)]
static EXIT: ExportDef =
    ending("exit", "Ends the innermost callback. No script construct can catch it.", line!(), |_, _| {
        Err(NativeExit::Exit.into_native_error())
    });

#[linkme::distributed_slice(EXPORTS)]
static DROP: ExportDef = ending(
    "drop",
    "Ends the innermost callback and drops what it was called for. No script construct can catch it.",
    line!(),
    |_, _| Err(NativeExit::Drop.into_native_error()),
);
