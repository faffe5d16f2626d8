//! The names that mean something to Lua itself.

use kemi_core::registry::NameRole;

/// Returns what a name means in Lua, if a script could not use what the host gives that name.
pub(crate) fn meaning(name: &str, role: NameRole) -> Option<&'static str> {
    let is = |list: &[&str]| list.binary_search(&name).is_ok();
    match role {
        _ if is(KEYWORDS) => Some("a keyword"),
        NameRole::Member => None,
        _ if is(GLOBALS) => Some("a name of the standard library"),
        _ if matches!(name, "self" | "_ENV") => Some("a variable that Lua declares itself"),
        _ => None,
    }
}

/// Sorted.
const KEYWORDS: &[&str] = &[
    "and", "break", "do", "else", "elseif", "end", "false", "for", "function", "goto", "if", "in", "local", "nil",
    "not", "or", "repeat", "return", "then", "true", "until", "while",
];

/// Sorted: of Lua 5.4 and of LuaJIT, whichever is built, so that a host gets the same answer from both.
const GLOBALS: &[&str] = &[
    "_G",
    "_VERSION",
    "assert",
    "bit",
    "bit32",
    "collectgarbage",
    "coroutine",
    "debug",
    "dofile",
    "error",
    "ffi",
    "gcinfo",
    "getfenv",
    "getmetatable",
    "io",
    "ipairs",
    "jit",
    "load",
    "loadfile",
    "loadstring",
    "math",
    "module",
    "newproxy",
    "next",
    "os",
    "package",
    "pairs",
    "pcall",
    "print",
    "rawequal",
    "rawget",
    "rawlen",
    "rawset",
    "require",
    "select",
    "setfenv",
    "setmetatable",
    "string",
    "table",
    "tonumber",
    "tostring",
    "type",
    "unpack",
    "utf8",
    "warn",
    "xpcall",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_are_sorted() {
        assert!(KEYWORDS.is_sorted() && GLOBALS.is_sorted());
    }

    #[test]
    fn only_keywords_are_taken_after_a_dot() {
        assert_eq!(meaning("end", NameRole::Member), Some("a keyword"));
        for name in ["string", "print", "self", "os", "app", "import", "class"] {
            assert_eq!(meaning(name, NameRole::Member), None, "{name}");
        }
    }
}
