//! Checks of a script's references to the registry, without running the script.

use std::collections::BTreeSet;

use crate::engine::Reference;
use crate::error::ScriptError;
use crate::export::CallbackName;
use crate::registry::{Export, Member, RegistryData};
use crate::value::Type;

/// The findings about a script's references.
#[derive(Clone, Debug, Default)]
pub(crate) struct References {
    /// The certain mistakes: calls of functions that an enabled module does not have.
    pub(crate) errors: Vec<ScriptError>,
    /// The references that fail if the script reaches them.
    pub(crate) warnings: Vec<ScriptError>,
    /// The callbacks that the script spells out in its calls.
    pub(crate) callbacks: Vec<CallbackReference>,
}

/// A callback's name, spelt out where a script passes it to an export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CallbackReference {
    pub(crate) name: String,
    /// The export, as the script names it.
    pub(crate) export: String,
    pub(crate) line: u32,
}

/// Checks a script's references against the registry, and collects the callbacks named in its calls.
///
/// A module or function that the script also names without calling it, as in `if app.nathelper`, may be missing.
pub(crate) fn check_references(registry: &RegistryData, file: &str, references: &[Reference]) -> References {
    let mut found = References::default();
    let asked_for: BTreeSet<&[String]> =
        references.iter().filter(|reference| !reference.called).map(|reference| &*reference.path).collect();
    for reference in references {
        let (module, name) = match registry.member(&reference.path) {
            Member::Export(export, names) => {
                if reference.called
                    && let Err(mut error) = export.check_capability()
                {
                    error.export = Some(registry.script_name(export.def()));
                    found.errors.push(error.at(file, reference.line));
                }
                // A call behind a member of a function's result is not the function's own.
                if reference.called && reference.path.len() == names {
                    found.callbacks.extend(callbacks(registry, export, reference));
                }
                continue;
            }
            Member::Constant | Member::Module => continue,
            Member::Unknown(module, name) => (module, name),
        };
        let names = reference.path.iter().position(|part| part == name).map_or(0, |at| at + 1);
        let below = reference.path.get(names);
        if module.is_empty() {
            // Neither a module nor a function of the root: something that is not enabled, perhaps.
            let of_module = reference.path.get(..1).unwrap_or_default();
            if (reference.called || below.is_some()) && !asked_for.contains(of_module) {
                let below = below.map(String::as_str);
                found.warnings.push(registry.explain_unknown(name, below).at(file, reference.line));
            }
            continue;
        }
        let error = registry.explain_unknown(module, Some(name)).at(file, reference.line);
        let of_function = reference.path.get(..names).unwrap_or_default();
        if reference.called && !asked_for.contains(of_function) {
            found.errors.push(error);
        } else {
            found.warnings.push(error);
        }
    }
    found
}

impl References {
    /// Returns the first error, with the number of the others in its message.
    ///
    /// # Errors
    /// The first one, if there is any.
    pub(crate) fn into_result(mut self) -> Result<(), ScriptError> {
        self.errors.sort_by_key(|error| error.place.as_ref().map(|place| place.line));
        let more = self.errors.len().saturating_sub(1);
        let Some(mut first) = self.errors.into_iter().next() else { return Ok(()) };
        if more > 0 {
            first.message = format!("{} (and {more} more such mistakes)", first.message);
        }
        Err(first)
    }
}

/// Finds the names of callbacks among the arguments of a call.
fn callbacks<'a>(
    registry: &'a RegistryData,
    export: &'a Export,
    reference: &'a Reference,
) -> impl Iterator<Item = CallbackReference> + 'a {
    let takes_name = |position: usize| {
        let param = export.def().params.get(position);
        param.is_some_and(|param| matches!(param.ty, Type::Callback | Type::Option(Type::Callback)))
    };
    let names = reference.texts.iter().filter(move |(position, _)| takes_name(*position));
    let no_callback = registry.dialect().no_callback;
    let names = names.filter_map(|(_, name)| CallbackName::new(name).get());
    names.filter(move |name| no_callback != Some(*name)).map(|name| CallbackReference {
        name: name.to_owned(),
        export: registry.script_name(export.def()),
        line: reference.line,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Registry;

    fn reference(path: &str, line: u32, called: bool) -> Reference {
        Reference { path: path.split('.').map(str::to_owned).collect(), line, called, texts: Vec::new() }
    }

    fn check(references: &[Reference]) -> (Vec<String>, Vec<String>) {
        let registry = Registry::<u8>::builder().root("app").build().unwrap();
        let found = check_references(&registry, "s", references);
        let lines = |errors: Vec<ScriptError>| errors.iter().map(ToString::to_string).collect();
        (lines(found.errors), lines(found.warnings))
    }

    #[test]
    fn a_call_of_a_function_that_an_enabled_module_lacks_is_an_error_with_its_line() {
        let (errors, warnings) = check(&[reference("x.exit", 1, true), reference("x.exti", 2, true)]);
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(errors[0].starts_with("s:2: there is no function app.x.exti; did you mean app.x.exit?"), "{errors:?}");
        assert!(warnings.is_empty());
    }

    #[test]
    fn a_function_that_the_script_asks_for_may_be_missing() {
        let (errors, warnings) = check(&[reference("x.nap", 1, false), reference("x.nap", 2, true)]);
        assert!(errors.is_empty(), "{errors:?}");
        assert_eq!(warnings.len(), 2, "{warnings:?}");
    }

    #[test]
    fn a_missing_module_is_a_warning_unless_the_script_asks_for_it() {
        assert_eq!(check(&[reference("nat.test", 1, true)]).1.len(), 1);
        assert_eq!(check(&[reference("nat", 1, false), reference("nat.test", 1, true)]), (vec![], vec![]));
    }

    #[test]
    fn a_call_of_the_root_that_does_not_exist_is_a_warning() {
        assert_eq!(check(&[reference("nothing", 1, true)]).1.len(), 1);
    }
}
