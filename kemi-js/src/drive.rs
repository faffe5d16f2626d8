//! Callbacks in slices: between two of them the interpreter looks at the call's budget.
//!
//! Boa cannot be interrupted from outside, but code that it evaluates asynchronously yields after a number of
//! instructions. Only a script can be evaluated so, hence a callback is called by a small script.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::path::Path;
use std::pin::pin;
use std::ptr::NonNull;
use std::task::{self, Poll, Waker};

use boa_engine::object::{FunctionObjectBuilder, JsObject};
use boa_engine::property::PropertyDescriptor;
use boa_engine::vm::RuntimeLimits;
use boa_engine::{Context, JsResult, JsValue, NativeFunction, Script, js_string};
use kemi_core::{Limit, Limits};

use crate::core::Core;
use crate::text;

/// The file name of the code that calls callbacks, which tracebacks leave out.
pub(crate) const CALLER: &str = "kemi-js-call";

/// What that code gets the callback and its arguments from, one after the other.
const NEXT: &str = "__kemi_next";

/// How many instructions a slice has, in Boa's unit of cost: some tenths of a millisecond.
const SLICE: u32 = 10_000;

/// How many turns a loop takes in a millisecond at the very most: twice what an empty one does.
const TURNS_PER_MS: u64 = 200_000;

/// As [`TURNS_PER_MS`] while a script is loaded, when nothing else ends a loop: what most loops take.
const LOADING_TURNS_PER_MS: u64 = 20_000;

/// What runs callbacks in slices.
#[derive(Default)]
pub(crate) struct Driver {
    /// By number of arguments: the code that calls a callback.
    calls: RefCell<Vec<Option<Script>>>,
    /// The callback and its arguments, the last one first.
    values: RefCell<Vec<JsValue>>,
    /// The limits of the context; see [`Driver::renew`].
    limits: Cell<Option<NonNull<RuntimeLimits>>>,
}

impl Driver {
    /// Defines what the calling code needs.
    pub(crate) fn install(core: *const Core, context: &mut Context) -> JsResult<()> {
        let next = NativeFunction::from_copy_closure(move |_, _, context| {
            // SAFETY: function objects of this context run only while the core that owns it is alive.
            let driver = unsafe { &*core }.driver();
            driver.renew(context);
            Ok(driver.values.borrow_mut().pop().unwrap_or_default())
        });
        let next = FunctionObjectBuilder::new(context.realm(), next).name(js_string!("next")).build();
        let fixed = PropertyDescriptor::builder().value(next).writable(false).enumerable(false).configurable(false);
        context.global_object().define_property_or_throw(text::to_js(NEXT.as_bytes()), fixed, context)?;
        Ok(())
    }

    /// Lets go of all objects.
    pub(crate) fn clear(&self) {
        self.calls.take();
        self.values.take();
    }

    /// Notes where the limits are.
    ///
    /// The address is taken from a reference that is derived from the one that the running slice was given, so that a
    /// write through it leaves that one valid; and again after each write to the limits by another way.
    pub(crate) fn renew(&self, context: &mut Context) {
        self.limits.set(Some(NonNull::from(context.runtime_limits_mut())));
    }

    /// Calls a callback, with a look at the budget after each slice.
    pub(crate) fn call(
        &self,
        core: &Core,
        function: &JsObject,
        args: &[JsValue],
        context: &mut Context,
    ) -> JsResult<JsValue> {
        let script = self.script(args.len(), context)?;
        let values = args.iter().rev().cloned().chain([function.clone().into()]).collect();
        self.values.replace(values);
        let result = self.run(core, &script, context);
        self.values.borrow_mut().clear();
        result
    }

    fn script(&self, args: usize, context: &mut Context) -> JsResult<Script> {
        if let Some(Some(script)) = self.calls.borrow().get(args) {
            return Ok(script.clone());
        }
        let code = format!("{NEXT}()({})", vec![format!("{NEXT}()"); args].join(", "));
        let source = boa_engine::Source::from_bytes(&code).with_path(Path::new(CALLER));
        let script = Script::parse(source, None, context)?;
        let mut calls = self.calls.borrow_mut();
        if calls.len() <= args {
            calls.resize(args + 1, None);
        }
        if let Some(slot) = calls.get_mut(args) {
            *slot = Some(script.clone());
        }
        Ok(script)
    }

    fn run(&self, core: &Core, script: &Script, context: &mut Context) -> JsResult<JsValue> {
        let limits = context.runtime_limits();
        let counts = core.runtime().registry().limits().max_instructions != 0;
        self.limits.set(None);
        let result = {
            let mut slices = pin!(script.evaluate_async_with_budget(&mut *context, SLICE));
            let mut task = task::Context::from_waker(Waker::noop());
            loop {
                if let Poll::Ready(result) = slices.as_mut().poll(&mut task) {
                    break result;
                }
                let spent = counts && core.runtime().spend(SLICE.into(), core);
                if spent || core.runtime().poll(core) {
                    self.stop();
                }
            }
        };
        core.set_limits(limits, context);
        result
    }

    /// Makes the suspended script end at its next loop turn or call, by an error that nothing catches.
    fn stop(&self) {
        // Once is enough, and all that the address is good for.
        let Some(limits) = self.limits.take() else { return };
        // SAFETY: the limits lie in the context, which is alive and does not move. The slice that uses it is suspended
        // on this thread, and `renew` says why it may be written to.
        let limits = unsafe { &mut *limits.as_ptr() };
        limits.set_loop_iteration_limit(0);
        limits.set_recursion_limit(0);
    }
}

/// Returns whether callbacks must run in slices.
pub(crate) fn in_slices(limits: &Limits) -> bool {
    limits.max_time_ms != 0 || limits.max_instructions != 0
}

/// Returns how many turns the loops of one call of a function may take in sum, and which limit that stands for.
///
/// It is what ends a loop in a function that a built-in calls, which the slices do not get to see.
pub(crate) fn most_turns(limits: &Limits, loading: bool) -> (u64, Limit) {
    let (time, turns) =
        if loading { (limits.max_load_time_ms, LOADING_TURNS_PER_MS) } else { (limits.max_time_ms, TURNS_PER_MS) };
    let by_time = if time == 0 { u64::MAX } else { time.saturating_mul(turns) };
    match limits.max_instructions {
        0 => (by_time, Limit::Time),
        most if most <= by_time => (most, Limit::Instructions),
        _ => (by_time, Limit::Time),
    }
}
