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
    /// The certain mistakes: calls of functions that an enabled module does not have, or in a misspelt module.
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
        // With the unknown one.
        let names = module.split('.').filter(|part| !part.is_empty()).count() + 1;
        let below = reference.path.get(names).map(String::as_str);
        let unknown = reference.path.get(..names).unwrap_or_default();
        let of_root = module.is_empty();
        let (module, name) = if of_root { (name, below) } else { (module, Some(name)) };
        // What is not enabled may be on another host, and a function of the root may be the script's own.
        let may_be_missing = registry.not_enabled(module, name).is_some() || (of_root && below.is_none());
        let asked_for = asked_for.contains(unknown);
        let error = registry.explain_unknown(module, name).at(file, reference.line);
        // A module that is like none of this host may be one of another host, for which the script was written, too.
        let is_misspelt = !of_root || error.hint.is_some();
        if reference.called && !asked_for && !may_be_missing && is_misspelt {
            found.errors.push(error);
        } else if !of_root || ((reference.called || below.is_some()) && !asked_for) {
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
    fn a_call_in_a_misspelt_module_is_an_error_unless_the_script_asks_for_it() {
        let (errors, warnings) = check(&[reference("y.exit", 3, true)]);
        assert!(errors[0].starts_with("s:3: there is no module or function app.y; did you mean app.x?"), "{errors:?}");
        assert!(warnings.is_empty());
        assert_eq!(check(&[reference("y.exit", 1, false)]).1.len(), 1);
        assert_eq!(check(&[reference("y", 1, false), reference("y.exit", 1, true)]), (vec![], vec![]));
    }

    #[test]
    fn a_module_that_is_like_none_is_a_warning_unless_the_script_asks_for_it() {
        let (errors, warnings) = check(&[reference("dispatcher.select", 3, true)]);
        assert!(errors.is_empty() && warnings.len() == 1, "{errors:?} {warnings:?}");
        let asked = [reference("dispatcher", 1, false), reference("dispatcher.select", 2, true)];
        assert_eq!(check(&asked), (vec![], vec![]));
    }

    #[test]
    fn modules_in_modules_are_looked_into_and_what_is_not_enabled_is_a_warning() {
        let builder = || Registry::<u8>::builder().root("app").function("net.http", "get", &[], || 1);
        let registry =
            builder().function("net.dns", "ask", &[], || 1).function("net", "up", &[], || 1).build().unwrap();
        let rows = [
            ("net.http.get", "ok"),
            ("net.http.get.x", "ok"),
            ("net.http.gte", "there is no function app.net.http.gte; did you mean app.net.http.get?"),
            ("net.htpt.get", "there is no function app.net.htpt; did you mean app.net.http?"),
            ("net.http.net.get", "there is no function app.net.http.net"),
            ("nte.http.get", "there is no module or function app.nte; did you mean app.net?"),
            ("net.pu", "there is no function app.net.pu; did you mean app.net.up?"),
        ];
        for (path, expected) in rows {
            let found = check_references(&registry, "s", &[reference(path, 1, true)]);
            let error = found.errors.first().map_or_else(|| "ok".to_owned(), ToString::to_string);
            assert!(error.contains(expected), "{path}: {error}");
            assert!(found.warnings.is_empty(), "{path}: {:?}", found.warnings);
        }
    }

    #[test]
    fn a_call_of_the_root_that_does_not_exist_is_a_warning() {
        assert_eq!(check(&[reference("nothing", 1, true)]).1.len(), 1);
    }
}
