//! `console` and `print`, which write to the host's log.

use std::rc::Rc;

use boa_engine::object::JsObject;
use boa_engine::{Context, JsResult, JsValue, NativeFunction, js_string};

use kemi_core::log_guarded;

use crate::bind::define;
use crate::interpreter::Core;
use crate::trampoline::ending;
use crate::value;

/// Defines `console` and `print`.
pub(crate) fn install(core: &Rc<Core>, context: &mut Context) -> JsResult<()> {
    let core = Rc::as_ptr(core);
    let console = JsObject::with_object_proto(context.intrinsics());
    macro_rules! method {
        ($object:expr, $name:literal, $level:ident) => {
            let function = NativeFunction::from_copy_closure(move |_, args, context| {
                let mut enabled = false;
                log_guarded(|| enabled = tracing::enabled!(target: "script", tracing::Level::$level));
                if enabled {
                    // SAFETY: function objects of this context run only while the core that owns it is alive.
                    let core = unsafe { &*core };
                    let (place, text) = line(core, args, context);
                    // A getter of what was to be written may have ended the callback.
                    if core.runtime().ending().is_some() {
                        return Err(ending());
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

fn line(core: &Core, args: &[JsValue], context: &mut Context) -> (String, String) {
    let place = core.place_in(context).map_or_else(String::new, |place| place.to_string());
    let describe =
        |context: &mut Context| args.iter().map(|arg| value::describe(arg, context)).collect::<Vec<String>>().join(" ");
    // Errors of getters are no errors of the script here.
    let text = core.sealed(context, describe);
    (place, text.unwrap_or_else(|error| error.to_string()))
}
