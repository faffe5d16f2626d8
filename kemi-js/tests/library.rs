//! Every function that a script can reach without making one, and what keeps it from taking a thread away. A function that
//! Boa adds is not in the list, and so is looked at before it is used.

mod common;

use std::collections::BTreeMap;

use common::load_limited;
use kemi_core::{ArgumentPolicy, Limits, Outcome, Source, Value};

/// A line for each: its path, and which of these holds for it.
///
/// - `small`: it takes a time and a memory that its arguments have cost already, a few times over at the most.
/// - `asks`: it is estimated before how much it will take (`library/size_guards.rs`), or done here in a form that ends
///   (`library/`: `search.rs`, `json.rs`, `flat.rs`, `regexp/`).
/// - `calls`: it goes on only as long as it calls functions, each of which ends with the call.
/// - `makes`: it makes a function, coroutine or proxy; what it makes is stopped as all code is.
/// - `code`: it compiles a text, which is looked at before (`nesting.rs`).
/// - `chain`: it makes chains of objects, which are kept from being circular or too long (`library/proxy.rs`).
/// - `waits`: it waits, or leaves something behind that does, until the call ends (`jobs.rs`).
/// - `host`: it is the host's or this crate's own.
/// - `large`: it may take long for much; `docs/limits.md` tells how long.
const LIST: &str = include_str!("library.txt");

const KINDS: [&str; 9] = ["small", "asks", "calls", "makes", "code", "chain", "waits", "host", "large"];

/// Walks all objects that can be reached from the global one, and from what syntax makes.
const WALK: &str = r#"
function f() {
    const seen = new Map(), lines = [];
    const open = [[globalThis, ""]];
    const of = (path, value) => open.push([value, path]);
    of("<function>", Object.getPrototypeOf(function () {}));
    of("<generator function>", Object.getPrototypeOf(function* () {}));
    of("<async function>", Object.getPrototypeOf(async function () {}));
    of("<async generator function>", Object.getPrototypeOf(async function* () {}));
    of("<generator>", (function* () {})());
    of("<async generator>", (async function* () {})());
    of("<array iterator>", [][Symbol.iterator]());
    of("<string iterator>", ""[Symbol.iterator]());
    of("<map iterator>", new Map()[Symbol.iterator]());
    of("<set iterator>", new Set()[Symbol.iterator]());
    of("<regular expression iterator>", "".matchAll(/a/g));
    if (typeof Iterator === "function") {
        of("<iterator helper>", Iterator.prototype.map && Iterator.from([]).map(x => x));
        of("<wrapped iterator>", Iterator.from({ next() {} }));
    }
    of("<arguments>", (function () { return arguments; })());
    while (open.length) {
        const [value, path] = open.shift();
        if (value === null || (typeof value !== "object" && typeof value !== "function") || seen.has(value)) continue;
        seen.set(value, path);
        if (typeof value === "function") lines.push(path);
        const prototype = Object.getPrototypeOf(value);
        if (prototype) of(path + ".__proto__", prototype);
        for (const key of Reflect.ownKeys(value)) {
            const name = (path ? path + "." : "") + (typeof key === "symbol" ? "[" + key.description + "]" : key);
            const slot = Object.getOwnPropertyDescriptor(value, key);
            if (slot.get) of(name + " (get)", slot.get);
            if (slot.set) of(name + " (set)", slot.set);
            if ("value" in slot) of(name, slot.value);
        }
    }
    return lines.sort().join("\n");
}
"#;

#[test]
fn every_function_of_the_language_is_known() {
    let source = [Source::text("t.js", WALK)];
    let mut loaded = load_limited(&source, ArgumentPolicy::Strict, Limits::NONE).expect("it loads");
    let found = match loaded.call(&[]) {
        Ok(Outcome::Value(Value::Str(found))) => String::from_utf8_lossy(&found).into_owned(),
        other => panic!("no list: {other:?}"),
    };
    if let Some(path) = std::env::var_os("KEMI_JS_BUILTINS") {
        std::fs::write(path, &found).expect("it can be written");
    }
    let mut known: BTreeMap<&str, &str> = BTreeMap::new();
    for line in LIST.lines() {
        let (kind, path) = line.split_once(' ').expect("a kind and a path");
        assert!(KINDS.contains(&kind), "{line}");
        assert!(known.insert(path, kind).is_none(), "twice: {path}");
    }
    let new: Vec<&str> = found.lines().filter(|path| !known.contains_key(path)).collect();
    assert!(
        new.is_empty(),
        "Boa has new functions; see what ends them, and list them in tests/library.txt:\n{}",
        new.join("\n")
    );
    let gone: Vec<&&str> = known.keys().filter(|path| !found.lines().any(|line| line == **path)).collect();
    assert!(gone.is_empty(), "Boa has these no more: {gone:?}");
}
