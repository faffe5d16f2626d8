//! The outcome of a callback.

use crate::value::Value;

/// The outcome of a callback that ended without an error.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// It returned.
    Value(Value),
    /// It asked to end here.
    Exit,
    /// It asked to end here, and the host to drop the subject of the call.
    Drop,
}
