//! Constants that scripts read, as `#[kemi_export]` describes them.

use super::def::ContextType;
use crate::error::NativeError;
use crate::value::Value;

/// All constants linked into this program, in no stable order; [`Registry`](crate::Registry) sorts them.
#[linkme::distributed_slice]
pub static CONSTANTS: [ConstantDef];

/// One exported constant or enum, as the attribute describes it.
#[derive(Debug)]
pub struct ConstantDef {
    /// The module; empty for the root.
    pub module: &'static str,
    /// The name in scripts.
    pub name: &'static str,
    /// The doc comment.
    pub doc: &'static str,
    /// Makes the value; the names of an enum are a map.
    ///
    /// An integer that does not fit 64 signed bits has none.
    pub value: fn() -> Result<Value, Box<NativeError>>,
    /// The host's context type it belongs to; [`NoContext`](super::NoContext) for any host.
    pub context: ContextType,
    /// The source file of the constant.
    pub file: &'static str,
    /// Its line.
    pub line: u32,
}
