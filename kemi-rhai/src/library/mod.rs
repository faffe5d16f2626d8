//! Functions of Rhai's own library that may run long, grow without bound, or hide the end of a call, in versions that
//! look at the limits of the call.
//!
//! They give the same results otherwise; `tests/library.rs` compares them, and lists what Rhai's packages have besides.

use rhai::EvalAltResult;

/// The result of a function that a script calls.
type RhaiResult<T> = Result<T, Box<EvalAltResult>>;

/// Registers a function that gets a [`LimitCheck`](crate::interrupt::LimitCheck) first.
macro_rules! checked {
    ($engine:ident, $runtime:ident, $name:literal, |$check:ident, $($arg:ident: $ty:ty),+| $body:expr) => {
        let runtime = $runtime.clone();
        $engine.register_fn($name, move |call: NativeCallContext<'_>, $($arg: $ty),+| {
            let $check = &mut LimitCheck::new(&runtime, &call);
            $body
        });
    };
}

pub(crate) mod clock;
pub(crate) mod compare;
pub(crate) mod json;
pub(crate) mod replace;
pub(crate) mod sleep;
pub(crate) mod sort;
