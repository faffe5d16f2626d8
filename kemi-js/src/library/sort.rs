//! `sort` without a function to compare by, in a form that can be ended.

use boa_engine::builtins::typed_array::TypedArray;
use boa_engine::{Context, JsArgs, JsResult, JsValue, NativeFunction};
use kemi_core::engine::Runtime;

use super::{BuiltinCall, size_guards};
use crate::terminate::terminated;

/// From how many elements on they are compared by a function that can be ended.
const MANY: u64 = 1 << 12;

/// Gives `sort` and `toSorted` of many elements a function to compare by, if they have none.
pub(crate) fn sort(runtime: &Runtime, call: &mut BuiltinCall, context: &mut Context) -> JsResult<Option<JsValue>> {
    let many = size_guards::elements(&call.this, context)?.0 > MANY;
    let typed = call.this.as_object().is_some_and(|object| object.is::<TypedArray>());
    if many && !typed && call.args.get_or_undefined(0).is_undefined() {
        let runtime: *const Runtime = runtime;
        let compare = NativeFunction::from_copy_closure(move |_, args, context| {
            // SAFETY: function objects of this context run only while the state is alive, which owns it and the runtime.
            if unsafe { &*runtime }.pending_limit().is_some() {
                return Err(terminated());
            }
            let a = args.get_or_undefined(0).to_string(context)?;
            let b = args.get_or_undefined(1).to_string(context)?;
            Ok(JsValue::new(a.cmp(&b) as i32))
        });
        call.args = vec![compare.to_js_function(context.realm()).into()];
    }
    Ok(None)
}
