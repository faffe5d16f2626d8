//! `Proxy` and the setters of prototypes: no circles, and no proxies in each other without end.
//!
//! Boa looks for a property by a recursion along them that looks at no limit. A chain of prototypes costs more memory than
//! stack. A circle costs nothing: it takes a proxy, behind which the language itself looks for none.

use std::collections::HashSet;

use boa_engine::object::builtins::JsWeakMap;
use boa_engine::object::{FunctionObjectBuilder, JsObject};
use boa_engine::property::PropertyDescriptor;
use boa_engine::{Context, JsArgs, JsData, JsError, JsNativeError, JsResult, JsValue, NativeFunction, js_string};
use boa_gc::{Finalize, Trace};

use super::replace;

/// How many proxies may stand in each other.
const DEPTH: u32 = 2_000;

/// The parts of a proxy.
#[derive(Trace, Finalize, JsData)]
struct Made {
    target: JsObject,
    handler: JsObject,
    depth: u32,
}

/// The built-in that a new function calls, and the list of proxies.
#[derive(Clone, Trace, Finalize)]
struct Originals {
    original: JsObject,
    proxies: JsObject,
}

/// Replaces `Proxy`, and all that gives an object another prototype.
pub(crate) fn install(context: &mut Context) -> JsResult<()> {
    let global = context.global_object();
    let proxies = JsObject::from(JsWeakMap::new(context));
    let of = |original: JsObject| Originals { original, proxies: proxies.clone() };
    for name in ["Object", "Reflect"] {
        let Some(holder) = global.get(js_string!(name), context)?.as_object() else { continue };
        let Some(original) = holder.get(js_string!("setPrototypeOf"), context)?.as_callable() else { continue };
        let call = |_: &JsValue, args: &[JsValue], originals: &Originals, context: &mut Context| {
            check(args.get_or_undefined(0), args.get_or_undefined(1), &originals.proxies, context)?;
            originals.original.call(&JsValue::undefined(), args, context)
        };
        replace(&holder, "setPrototypeOf", of(original), call, context)?;
    }
    let prototype = context.intrinsics().constructors().object().prototype();
    let slot = prototype.borrow().properties().get(&js_string!("__proto__").into());
    if let Some(slot) = slot
        && let Some(original) = slot.set().and_then(JsValue::as_object)
    {
        let call = |this: &JsValue, args: &[JsValue], originals: &Originals, context: &mut Context| {
            check(this, args.get_or_undefined(0), &originals.proxies, context)?;
            originals.original.call(this, args, context)
        };
        let set = NativeFunction::from_copy_closure_with_captures(call, of(original));
        let set = FunctionObjectBuilder::new(context.realm(), set).name(js_string!("set __proto__")).length(1).build();
        let get = slot.get().cloned().unwrap_or_default();
        let property = PropertyDescriptor::builder().get(get).set(set).enumerable(false).configurable(true);
        prototype.define_property_or_throw(js_string!("__proto__"), property, context)?;
    }
    install_proxy(of, context)
}

fn install_proxy(of: impl Fn(JsObject) -> Originals, context: &mut Context) -> JsResult<()> {
    let global = context.global_object();
    let Some(original) = global.get(js_string!("Proxy"), context)?.as_object() else { return Ok(()) };
    let Some(revocable) = original.get(js_string!("revocable"), context)?.as_callable() else { return Ok(()) };
    let make = |target: &JsValue, args: &[JsValue], originals: &Originals, context: &mut Context| {
        let depth = deeper(args, &originals.proxies, context)?;
        if target.is_undefined() {
            return originals.original.call(&JsValue::undefined(), args, context);
        }
        let proxy = originals.original.construct(args, None, context)?;
        note(&proxy, args, depth, &originals.proxies, context)?;
        Ok(proxy.into())
    };
    let make = NativeFunction::from_copy_closure_with_captures(make, of(original));
    let proxy =
        FunctionObjectBuilder::new(context.realm(), make).name(js_string!("Proxy")).length(2).constructor(true).build();
    // The original has none.
    proxy.delete_property_or_throw(js_string!("prototype"), context).ok();
    let make = |_: &JsValue, args: &[JsValue], originals: &Originals, context: &mut Context| {
        let depth = deeper(args, &originals.proxies, context)?;
        let result = originals.original.call(&JsValue::undefined(), args, context)?;
        if let Some(pair) = result.as_object()
            && let Some(proxy) = pair.get(js_string!("proxy"), context)?.as_object()
        {
            note(&proxy, args, depth, &originals.proxies, context)?;
        }
        Ok(result)
    };
    let property =
        |value: JsValue| PropertyDescriptor::builder().value(value).writable(true).enumerable(false).configurable(true);
    let revocable = NativeFunction::from_copy_closure_with_captures(make, of(revocable));
    let revocable =
        FunctionObjectBuilder::new(context.realm(), revocable).name(js_string!("revocable")).length(2).build();
    proxy.define_property_or_throw(js_string!("revocable"), property(revocable.into()), context)?;
    global.define_property_or_throw(js_string!("Proxy"), property(proxy.into()), context)?;
    Ok(())
}

fn known(proxies: &JsObject) -> JsResult<JsWeakMap> {
    JsWeakMap::from_object(proxies.clone())
        .map_err(|_| JsError::from(JsNativeError::error().with_message("the list of proxies is missing")))
}

/// Returns how deep a new proxy will be.
fn deeper(args: &[JsValue], proxies: &JsObject, context: &mut Context) -> JsResult<u32> {
    let mut depth = 0;
    for part in args.iter().take(2).filter_map(JsValue::as_object) {
        let made = known(proxies)?.get(&part, context)?.as_object();
        let inner = made.and_then(|made| made.downcast_ref::<Made>().map(|made| made.depth)).unwrap_or(0);
        depth = depth.max(inner + 1);
    }
    if depth > DEPTH {
        let message = format!("more than {DEPTH} proxies stand in each other");
        return Err(JsNativeError::range().with_message(message).into());
    }
    Ok(depth)
}

fn note(proxy: &JsObject, args: &[JsValue], depth: u32, proxies: &JsObject, context: &mut Context) -> JsResult<()> {
    let (Some(target), Some(handler)) = (args.get_or_undefined(0).as_object(), args.get_or_undefined(1).as_object())
    else {
        return Ok(());
    };
    let made = JsObject::from_proto_and_data(None, Made { target, handler, depth }).upcast();
    known(proxies)?.set(proxy, made.into(), context)?;
    Ok(())
}

/// Refuses a prototype from which prototypes, proxies and their handlers lead back to the object.
fn check(object: &JsValue, prototype: &JsValue, proxies: &JsObject, context: &mut Context) -> JsResult<()> {
    let (Some(object), Some(prototype)) = (object.as_object(), prototype.as_object()) else { return Ok(()) };
    let proxies = known(proxies)?;
    let (mut seen, mut open, mut behind_proxy) = (HashSet::new(), vec![prototype], false);
    while let Some(next) = open.pop() {
        // Without a proxy the built-in itself refuses it.
        if JsObject::equals(&next, &object) && behind_proxy {
            return Err(JsNativeError::typ().with_message("cyclic prototype, through a proxy").into());
        }
        if !seen.insert(next.clone()) {
            continue;
        }
        open.extend(next.prototype());
        if let Some(made) = proxies.get(&next, context)?.as_object()
            && let Some(made) = made.downcast_ref::<Made>()
        {
            behind_proxy = true;
            open.extend([made.target.clone(), made.handler.clone()]);
        }
    }
    Ok(())
}
