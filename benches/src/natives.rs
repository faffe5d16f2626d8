//! The native functions that the bench scripts call: each counts the call in a context, and little else.

use std::cell::Cell;
use std::ptr;

use kemi::kemi_export;

/// What the functions work on.
#[derive(Debug)]
pub struct Counter {
    /// How often a function was called.
    pub calls: i64,
    text: String,
}

impl Default for Counter {
    fn default() -> Self {
        Counter { calls: 0, text: "REGISTER sip".to_owned() }
    }
}

/// `() → int`
#[kemi_export(module = "bench")]
pub fn none(cx: &mut Counter) -> i64 {
    cx.calls += 1;
    cx.calls
}

/// `(int) → bool`
#[kemi_export(module = "bench")]
pub fn flag(cx: &mut Counter, number: i64) -> bool {
    cx.calls += 1;
    number == 7
}

/// `(int, int) → int`
#[kemi_export(module = "bench")]
pub fn add(cx: &mut Counter, a: i64, b: i64) -> i64 {
    cx.calls += 1;
    a.wrapping_add(b)
}

/// `(str) → int`
#[kemi_export(module = "bench")]
pub fn length(cx: &mut Counter, text: &str) -> i64 {
    cx.calls += 1;
    text.len() as i64
}

/// `(str) → str`, borrowed from the context.
#[kemi_export(module = "bench")]
pub fn get<'c>(cx: &'c mut Counter, name: &str) -> &'c str {
    cx.calls += name.len() as i64;
    &cx.text
}

/// `(str, int) → int`
#[kemi_export(module = "bench")]
pub fn reply(cx: &mut Counter, text: &str, code: i64) -> i64 {
    cx.calls += 1;
    code.wrapping_add(text.len() as i64)
}

/// `(str, str) → int`
#[kemi_export(module = "bench")]
pub fn set(cx: &mut Counter, name: &str, value: &str) -> i64 {
    cx.calls += 1;
    (name.len() + value.len()) as i64
}

/// Five mixed parameters.
#[kemi_export(module = "bench")]
pub fn mixed(cx: &mut Counter, name: &str, a: i64, b: bool, value: &str, c: i64) -> i64 {
    cx.calls += i64::from(b);
    a.wrapping_add(c).wrapping_add((name.len() + value.len()) as i64)
}

thread_local! {
    static CURRENT: Cell<*mut Counter> = const { Cell::new(ptr::null_mut()) };
}

/// Lends a counter to hand-written bindings while `run` runs.
pub fn with_counter<R>(counter: &mut Counter, run: impl FnOnce() -> R) -> R {
    CURRENT.set(ptr::from_mut(counter));
    let result = run();
    CURRENT.set(ptr::null_mut());
    result
}

/// Returns the counter that is lent.
///
/// # Safety
/// Called by a native function of a script that runs inside [`with_counter`], and the result is not used after it.
#[inline]
pub unsafe fn current<'a>() -> &'a mut Counter {
    let pointer = CURRENT.get();
    debug_assert!(!pointer.is_null());
    // SAFETY: inside `with_counter` the pointer is to the counter that it borrows, and one native function runs at a
    // time.
    unsafe { &mut *pointer }
}

/// The counter that is lent, in a native function of a script that runs inside [`with_counter`].
macro_rules! counter {
    () => {{
        #[allow(unused_unsafe, reason = "some callers are unsafe functions")]
        // SAFETY: the bench runs every script inside `with_counter`, and one native function at a time.
        let counter = unsafe { $crate::natives::current() };
        counter
    }};
}
pub(crate) use counter;
