//! The bench scripts: a loop for each signature, and functions for the host to call.

use std::fmt::Write as _;

use crate::Language;

/// A signature of [`crate::natives`].
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// The function's name.
    pub name: &'static str,
    /// The signature, for tables.
    pub signature: &'static str,
    args: &'static str,
}

/// All signatures that are measured.
pub const SHAPES: [Shape; 8] = [
    Shape { name: "none", signature: "() → int", args: "" },
    Shape { name: "flag", signature: "(int) → bool", args: "7" },
    Shape { name: "add", signature: "(int, int) → int", args: "7, 8" },
    Shape { name: "length", signature: "(str) → int", args: "\"$rm\"" },
    Shape { name: "get", signature: "(str) → str", args: "\"$rm\"" },
    Shape { name: "reply", signature: "(str, int) → int", args: "\"OK\", 200" },
    Shape { name: "set", signature: "(str, str) → int", args: "\"$var(x)\", \"abc\"" },
    Shape { name: "mixed", signature: "five mixed", args: "\"$rm\", 7, true, \"abc\", 8" },
];

/// A function of the script that the host calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostCall {
    /// No parameters, nothing done.
    Empty,
    /// Two integers.
    TwoInts,
    /// A string.
    OneString,
}

impl HostCall {
    /// All of them.
    pub const ALL: [HostCall; 3] = [HostCall::Empty, HostCall::TwoInts, HostCall::OneString];

    /// Returns the function's name in scripts.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            HostCall::Empty => "on_empty",
            HostCall::TwoInts => "on_two_ints",
            HostCall::OneString => "on_one_string",
        }
    }

    /// Returns the names of its parameters.
    #[must_use]
    pub fn params(self) -> &'static [&'static str] {
        match self {
            HostCall::Empty => &[],
            HostCall::TwoInts => &["a", "b"],
            HostCall::OneString => &["text"],
        }
    }
}

/// Names the loop of a function.
#[must_use]
pub fn loop_name(function: &str) -> String {
    format!("loop_{function}")
}

/// Writes the bench script, whose native functions are the members of the object `root`.
#[must_use]
pub fn text(language: Language, root: &str) -> String {
    let mut text = String::new();
    push_loop(&mut text, language, "loop_empty", None, "");
    for shape in SHAPES {
        let function = format!("{root}.{}", shape.name);
        let called = if language == Language::Rhai { function.as_str() } else { "f" };
        let yes = if language == Language::Python { "True" } else { "true" };
        let call = format!("{called}({})", shape.args.replace("true", yes));
        push_loop(&mut text, language, &loop_name(shape.name), Some(&function), &call);
    }
    for callback in HostCall::ALL {
        push_function(&mut text, language, callback.name(), &callback.params().join(", "));
    }
    text
}

/// Writes a function `name(n)` that runs a statement n times, or nothing if it is empty; `local` becomes the variable
/// `f` where the language has variables for functions.
pub fn push_loop(text: &mut String, language: Language, name: &str, local: Option<&str>, statement: &str) {
    let result = match language {
        Language::Lua => {
            let local = local.map(|function| format!("local f = {function} ")).unwrap_or_default();
            writeln!(text, "function {name}(n) {local}for i = 1, n do {statement} end end")
        }
        Language::Python => {
            let local = local.map(|function| format!("    f = {function}\n")).unwrap_or_default();
            let statement = if statement.is_empty() { "pass" } else { statement };
            writeln!(text, "def {name}(n):\n{local}    for i in range(n):\n        {statement}")
        }
        Language::Rhai => {
            let end = if statement.is_empty() { "" } else { ";" };
            writeln!(text, "fn {name}(n) {{ for i in 0..n {{ {statement}{end} }} }}")
        }
        Language::Js => {
            let local = local.map(|function| format!("const f = {function}; ")).unwrap_or_default();
            writeln!(text, "function {name}(n) {{ {local}for (let i = 0; i < n; i++) {{ {statement} }} }}")
        }
    };
    result.expect("writing to a string does not fail");
}

/// Writes a function that does nothing.
pub fn push_function(text: &mut String, language: Language, name: &str, params: &str) {
    let result = match language {
        Language::Lua => writeln!(text, "function {name}({params}) end"),
        Language::Python => writeln!(text, "def {name}({params}):\n    pass"),
        Language::Rhai => writeln!(text, "fn {name}({params}) {{ }}"),
        Language::Js => writeln!(text, "function {name}({params}) {{ }}"),
    };
    result.expect("writing to a string does not fail");
}
