//! The limit of memory, as far as Rhai itself holds it: the size of each single value.
//!
//! Without it, `blob(1 << 40)` would end the process for want of memory. Rhai counts what is in a value after each method
//! call on it, so the limit makes pushing to a long array slow. The sum of all values is limited where the host's
//! allocator counts.

use kemi_core::Limits;
use rhai::{Engine, EvalAltResult, Position};

/// Which part of the memory the bytes of one value's strings may take.
const STRING_SHARE: u64 = 16;

/// How many bytes of the memory stand for one element of an array; it takes 16 itself, so all take a quarter.
const BYTES_PER_ELEMENT: u64 = 64;

/// How many bytes of the memory stand for one entry of a map; it takes some 60 itself, so all take a quarter.
const BYTES_PER_ENTRY: u64 = 256;

/// Limits the size of values; a script cannot catch the error.
pub(crate) fn limit_values(engine: &mut Engine, limits: &Limits) {
    if limits.max_memory != 0 {
        let share = |part: u64| usize::try_from((limits.max_memory / part).max(1)).unwrap_or(usize::MAX);
        engine
            .set_max_string_size(share(STRING_SHARE))
            .set_max_array_size(share(BYTES_PER_ELEMENT))
            .set_max_map_size(share(BYTES_PER_ENTRY));
    }
}

/// Refuses a text that is longer than a value may hold.
///
/// # Errors
/// The limit of memory.
pub(crate) fn check_text_size(engine: &Engine, length: usize) -> Result<(), Box<EvalAltResult>> {
    match engine.max_string_size() {
        0 => Ok(()),
        most if length <= most => Ok(()),
        _ => Err(EvalAltResult::ErrorDataTooLarge("Length of string".to_owned(), Position::NONE).into()),
    }
}
