//! Callbacks in slices, to count their instructions.
//!
//! Boa counts only in code that it evaluates asynchronously, which yields after a number of instructions. Only a script
//! can be evaluated so, hence a callback is called by a small script.

use std::cell::RefCell;
use std::future::Future;
use std::path::Path;
use std::pin::pin;
use std::task::{self, Poll, Waker};

use boa_engine::object::{FunctionObjectBuilder, JsObject};
use boa_engine::property::PropertyDescriptor;
use boa_engine::{Context, JsResult, JsValue, NativeFunction, Script, js_string};

use crate::interpreter::Core;
use crate::string;

/// The file name of the code that calls callbacks, which tracebacks leave out.
pub(crate) const CALLER: &str = "kemi-js-call";

/// What that code gets the callback and its arguments from, one after the other.
const NEXT: &str = "__kemi_next";

/// How many instructions a slice has, in Boa's unit of cost: some tenths of a millisecond.
const SLICE: u32 = 10_000;

/// What runs callbacks in slices.
#[derive(Default)]
pub(crate) struct Driver {
    /// By number of arguments: the code that calls a callback.
    calls: RefCell<Vec<Option<Script>>>,
    /// The callback and its arguments, the last one first.
    values: RefCell<Vec<JsValue>>,
}

impl Driver {
    /// Defines what the calling code needs.
    pub(crate) fn install(core: *const Core, context: &mut Context) -> JsResult<()> {
        let next = NativeFunction::from_copy_closure(move |_, _, _| {
            // SAFETY: function objects of this context run only while the core that owns it is alive.
            let driver = unsafe { &*core }.driver();
            Ok(driver.values.borrow_mut().pop().unwrap_or_default())
        });
        let next = FunctionObjectBuilder::new(context.realm(), next).name(js_string!("next")).build();
        let fixed = PropertyDescriptor::builder().value(next).writable(false).enumerable(false).configurable(false);
        context.global_object().define_property_or_throw(string::to_js(NEXT.as_bytes()), fixed, context)?;
        Ok(())
    }

    /// Lets go of all objects.
    pub(crate) fn clear(&self) {
        self.calls.take();
        self.values.take();
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
        let result = run(core, &script, context);
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
}

fn run(core: &Core, script: &Script, context: &mut Context) -> JsResult<JsValue> {
    let counts = core.counts();
    let mut slices = pin!(script.evaluate_async_with_budget(context, SLICE));
    let mut task = task::Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(result) = slices.as_mut().poll(&mut task) {
            return result;
        }
        let spent = counts && core.runtime().spend(SLICE.into(), core);
        if spent || core.runtime().poll(core) {
            core.brake().pull();
        }
    }
}
