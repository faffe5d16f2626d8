//! The limits that keep a script from ending the process.

use std::cell::Cell;
use std::rc::Rc;

use kemi_core::{Arg, CallbackId, ErrorCode, Interpreter, Limit, Limits, Place, Runtime, ScriptError, Value};
use rhai::{Dynamic, Engine, EvalAltResult};

use crate::interpreter::Shared;

/// How deep expressions and blocks may nest, where `a + b + c` counts as nested too; without optimisation parsing that
/// much takes 0.5 MB of stack.
const EXPRESSION_DEPTH: usize = 256;

/// Which part of the memory the bytes of one value's strings may take.
const STRING_SHARE: u64 = 16;

/// How many bytes of the memory stand for one element of an array; it takes 16 itself, so all take a quarter.
const BYTES_PER_ELEMENT: u64 = 64;

/// How many bytes of the memory stand for one entry of a map; it takes some 60 itself, so all take a quarter.
const BYTES_PER_ENTRY: u64 = 256;

/// How many bytes of the thread's stack a script may use, with all callbacks nested in it.
///
/// Leaves room for parsing and for native functions even on a thread of 2 MB, the default of Rust.
const STACK_BYTES: usize = 3 << 19;

/// Sets the limits that Rhai itself watches; a script can catch none of their errors.
///
/// Without those of size, `blob(1 << 40)` would end the process for want of memory. Rhai counts what is in a value
/// after each method call on it, so they make pushing to a long array slow.
pub(crate) fn set(engine: &mut Engine, limits: &Limits) {
    // A call takes 4.5 kB of stack without optimisation; whatever is allowed here, the stack guard has the last word.
    // The host's call of the callback is a level of its own.
    let levels = if limits.max_depth == 0 { usize::MAX } else { size(u64::from(limits.max_depth) + 1) };
    engine.set_max_call_levels(levels);
    set_depths(engine);
    if limits.max_memory != 0 {
        let share = |part: u64| size((limits.max_memory / part).max(1));
        engine
            .set_max_string_size(share(STRING_SHARE))
            .set_max_array_size(share(BYTES_PER_ELEMENT))
            .set_max_map_size(share(BYTES_PER_ENTRY));
    }
}

/// Sets the limits of what the parser takes.
pub(crate) fn set_depths(engine: &mut Engine) {
    engine.set_max_expr_depths(EXPRESSION_DEPTH, EXPRESSION_DEPTH);
}

fn size(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// Makes the interpreter look at its limits before each operation.
pub(crate) fn watch(engine: &mut Engine, shared: &Rc<Shared>) {
    let counts = shared.runtime.registry().limits().max_instructions != 0;
    let shared = shared.clone();
    engine.on_progress(move |_operations| {
        let runtime = &shared.runtime;
        let over = (counts && runtime.spend(1, &Nowhere)) || runtime.poll(&Nowhere) || shared.stack.exceeded();
        over.then_some(Dynamic::UNIT)
    });
}

/// Returns which limit of the call an error stands for.
pub(crate) fn exceeded(runtime: &Runtime, error: &EvalAltResult) -> Option<Limit> {
    let too_large = matches!(error.unwrap_inner(), EvalAltResult::ErrorDataTooLarge(..));
    runtime.exhausted().or(too_large.then_some(Limit::Memory))
}

/// The interpreter as seen from between two operations: Rhai does not tell where that is.
pub(crate) struct Nowhere;

impl Interpreter for Nowhere {
    fn resolve(&self, _name: &str) -> bool {
        false
    }

    fn functions(&self) -> Vec<String> {
        Vec::new()
    }

    fn call(&self, _callback: CallbackId, _args: &[Arg<'_>]) -> Result<Value, ScriptError> {
        Err(ScriptError::new(ErrorCode::MissingCallback, "no callback can be called between two operations"))
    }

    fn place(&self) -> Option<Place> {
        None
    }
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
