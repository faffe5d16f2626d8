//! The list of built-ins that are wrapped or replaced in each interpreter.
//!
//! Nothing can stop a built-in while it works, and what the system's allocator refuses ends the process. So where a
//! few bytes of a script can ask for any amount, a function of the same name and length estimates the result and the
//! steps from the arguments, and ends the call by the limit that there is no room for; else it calls the built-in, or
//! does the same in a better way.

use std::rc::Rc;

use boa_engine::object::JsObject;
use boa_engine::{Context, JsResult, js_string};
use kemi_core::limits::Facility;

use crate::bind::InstanceRef;
use crate::interpreter::State;
use crate::library::size_guards::{self, Estimate};
use crate::library::{Replacement, Shortcut, clock, flat, json, proxy, regexp, search, sort};

/// The path of the object that holds built-ins, dots between names, and the names of the built-ins.
type Names = (&'static str, &'static [&'static str]);

const TYPED_ARRAY: &str = "Uint8Array.__proto__.prototype";

/// The built-ins whose cost is estimated before each call.
const GUARDED: &[(Names, Estimate)] = &[
    (("String.prototype", &["repeat"]), size_guards::repeated),
    (("String.prototype", &["padStart", "padEnd"]), size_guards::padded),
    (("String.prototype", &["concat"]), size_guards::concatenated),
    (("Array", &["from"]), size_guards::from_length),
    (("Array.prototype", &["join", "toLocaleString"]), size_guards::joined),
    ((TYPED_ARRAY, &["join", "toLocaleString"]), size_guards::joined),
    (("Array.prototype", &["concat", "slice", "splice", "toReversed", "toSpliced", "with"]), size_guards::copied),
    (
        (
            "Array.prototype",
            &["fill", "includes", "indexOf", "lastIndexOf", "reverse", "shift", "unshift", "copyWithin"],
        ),
        size_guards::walked,
    ),
    (("Array.prototype", &["every", "filter", "find", "findIndex", "findLast", "findLastIndex"]), size_guards::visited),
    (("Array.prototype", &["flatMap", "forEach", "map", "reduce", "reduceRight", "some"]), size_guards::visited),
    (
        (TYPED_ARRAY, &["copyWithin", "every", "fill", "filter", "find", "findIndex", "findLast", "findLastIndex"]),
        size_guards::visited,
    ),
    (
        (TYPED_ARRAY, &["forEach", "includes", "indexOf", "lastIndexOf", "map", "reduce", "reduceRight", "reverse"]),
        size_guards::visited,
    ),
    ((TYPED_ARRAY, &["set", "slice", "some", "toReversed", "with"]), size_guards::visited_both),
    (("Uint8Array.__proto__", &["from"]), size_guards::first_visited),
    (("String", &["raw"]), size_guards::raw),
    (("Function.prototype", &["apply"]), size_guards::second_listed),
    (("Reflect", &["construct"]), size_guards::second_listed),
    (("Reflect", &["apply"]), size_guards::third_listed),
    (("Object", &["keys", "values", "getOwnPropertyNames"]), size_guards::keys),
    (("Object", &["entries", "getOwnPropertyDescriptors"]), size_guards::entries),
    (("Reflect", &["ownKeys"]), size_guards::keys),
    (("BigInt.prototype", &["toString", "toLocaleString"]), size_guards::digits),
];

/// The built-ins whose cost is estimated, and which are replaced where they would take long.
const REPLACED: &[(Names, Estimate, Option<Shortcut>, Replacement)] = &[
    (("Array.prototype", &["sort", "toSorted"]), size_guards::copied, None, sort::sort),
    ((TYPED_ARRAY, &["sort", "toSorted"]), size_guards::visited, None, sort::sort),
    (("String.prototype", &["replaceAll"]), size_guards::replaced, None, search::replace_all),
    (("String.prototype", &["replace"]), size_guards::replaced, None, search::replace),
    (("String.prototype", &["split"]), size_guards::split, None, search::split),
    (("String.prototype", &["includes"]), size_guards::free, Some(search::includes_short), search::includes),
    (("String.prototype", &["indexOf"]), size_guards::free, Some(search::index_of_short), search::index_of),
    (("String.prototype", &["lastIndexOf"]), size_guards::free, None, search::last_index_of),
    (("JSON", &["parse"]), size_guards::free, None, json::parse),
    (("JSON", &["stringify"]), size_guards::free, None, json::stringify),
];

/// Puts the wrapped and the replaced functions in the place of the built-ins.
pub(crate) fn install(state: &Rc<State>, context: &mut Context) -> JsResult<()> {
    let instance = InstanceRef::new(state);
    regexp::install(instance, context)?;
    for ((path, names), estimate) in GUARDED {
        let Some(holder) = holder(path, context)? else { continue };
        for name in *names {
            size_guards::install(instance, &holder, name, *estimate, None, None, context)?;
        }
    }
    for ((path, names), estimate, shortcut, replacement) in REPLACED {
        let Some(holder) = holder(path, context)? else { continue };
        for name in *names {
            size_guards::install(instance, &holder, name, *estimate, *shortcut, Some(*replacement), context)?;
        }
    }
    flat::install(instance, context)?;
    if !state.runtime().registry().profile().allows(Facility::Clock) {
        clock::install(state, context)?;
    }
    proxy::install(context)
}

/// Finds the object that a path names.
fn holder(path: &str, context: &mut Context) -> JsResult<Option<JsObject>> {
    let mut holder = context.global_object();
    for name in path.split('.') {
        let next = match name {
            "__proto__" => holder.prototype(),
            _ => holder.get(js_string!(name), context)?.as_object(),
        };
        let Some(next) = next else { return Ok(None) };
        holder = next;
    }
    Ok(Some(holder))
}
