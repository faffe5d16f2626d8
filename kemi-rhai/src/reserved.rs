//! The names that mean something to Rhai itself.

use kemi_core::registry::NameRole;

/// Returns what a name means in Rhai, if a script could not use what the host gives that name.
///
/// After a dot every name may stand: `integrity.rs` takes keywords there as names.
pub(crate) fn meaning(name: &str, role: NameRole) -> Option<&'static str> {
    match role {
        NameRole::Member => None,
        _ if WORDS.binary_search(&name).is_ok() => Some("a reserved word"),
        // Alone it is a pattern for anything.
        _ if matches!(name, "_") => Some("a pattern"),
        _ => None,
    }
}

/// Sorted: keywords, also those of later versions, and the functions that are built into the language.
const WORDS: &[&str] = &[
    "Fn",
    "as",
    "async",
    "await",
    "break",
    "call",
    "case",
    "catch",
    "const",
    "continue",
    "curry",
    "debug",
    "default",
    "do",
    "else",
    "eval",
    "export",
    "false",
    "fn",
    "for",
    "global",
    "go",
    "goto",
    "if",
    "import",
    "in",
    "is",
    "is_def_fn",
    "is_def_var",
    "is_shared",
    "let",
    "loop",
    "match",
    "module",
    "new",
    "nil",
    "null",
    "package",
    "print",
    "private",
    "protected",
    "public",
    "return",
    "shared",
    "spawn",
    "static",
    "super",
    "switch",
    "sync",
    "this",
    "thread",
    "throw",
    "true",
    "try",
    "type_of",
    "until",
    "use",
    "var",
    "void",
    "while",
    "with",
    "yield",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_holds_every_word_that_rhai_does_not_take_as_a_name() {
        assert!(WORDS.is_sorted());
        let engine = rhai::Engine::new();
        for word in WORDS.iter().filter(|&&word| word != "global") {
            let code = format!("let {word} = 1;");
            assert!(engine.compile(&code).is_err(), "{word} is a name");
        }
        for name in ["exit", "drop", "len", "push", "host", "json", "string", "end", "class", "self", "function"] {
            assert!(engine.compile(format!("let {name} = 1; fn {name}() {{}}")).is_ok(), "{name} is none");
            assert_eq!(meaning(name, NameRole::Root), None, "{name}");
        }
    }
}
