//! Callbacks that a script spells out are checked when it is loaded.
#![forbid(unsafe_code)]

use std::rc::Rc;
use std::sync::Arc;

use kemi_core::{
    Arg, CallbackId, CallbackName, Engine, ErrorCode, Interpreter, Lexis, Place, Program, Registry, Runtime, Script,
    ScriptError, Source, Type, Value, check_references,
};
use kemi_macros::kemi_export;

struct Cx;

#[kemi_export(module = "t")]
fn on(_cx: &mut Cx, _script: &Script<'_>, name: CallbackName<'_>) -> bool {
    name.get().is_some()
}

#[kemi_export(module = "t")]
fn after(_cx: &mut Cx, _ms: i64, name: Option<CallbackName<'_>>, _text: Option<&str>) -> bool {
    name.is_some()
}

#[kemi_export(module = "")]
fn at_root(_cx: &mut Cx, _name: CallbackName<'_>) {}

const LEXIS: Lexis = Lexis {
    line_comment: "--",
    comments: &[("--[[", "]]")],
    long_strings: &[("[[", "]]"), ("`", "`")],
    quotes: b"\"'",
};

fn registry() -> Registry<Cx> {
    Registry::builder().all_modules().build().unwrap()
}

fn mentioned(text: &str) -> Vec<(String, u32)> {
    let found = check_references(&registry(), &LEXIS, "s", text.as_bytes());
    assert!(found.errors.is_empty() && found.warnings.is_empty(), "{found:?}");
    found.callbacks.into_iter().map(|mention| (mention.name, mention.line)).collect()
}

#[test]
fn a_name_that_is_spelt_out_is_found_wherever_it_stands() {
    for text in [
        "KSR.t.on('a')",
        "KSR.t.on(\"a\")",
        "KSR.t.on [[a]]",
        "KSR.t.on 'a'",
        "KSR.t.on(`a`)",
        "KSR.t.on( --[[ who ]] 'a' -- nobody\n)",
        "KSR.t.on\n('a',)",
        "KSR.at_root('a')",
        "KSR.t.after(f(1, [2, 3], '),'), 'a')",
        "KSR.t.after(1, 'a', 'b')",
    ] {
        assert_eq!(mentioned(text), [("a".to_owned(), 1)], "{text}");
    }
    assert_eq!(mentioned("-- KSR.t.on('x')\nKSR.t.on('a') KSR.t.on('b')").len(), 2);
    assert_eq!(mentioned("\n\nKSR.t.on('a')"), [("a".to_owned(), 3)]);
}

#[test]
fn what_is_computed_and_what_names_nothing_is_left_to_the_call() {
    for text in [
        "KSR.t.on('a' .. b)",
        "KSR.t.on(a)",
        "KSR.t.on(f'a')",
        "KSR.t.on('a\\n')",
        "KSR.t.on(`a${b}`)",
        "KSR.t.on('a' 'b')",
        "KSR.t.on('')",
        "KSR.t.on('0')",
        "KSR.t.on()",
        "KSR.t.on('a",
        "KSR.t.on",
        "KSR.t.after(1) 'a'",
        "KSR.t.after('a')",
        "local on = KSR.t.on\n'a'",
        "KSR.at_root.x('a')",
    ] {
        assert_eq!(mentioned(text), [], "{text}");
    }
}

#[test]
fn the_parameter_is_described_as_a_callback_name() {
    let registry = registry();
    assert_eq!(registry.find("t", "on").unwrap().def.params[0].ty, Type::Callback);
    let dump = registry.dump();
    let exports = dump["exports"].as_array().unwrap();
    let on = exports.iter().find(|export| export["script_name"] == "KSR.t.on").unwrap();
    assert_eq!(on["params"][0]["type"], "callback name");
}

/// An engine whose scripts define `on_start` and `on_end`, whatever they say.
#[derive(Debug)]
struct Two;

impl Engine for Two {
    fn name(&self) -> &'static str {
        "two"
    }

    fn language(&self) -> String {
        "two functions".to_owned()
    }

    fn lexis(&self) -> Option<Lexis> {
        Some(LEXIS)
    }

    fn load(&self, _runtime: Rc<Runtime>, _sources: &[Source]) -> Result<Box<dyn Interpreter>, ScriptError> {
        Ok(Box::new(Two))
    }
}

impl Interpreter for Two {
    fn resolve(&self, name: &str) -> bool {
        self.functions().iter().any(|known| known == name)
    }

    fn functions(&self) -> Vec<String> {
        vec!["on_start".to_owned(), "on_end".to_owned()]
    }

    fn call(&self, _callback: CallbackId, _args: &[Arg<'_>]) -> Result<Value, ScriptError> {
        Ok(Value::Nil)
    }

    fn place(&self) -> Option<Place> {
        None
    }
}

#[test]
fn a_mistyped_name_is_an_error_at_load_with_its_place() {
    let open = |texts: &[&str]| {
        let sources: Vec<Source> =
            texts.iter().enumerate().map(|(i, text)| Source::text(format!("file{i}"), *text)).collect();
        Program::open(Arc::new(Two), &registry(), &sources)
    };
    open(&["KSR.t.on('on_start')", "KSR.t.on('on_end')"]).unwrap();
    let error = open(&["", "\nKSR.t.on('on_strat') KSR.t.on('nobody')\nKSR.t.off()"]).unwrap_err();
    assert_eq!(error.code, ErrorCode::MissingCallback);
    assert_eq!(error.place, Some(Place { file: "file1".to_owned(), line: 2 }), "{error}");
    let text = error.to_string();
    assert!(text.contains("KSR.t.on: the script defines no function 'on_strat'"), "{text}");
    assert!(text.contains("(and 2 more such mistakes); did you mean 'on_start'?"), "{text}");
}
