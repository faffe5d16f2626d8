//! The limits that keep a script from ending the process.

use std::cell::Cell;

use rhai::Engine;

/// How deep script functions may call each other; without optimisation a plain call takes 4.5 kB of stack.
pub(crate) const CALL_LEVELS: usize = 200;

/// How deep expressions and blocks may nest, where `a + b + c` counts as nested too; without optimisation parsing that
/// much takes 0.5 MB of stack.
const EXPRESSION_DEPTH: usize = 256;

/// How many bytes a string may have.
const STRING_BYTES: usize = 16 << 20;

/// How many elements an array with all that it contains, and how many bytes a blob may have.
const ARRAY_ELEMENTS: usize = 4 << 20;

/// How many entries a map with all that it contains may have.
const MAP_ENTRIES: usize = 1 << 20;

/// How many bytes of the thread's stack a script may use, with all callbacks nested in it.
///
/// Leaves room for parsing and for native functions even on a thread of 2 MB, the default of Rust.
const STACK_BYTES: usize = 3 << 19;

/// Sets the limits that Rhai itself watches; a script can catch none of their errors.
///
/// Without those of size, `blob(1 << 40)` would end the process for want of memory.
pub(crate) fn set(engine: &mut Engine) {
    engine
        .set_max_call_levels(CALL_LEVELS)
        .set_max_expr_depths(EXPRESSION_DEPTH, EXPRESSION_DEPTH)
        .set_max_string_size(STRING_BYTES)
        .set_max_array_size(ARRAY_ELEMENTS)
        .set_max_map_size(MAP_ENTRIES);
}

/// Measures how much of the thread's stack the script uses.
///
/// Counting calls is not enough: a call deep inside an expression takes many times the stack of a plain one, and
/// nested callbacks start counting again.
#[derive(Debug, Default)]
pub(crate) struct StackGuard {
    base: Cell<usize>,
    overflown: Cell<bool>,
}

impl StackGuard {
    /// Marks where the script begins, unless it is running already, until the result is dropped.
    pub(crate) fn enter(&self) -> Entered<'_> {
        let before = self.base.get();
        if before == 0 {
            self.base.set(here());
            self.overflown.set(false);
        }
        Entered { guard: self, before }
    }

    /// Returns whether too much stack is used, and remembers it.
    #[inline]
    pub(crate) fn exceeded(&self) -> bool {
        let exceeded = self.base.get().saturating_sub(here()) > STACK_BYTES;
        if exceeded {
            self.overflown.set(true);
        }
        exceeded
    }

    /// Returns whether the stack was the reason for the end of a call, and forgets it.
    pub(crate) fn take_overflown(&self) -> bool {
        self.overflown.replace(false)
    }
}

/// The script is running; see [`StackGuard::enter`].
pub(crate) struct Entered<'a> {
    guard: &'a StackGuard,
    before: usize,
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.guard.base.set(self.before);
    }
}

/// Returns an address on the stack; stacks grow towards lower ones on every platform Rust runs natively on.
#[inline]
fn here() -> usize {
    let local = 0u8;
    (&raw const local).addr()
}
