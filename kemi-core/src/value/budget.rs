//! The budget of a conversion from a script to the host.

use crate::error::{ErrorCode, ScriptError};

/// The most levels of arrays and maps that cross between script and host.
///
/// A script can build a table that contains itself; the conversion ends with an error at this depth instead of
/// running out of stack.
pub const MAX_VALUE_DEPTH: usize = 64;

/// The most elements of arrays and maps that cross at once.
pub const MAX_VALUE_ELEMENTS: usize = 1_000_000;

/// The most bytes of text that cross at once within arrays and maps.
pub const MAX_VALUE_BYTES: usize = 64 << 20;

/// The budget of one conversion from a script to the host: all arguments of a call share one, each result has its own.
///
/// A shared structure is copied, and counts, each time it is reached: a few shared lists could otherwise stand for more
/// memory than there is.
///
/// ```
/// use kemi_core::value::ConversionBudget;
///
/// let mut budget = ConversionBudget::new();
/// budget.enter()?; // a list
/// budget.element()?; // its first element
/// budget.bytes(5)?; // which is a text
/// budget.leave();
/// # Ok::<(), kemi_core::ScriptError>(())
/// ```
#[derive(Clone, Debug)]
pub struct ConversionBudget {
    depth: usize,
    elements: usize,
    bytes: usize,
}

impl ConversionBudget {
    /// Creates a whole budget.
    #[must_use]
    pub const fn new() -> ConversionBudget {
        ConversionBudget { depth: MAX_VALUE_DEPTH, elements: MAX_VALUE_ELEMENTS, bytes: MAX_VALUE_BYTES }
    }

    /// Enters an array or map.
    ///
    /// # Errors
    /// [`ErrorCode::ValueNotConvertible`] beyond [`MAX_VALUE_DEPTH`].
    pub fn enter(&mut self) -> Result<(), ScriptError> {
        self.depth = self.depth.checked_sub(1).ok_or_else(|| {
            too_much(format!("a value nested deeper than {MAX_VALUE_DEPTH} levels cannot cross; it may contain itself"))
        })?;
        Ok(())
    }

    /// Leaves an array or map.
    pub fn leave(&mut self) {
        self.depth += 1;
    }

    /// Takes an element of an array or map.
    ///
    /// # Errors
    /// [`ErrorCode::ValueNotConvertible`] beyond [`MAX_VALUE_ELEMENTS`].
    pub fn element(&mut self) -> Result<(), ScriptError> {
        self.elements = self.elements.checked_sub(1).ok_or_else(|| {
            too_much(format!(
                "a value of more than {MAX_VALUE_ELEMENTS} elements cannot cross; what is shared counts each time"
            ))
        })?;
        Ok(())
    }

    /// Takes the bytes of a text that is copied.
    ///
    /// # Errors
    /// [`ErrorCode::ValueNotConvertible`] beyond [`MAX_VALUE_BYTES`].
    pub fn bytes(&mut self, count: usize) -> Result<(), ScriptError> {
        self.bytes = self
            .bytes
            .checked_sub(count)
            .ok_or_else(|| too_much(format!("a value with more than {MAX_VALUE_BYTES} bytes of text cannot cross")))?;
        Ok(())
    }
}

impl Default for ConversionBudget {
    fn default() -> ConversionBudget {
        ConversionBudget::new()
    }
}

#[cold]
fn too_much(message: String) -> ScriptError {
    ScriptError::new(ErrorCode::ValueNotConvertible, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_ends_at_its_depth_elements_and_bytes_with_one_code() {
        let mut budget = ConversionBudget::new();
        for _ in 0..MAX_VALUE_DEPTH {
            budget.enter().unwrap();
        }
        assert_eq!(budget.enter().unwrap_err().code, ErrorCode::ValueNotConvertible);
        budget.leave();
        budget.enter().unwrap();
        for _ in 0..MAX_VALUE_ELEMENTS {
            budget.element().unwrap();
        }
        assert_eq!(budget.element().unwrap_err().code, ErrorCode::ValueNotConvertible);
        budget.bytes(MAX_VALUE_BYTES - 1).unwrap();
        assert_eq!(budget.bytes(2).unwrap_err().code, ErrorCode::ValueNotConvertible);
        budget.bytes(1).unwrap();
    }
}
