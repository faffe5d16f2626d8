//! How a callback ended.

use crate::value::Value;

/// How a callback ended, if not with an error.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// It returned.
    Value(Value),
    /// It asked to end here.
    Exit,
    /// It asked to end here and to drop what it was called for.
    Drop,
}
