//! `Date`, for scripts that get no clock: what it does with a given time stays.

use std::rc::Rc;
use std::time::Instant;

use boa_engine::context::Clock;
use boa_engine::context::time::JsInstant;
use boa_engine::object::{FunctionObjectBuilder, JsObject};
use boa_engine::property::PropertyDescriptor;
use boa_engine::{Context, JsNativeError, JsResult, JsValue, NativeFunction, js_string};
use kemi_core::limits::{Facility, Needs};

use super::replace;
use crate::bind::InstanceRef;
use crate::error;
use crate::interpreter::State;

/// The clock of scripts that get none: it goes, which waiting promises need, and tells no time of day.
pub(crate) struct Hidden(Instant);

impl Hidden {
    pub(crate) fn new() -> Rc<Hidden> {
        Rc::new(Hidden(Instant::now()))
    }
}

impl Clock for Hidden {
    fn now(&self) -> JsInstant {
        let passed = self.0.elapsed();
        JsInstant::new(passed.as_secs(), passed.subsec_nanos())
    }

    fn system_time_millis(&self) -> i64 {
        0
    }
}

/// Replaces what reads the clock by what refuses.
pub(crate) fn install(state: &Rc<State>, context: &mut Context) -> JsResult<()> {
    let instance = InstanceRef::new(state);
    let global = context.global_object();
    let Some(original) = global.get(js_string!("Date"), context)?.as_object() else { return Ok(()) };
    let make = move |target: &JsValue, args: &[JsValue], original: &JsObject, context: &mut Context| match target
        .as_object()
    {
        Some(target) if !args.is_empty() => original.construct(args, Some(&target), context).map(Into::into),
        _ => refuse(instance, "Date without a time", context),
    };
    let make = NativeFunction::from_copy_closure_with_captures(make, original.clone());
    let date =
        FunctionObjectBuilder::new(context.realm(), make).name(js_string!("Date")).length(7).constructor(true).build();
    let property =
        |value: JsValue| PropertyDescriptor::builder().value(value).writable(true).enumerable(false).configurable(true);
    for name in ["UTC", "parse", "now"] {
        let value = original.get(js_string!(name), context)?;
        date.define_property_or_throw(js_string!(name), property(value), context)?;
    }
    let now = move |_: &JsValue, _: &[JsValue], (): &(), context: &mut Context| refuse(instance, "Date.now", context);
    replace(&date, "now", (), now, context)?;
    if let Some(prototype) = original.get(js_string!("prototype"), context)?.as_object() {
        let fixed = PropertyDescriptor::builder().value(prototype.clone());
        let fixed = fixed.writable(false).enumerable(false).configurable(false);
        date.define_property_or_throw(js_string!("prototype"), fixed, context)?;
        prototype.define_property_or_throw(js_string!("constructor"), property(date.clone().into()), context)?;
    }
    global.define_property_or_throw(js_string!("Date"), property(date.into()), context)?;
    Ok(())
}

fn refuse(instance: InstanceRef, what: &str, context: &mut Context) -> JsResult<JsValue> {
    // SAFETY: a function object of the instance's context runs this.
    let state = unsafe { instance.state() };
    let refusal = state.runtime().registry().profile().refuse(what, Needs::Facility(Facility::Clock));
    let native = JsNativeError::error().with_message(error::text_of(&refusal));
    Err(state.diagnostics().carry(native, refusal, context))
}
