//! The integrity of the root object: its properties are fixed, and a script that would replace it is refused.
//!
//! Nothing can be replaced, so nothing is looked at after a callback.

use boa_engine::object::JsObject;
use boa_engine::property::PropertyDescriptor;
use boa_engine::{Context, JsResult, JsValue};
use kemi_core::registry::RegistryData;
use kemi_core::telemetry::log_guarded;
use kemi_core::{ErrorCode, ScriptError};

use crate::{references, string};

/// Defines a property that no script can change: an assignment is an error in strict code, and elsewhere does nothing.
pub(crate) fn define_fixed(
    object: &JsObject,
    name: &str,
    value: impl Into<JsValue>,
    context: &mut Context,
) -> JsResult<()> {
    let fixed = PropertyDescriptor::builder().value(value).enumerable(true).writable(false).configurable(false);
    object.define_property_or_throw(string::to_js(name.as_bytes()), fixed, context)?;
    Ok(())
}

/// Refuses a text that would replace the root object or something that the host has put into it. Outside of strict code
/// the language does not say that it has no effect.
///
/// # Errors
/// [`ErrorCode::RootReplaced`] with the line.
pub(crate) fn refuse_replaced(code: &str, name: &str, registry: &RegistryData) -> Result<(), ScriptError> {
    let root = registry.root();
    if !may_change(code, root) {
        return Ok(());
    }
    // The compiler reports a text that does not parse.
    let Ok(uses) = references::read(code, name, root) else { return Ok(()) };
    if uses.is_shadowed {
        return Ok(());
    }
    for change in uses.changes.iter().filter(|change| is_of_host(registry, &change.path)) {
        let what = change.path.iter().fold(root.to_owned(), |text, name| format!("{text}.{name}"));
        let error =
            ScriptError::new(ErrorCode::RootReplaced, format!("the script replaces {what}, which belongs to the host"))
                .at(name, change.line)
                .with_hint("use another name");
        if !change.is_in_function {
            return Err(error);
        }
        log_guarded(|| tracing::warn!(target: "script", "{error}; outside of strict code it has no effect"));
    }
    Ok(())
}

/// Returns whether what a path below the root stands for is the host's: a module, a function, a constant or a part of one.
fn is_of_host(registry: &RegistryData, path: &[String]) -> bool {
    let mut module = registry.module();
    for (i, name) in path.iter().enumerate() {
        if let Some(inner) = module.modules().iter().find(|inner| inner.name() == name) {
            module = inner;
            continue;
        }
        let is_function = || i + 1 == path.len() && registry.find(module.path(), name).is_some();
        return module.constants().iter().any(|constant| constant.def().name == name) || is_function();
    }
    true
}

/// Returns whether a text may do more with the root object than to call its functions.
fn may_change(code: &str, root: &str) -> bool {
    let path = |c: char| c.is_alphanumeric() || matches!(c, '_' | '$' | '.' | '?');
    code.match_indices(root).any(|(at, _)| {
        let rest = code.get(at + root.len()..).unwrap_or_default();
        let rest = rest.trim_start_matches(path).trim_start();
        let deleted = code.get(..at).is_some_and(|before| {
            let before = before.trim_end_matches(path).trim_end();
            before.ends_with("delete") || before.ends_with("++") || before.ends_with("--")
        });
        let behind = rest.trim_start_matches([')', ' ']);
        let assigned = behind.starts_with('=') && !behind.starts_with("==") && !behind.starts_with("=>");
        deleted || assigned || !rest.starts_with(['(', ';', ',', ')'])
    })
}
