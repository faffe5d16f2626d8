//! Finds what a script names of the registry without running it.

use crate::error::{ErrorCode, ScriptError};
use crate::registry::RegistryData;

/// How a language writes comments and strings, as far as it takes to skip them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lexis {
    /// What begins a comment that ends with the line.
    pub line_comment: &'static str,
    /// What begins and ends a comment or a string over several lines; the first that fits counts.
    pub blocks: &'static [(&'static str, &'static str)],
    /// The quotes of strings that end with the same quote, with `\` as the escape.
    pub quotes: &'static [u8],
}

/// What a script names of the registry.
#[derive(Clone, Debug, Default)]
pub struct References {
    /// What cannot be right: functions that an enabled module does not have. Each error has file and line.
    pub errors: Vec<ScriptError>,
    /// What will fail if it is ever reached: functions of modules that are unknown or not enabled, and for which the
    /// script never asks whether they are there.
    pub warnings: Vec<ScriptError>,
}

/// Checks every `ROOT.module.function` that is visible in a script's text against the registry.
///
/// A module that the script asks for by itself, as in `if KSR.nathelper`, may be missing.
#[must_use]
pub fn check_references(registry: &RegistryData, lexis: &Lexis, file: &str, text: &[u8]) -> References {
    let mut found = References::default();
    let paths = paths(registry.root().as_bytes(), lexis, text);
    let asked_for = |module: &[u8]| paths.iter().any(|path| path.function.is_none() && path.module == module);
    for path in &paths {
        let (Ok(module), Ok(function)) =
            (std::str::from_utf8(path.module), std::str::from_utf8(path.function.unwrap_or_default()))
        else {
            continue;
        };
        if registry.find("", module).is_some() || path.function.is_none() {
            continue;
        }
        let known = registry.modules().any(|(name, _)| name == module && !name.is_empty());
        if known && registry.find(module, function).is_none() {
            found.errors.push(registry.explain_unknown(module, Some(function)).at(file, path.line));
        } else if !known && !asked_for(path.module) {
            found.warnings.push(registry.explain_unknown(module, Some(function)).at(file, path.line));
        }
    }
    found
}

impl References {
    /// Returns the first error, with the number of the others in its message.
    ///
    /// # Errors
    /// If there is one.
    pub fn into_result(self) -> Result<(), ScriptError> {
        let more = self.errors.len().saturating_sub(1);
        let Some(mut first) = self.errors.into_iter().next() else { return Ok(()) };
        debug_assert_eq!(first.code, ErrorCode::UnknownFunction);
        if more > 0 {
            first.message = format!("{} (and {more} more unknown functions)", first.message);
        }
        Err(first)
    }
}

struct Path<'a> {
    module: &'a [u8],
    function: Option<&'a [u8]>,
    line: u32,
}

fn paths<'a>(root: &[u8], lexis: &Lexis, text: &'a [u8]) -> Vec<Path<'a>> {
    let mut paths = Vec::new();
    let mut at = 0;
    let mut line = 1;
    // Whether a name that begins here would be a part of something longer.
    let mut inside_name = false;
    while let Some(&byte) = text.get(at) {
        let rest = text.get(at..).unwrap_or_default();
        let skipped = skip(lexis, rest);
        if skipped > 0 {
            line += newlines(rest.get(..skipped).unwrap_or_default());
            at += skipped;
            inside_name = false;
            continue;
        }
        if !inside_name
            && let Some(behind) = rest.strip_prefix(root)
            && let Some((module, behind)) = member(behind)
        {
            let function = member(behind);
            paths.push(Path { module, function: function.map(|(name, _)| name), line });
            let behind = function.map_or(behind, |(_, behind)| behind);
            let length = rest.len() - behind.len();
            line += newlines(rest.get(..length).unwrap_or_default());
            at += length;
            inside_name = true;
            continue;
        }
        line += u32::from(byte == b'\n');
        inside_name = is_name(byte) || byte == b'.';
        at += 1;
    }
    paths
}

/// Returns how many bytes of comment or string the text begins with.
fn skip(lexis: &Lexis, text: &[u8]) -> usize {
    for (open, close) in lexis.blocks {
        if let Some(inside) = text.strip_prefix(open.as_bytes()) {
            let end = find(inside, close.as_bytes()).map_or(inside.len(), |i| i + close.len());
            return open.len() + end;
        }
    }
    if text.starts_with(lexis.line_comment.as_bytes()) {
        return text.iter().position(|&b| b == b'\n').unwrap_or(text.len());
    }
    match text.first() {
        Some(quote) if lexis.quotes.contains(quote) => {
            let mut at = 1;
            while let Some(byte) = text.get(at) {
                match byte {
                    b'\\' => at += 1,
                    b'\n' => break,
                    byte if byte == quote => return at + 1,
                    _ => {}
                }
                at += 1;
            }
            at.min(text.len())
        }
        _ => 0,
    }
}

/// Takes `.name` off the text.
fn member(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let name = text.strip_prefix(b".")?;
    let length = name.iter().position(|&b| !is_name(b)).unwrap_or(name.len());
    (length > 0).then(|| name.split_at(length))
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

fn newlines(text: &[u8]) -> u32 {
    u32::try_from(text.iter().filter(|&&b| b == b'\n').count()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Registry;

    const DASHES: Lexis = Lexis { line_comment: "--", blocks: &[("--[[", "]]"), ("[[", "]]")], quotes: b"\"'" };

    fn check(text: &str) -> (Vec<String>, Vec<String>) {
        let registry = Registry::<u8>::builder().build().unwrap();
        let found = check_references(&registry, &DASHES, "s", text.as_bytes());
        let lines = |errors: Vec<ScriptError>| errors.iter().map(ToString::to_string).collect();
        (lines(found.errors), lines(found.warnings))
    }

    #[test]
    fn a_function_that_an_enabled_module_lacks_is_an_error_with_its_line() {
        let (errors, warnings) = check("KSR.x.exit()\nlocal f = KSR.x.exti\n");
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(errors[0].starts_with("s:2: there is no function KSR.x.exti; did you mean KSR.x.exit?"), "{errors:?}");
        assert!(warnings.is_empty());
    }

    #[test]
    fn a_missing_module_is_a_warning_unless_the_script_asks_for_it() {
        assert_eq!(check("KSR.nat.test(1)").1.len(), 1);
        assert_eq!(check("if KSR.nat then KSR.nat.test(1) end").1.len(), 0);
    }

    #[test]
    fn comments_and_strings_name_nothing() {
        let text = "-- KSR.x.a\n--[[ KSR.x.b\n]] 'KSR.x.c' \"\\\"KSR.x.d\" [[KSR.x.e]]\nOTHERKSR.x.f() a.KSR.x.g()";
        assert_eq!(check(text), (vec![], vec![]));
        assert_eq!(check("'unclosed\nKSR.x.h()").0.len(), 1);
    }
}
