//! `console` and `print`, which write to the host's log.

use std::rc::Rc;

use boa_engine::object::JsObject;
use boa_engine::{Context, JsResult, JsValue, NativeFunction, js_string};
use kemi_core::telemetry::log_guarded;

use crate::bind::{InstanceRef, define};
use crate::interpreter::State;
use crate::terminate::terminated;
use crate::{objects, value};

/// Defines `console` and `print`.
pub(crate) fn install(state: &Rc<State>, context: &mut Context) -> JsResult<()> {
    let instance = InstanceRef::new(state);
    let console = JsObject::with_object_proto(context.intrinsics());
    macro_rules! method {
        ($object:expr, $name:literal, $level:ident) => {
            let function = NativeFunction::from_copy_closure(move |_, args, context| {
                let mut enabled = false;
                log_guarded(|| enabled = tracing::enabled!(target: "script", tracing::Level::$level));
                if enabled {
                    // SAFETY: a function object of the instance's context runs this.
                    let state = unsafe { instance.state() };
                    let (place, text) = line(state, args, context);
                    // A getter of a written object may have ended the callback.
                    if state.runtime().pending_exit().is_some() {
                        return Err(terminated());
                    }
                    log_guarded(|| tracing::event!(target: "script", tracing::Level::$level, place, "{text}"));
                }
                Ok(JsValue::undefined())
            });
            define($object, $name, 0, function, context)?;
        };
    }
    method!(&console, "log", INFO);
    method!(&console, "info", INFO);
    method!(&console, "warn", WARN);
    method!(&console, "error", ERROR);
    method!(&console, "debug", DEBUG);
    method!(&console, "trace", TRACE);
    let global = context.global_object();
    global.create_data_property_or_throw(js_string!("console"), console, context)?;
    method!(&global, "print", INFO);
    Ok(())
}

fn line(state: &State, args: &[JsValue], context: &mut Context) -> (String, String) {
    let place = state.place_in(context).map_or_else(String::new, |place| place.to_string());
    let describe = |context: &mut Context| {
        let text = |arg| objects::text(arg, state, context).unwrap_or_else(|| value::describe(arg, context));
        args.iter().map(text).collect::<Vec<String>>().join(" ")
    };
    // Errors of getters are no errors of the script here.
    let text = state.in_own_frame(context, describe);
    (place, text.unwrap_or_else(|error| error.to_string()))
}
