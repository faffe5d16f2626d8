//! Script files as text: what can be read from them without a parser.

use std::collections::HashMap;

use kemi_core::{ErrorCode, Location, ScriptError};

/// The file name of the engine's own code, which tracebacks leave out.
pub(crate) const ENGINE_FILE: &str = "kemi-js";

/// The file name of the code that calls callbacks in slices, which tracebacks leave out.
pub(crate) const SLICES_FILE: &str = "kemi-js-call";

/// The texts of the loaded files, for the positions that Boa does not tell.
///
/// Boa knows the position of calls, property accesses, assignments and `throw`. Anything else has the position of its
/// function's body, or none at the top level.
#[derive(Default)]
pub(crate) struct SourceTexts(HashMap<String, Box<str>>);

impl SourceTexts {
    pub(crate) fn insert(&mut self, file: &str, text: &str) {
        self.0.insert(file.to_owned(), text.into());
    }

    /// Returns whether a position is only that of a function's body or of the whole script.
    pub(crate) fn is_vague(&self, place: &Location, column: Option<u32>) -> bool {
        let Some(column) = column else { return true };
        let line = self.0.get(&place.file).and_then(|text| text.lines().nth(place.line.saturating_sub(1) as usize));
        line.and_then(|line| line.chars().nth(column.saturating_sub(1) as usize)) == Some('{')
    }

    /// Finds the first line from a place on where a name stands as a word, or with its dot as that of a member, outside of
    /// line comments, and what follows it is as wanted.
    pub(crate) fn find(&self, name: &str, from: &Location, follows: impl Fn(Option<char>) -> bool) -> Option<u32> {
        let lines = self.0.get(&from.file)?.lines().zip(1u32..).skip(from.line.saturating_sub(1) as usize);
        let mut code = lines.map(|(line, number)| (line.split("//").next().unwrap_or(line), number));
        let has = |line: &str| {
            line.match_indices(name).any(|(start, _)| {
                let before = line.get(..start).and_then(|text| text.chars().next_back());
                let after = line.get(start + name.len()..).and_then(|text| text.chars().next());
                (name.starts_with('.') || !before.is_some_and(in_name)) && !after.is_some_and(in_name) && follows(after)
            })
        };
        code.find(|(line, _)| has(line)).map(|(_, number)| number)
    }

    /// Finds the line in which a part of a file begins.
    pub(crate) fn line_of(&self, file: &str, part: &str) -> Option<Location> {
        let text = self.0.get(file)?;
        let lines = text.get(..text.find(part)?)?.matches('\n').count();
        Some(Location { file: file.to_owned(), line: u32::try_from(lines).ok()?.saturating_add(1) })
    }

    /// Finds the line that defines a function by `function name` or `name =`.
    pub(crate) fn definition(&self, name: &str) -> Option<Location> {
        let defines = |line: &str| {
            line.match_indices(name).any(|(start, _)| {
                let (before, after) = (line.get(..start).unwrap_or(""), line.get(start + name.len()..).unwrap_or(""));
                let whole = !before.ends_with(in_name) && !after.starts_with(in_name);
                let (before, after) = (before.trim_end(), after.trim_start());
                whole && (before.ends_with("function") || (after.starts_with('=') && !after.starts_with("==")))
            })
        };
        self.0.iter().find_map(|(file, text)| {
            let (_, line) = text.lines().zip(1u32..).find(|(line, _)| defines(line))?;
            Some(Location { file: file.clone(), line })
        })
    }
}

/// Reads a script's bytes as text, without a byte order mark.
pub(crate) fn utf8<'a>(bytes: &'a [u8], name: &str) -> Result<&'a str, ScriptError> {
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    std::str::from_utf8(bytes).map_err(|error| {
        let before = bytes.get(..error.valid_up_to()).unwrap_or(bytes);
        let line = before.iter().filter(|&&byte| byte == b'\n').count() + 1;
        ScriptError::new(ErrorCode::Syntax, "the script is not valid UTF-8")
            .at(name, u32::try_from(line).unwrap_or(u32::MAX))
            .with_hint("save the file as UTF-8")
    })
}

/// Collects the names that follow `let`, `const` or `class`: the top level's and some more.
pub(crate) fn lexical_names(code: &str) -> impl Iterator<Item = String> {
    let names = code.split(['\n', ';', '{', '}']).filter_map(|part| {
        let part = part.trim_start();
        let rest = ["const", "let", "class"].iter().find_map(|word| part.strip_prefix(word))?;
        let name = rest.strip_prefix(char::is_whitespace)?.trim_start();
        let end = name.find(|c: char| !in_name(c)).unwrap_or(name.len());
        name.get(..end).filter(|name| is_name(name))
    });
    names.map(str::to_owned)
}

pub(crate) fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.starts_with(char::is_numeric) && name.chars().all(in_name)
}

fn in_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_as_words() {
        let mut texts = SourceTexts::default();
        texts.insert("a.js", "function f() {\n  // name\n  names; a.name.x\n  name;\n}");
        let from = Location { file: "a.js".to_owned(), line: 1 };
        assert_eq!(texts.find("name", &from, |_| true), Some(3));
        assert_eq!(texts.find("name", &from, |after| after == Some(';')), Some(4));
        assert_eq!(texts.find("nam", &from, |_| true), None);
        assert!(texts.is_vague(&from, Some(14)));
        assert!(!texts.is_vague(&from, Some(1)));
    }

    #[test]
    fn lexical_names_are_collected() {
        let names: Vec<String> =
            lexical_names("let a=1; const b$ = 2;\n\tclass C {}\nletter = 1; const [d] = e; let 1x").collect();
        assert_eq!(names, ["a", "b$", "C"]);
    }
}
