//! The names that mean something to JavaScript itself.

use kemi_core::registry::NameRole;

/// Returns what a name means in JavaScript, if a script could not use what the host gives that name.
///
/// After a dot every name may stand.
pub(crate) fn meaning(name: &str, role: NameRole) -> Option<&'static str> {
    let is = |list: &[&str]| list.binary_search(&name).is_ok();
    match role {
        // It is no property, but a way to an object's prototype.
        NameRole::Member => (name == "__proto__").then_some("the prototype of an object"),
        _ if is(WORDS) => Some("a reserved word"),
        _ if is(GLOBALS) => Some("a global of the language"),
        _ => None,
    }
}

/// Sorted: what strict code refuses as the name of a variable or function.
const WORDS: &[&str] = &[
    "arguments",
    "await",
    "break",
    "case",
    "catch",
    "class",
    "const",
    "continue",
    "debugger",
    "default",
    "delete",
    "do",
    "else",
    "enum",
    "eval",
    "export",
    "extends",
    "false",
    "finally",
    "for",
    "function",
    "if",
    "implements",
    "import",
    "in",
    "instanceof",
    "interface",
    "let",
    "new",
    "null",
    "package",
    "private",
    "protected",
    "public",
    "return",
    "static",
    "super",
    "switch",
    "this",
    "throw",
    "true",
    "try",
    "typeof",
    "var",
    "void",
    "while",
    "with",
    "yield",
];

/// Sorted.
const GLOBALS: &[&str] = &[
    "AggregateError",
    "Array",
    "ArrayBuffer",
    "AsyncDisposableStack",
    "Atomics",
    "BigInt",
    "BigInt64Array",
    "BigUint64Array",
    "Boolean",
    "DataView",
    "Date",
    "DisposableStack",
    "Error",
    "EvalError",
    "FinalizationRegistry",
    "Float16Array",
    "Float32Array",
    "Float64Array",
    "Function",
    "Infinity",
    "Int16Array",
    "Int32Array",
    "Int8Array",
    "Intl",
    "Iterator",
    "JSON",
    "Map",
    "Math",
    "NaN",
    "Number",
    "Object",
    "Promise",
    "Proxy",
    "RangeError",
    "ReferenceError",
    "Reflect",
    "RegExp",
    "Set",
    "SharedArrayBuffer",
    "String",
    "SuppressedError",
    "Symbol",
    "SyntaxError",
    "Temporal",
    "TypeError",
    "TypedArray",
    "URIError",
    "Uint16Array",
    "Uint32Array",
    "Uint8Array",
    "Uint8ClampedArray",
    "WeakMap",
    "WeakRef",
    "WeakSet",
    "console",
    "decodeURI",
    "decodeURIComponent",
    "encodeURI",
    "encodeURIComponent",
    "escape",
    "exports",
    "globalThis",
    "isFinite",
    "isNaN",
    "module",
    "parseFloat",
    "parseInt",
    "print",
    "require",
    "undefined",
    "unescape",
];

#[cfg(test)]
mod tests {
    use boa_engine::{Context, Source, js_string};

    use super::*;

    #[test]
    fn the_lists_hold_what_the_language_has_under_a_name() {
        assert!(WORDS.is_sorted() && GLOBALS.is_sorted());
        let mut context = Context::default();
        let names = context.eval(Source::from_bytes("Object.getOwnPropertyNames(globalThis).join(' ')")).unwrap();
        let names = names.as_string().unwrap_or(js_string!("")).to_std_string_escaped();
        assert!(names.contains("JSON"), "{names}");
        let free: Vec<&str> = names.split(' ').filter(|name| meaning(name, NameRole::Root).is_none()).collect();
        assert!(free.is_empty(), "{free:?}");
        let is_name = |word: &&&str| {
            let code = format!("'use strict'; (function () {{ var {word} = 1; }})()");
            context.eval(Source::from_bytes(&code)).is_ok()
        };
        let names: Vec<&&str> = WORDS.iter().filter(is_name).collect();
        // Only a module refuses `await`.
        assert_eq!(names, [&"await"]);
    }

    #[test]
    fn every_word_is_free_after_a_dot() {
        for name in WORDS.iter().chain(GLOBALS) {
            assert_eq!(meaning(name, NameRole::Member), None, "{name}");
        }
    }
}
