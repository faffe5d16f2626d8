//! Callbacks that a script spells out are checked when it is loaded.
#![forbid(unsafe_code)]

use std::rc::Rc;
use std::sync::Arc;

use kemi_core::engine::{Interpreter, Reference, Runtime};
use kemi_core::registry::Dialect;
use kemi_core::value::Type;
use kemi_core::{
    Arg, CallbackId, CallbackName, Callbacks, Engine, ErrorCode, Location, Program, Registry, Script, ScriptError,
    Source, Value,
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

fn registry() -> Registry<Cx> {
    Registry::builder().root("app").all_modules().build().unwrap()
}

#[test]
fn the_parameter_is_described_as_a_callback_name() {
    let registry = registry();
    assert_eq!(registry.find("t", "on").unwrap().def().params[0].ty, Type::Callback);
    let dump = registry.dump();
    let exports = dump["exports"].as_array().unwrap();
    let on = exports.iter().find(|export| export["script_name"] == "app.t.on").unwrap();
    assert_eq!(on["params"][0]["type"], "callback name");
}

/// An engine whose scripts define `on_start` and `on_end`, and are lists of calls: path and text on each line.
#[derive(Debug)]
struct Two;

/// The callbacks of the host that can be called with so many arguments.
const ACCEPTED: usize = 1;

impl Engine for Two {
    fn name(&self) -> &'static str {
        "two"
    }

    fn language(&self) -> String {
        "two functions".to_owned()
    }

    fn references(&self, source: &Source, root: &str) -> Result<Vec<Reference>, ScriptError> {
        let text = String::from_utf8(source.read()?).unwrap();
        let lines = text.lines().zip(1..).filter_map(|(line, number)| {
            let (path, text) = line.strip_prefix(root)?.strip_prefix('.')?.split_once(' ')?;
            let path = path.split('.').map(str::to_owned).collect();
            Some(Reference {
                path,
                line: number,
                called: true,
                texts: vec![(0, text.to_owned()), (1, text.to_owned())],
            })
        });
        Ok(lines.collect())
    }

    fn load(&self, _runtime: Rc<Runtime>, _sources: &[Source]) -> Result<Box<dyn Interpreter>, ScriptError> {
        Ok(Box::new(Two))
    }
}

impl Interpreter for Two {
    fn resolve(&self, name: &str) -> bool {
        self.functions().iter().any(|known| known == name)
    }

    fn accepts(&self, name: &str, arguments: usize) -> Result<(), ScriptError> {
        if arguments == ACCEPTED {
            return Ok(());
        }
        Err(ScriptError::new(ErrorCode::MissingCallback, format!("'{name}' takes one argument")).at("file", 7))
    }

    fn functions(&self) -> Vec<String> {
        vec!["on_start".to_owned(), "on_end".to_owned()]
    }

    fn call(&self, _callback: CallbackId, _args: &[Arg<'_>]) -> Result<Value, ScriptError> {
        Ok(Value::Nil)
    }

    fn place(&self) -> Option<Location> {
        None
    }
}

fn open_with(callbacks: Callbacks, texts: &[&str]) -> Result<Arc<Program<Cx>>, ScriptError> {
    let texts = texts.iter().enumerate();
    let sources: Vec<Source> = texts.map(|(i, text)| Source::text(format!("file{i}"), *text)).collect();
    let dialect = Dialect { no_callback: Some("nobody"), ..Dialect::default() };
    let registry = Registry::builder().root("app").dialect(dialect).all_modules().callbacks(callbacks).build().unwrap();
    Program::open(Arc::new(Two), &registry, &sources)
}

fn open(texts: &[&str]) -> Result<Arc<Program<Cx>>, ScriptError> {
    open_with(Callbacks::new(), texts)
}

#[test]
fn a_mistyped_name_is_an_error_at_load_with_its_place() {
    open(&["app.t.on on_start", "app.t.after on_end", ""]).unwrap();
    open(&["app.t.on nobody\napp.t.on \napp.at_root.x nothing"]).unwrap();
    let error = open(&["", "\napp.t.on on_strat\napp.at_root nothing\napp.t.off 1"]).unwrap_err();
    assert_eq!(error.code, ErrorCode::MissingCallback);
    assert_eq!(error.place, Some(Location { file: "file1".to_owned(), line: 2 }), "{error}");
    let text = error.to_string();
    assert!(text.contains("app.t.on: the script defines no function 'on_strat'"), "{text}");
    assert!(text.contains("(and 2 more such mistakes); did you mean 'on_start'?"), "{text}");
}

#[test]
fn a_callback_that_cannot_be_called_with_what_the_host_passes_is_refused() {
    let declared = |params: &[&str]| {
        let mut callbacks = Callbacks::new();
        callbacks.required("start", "on_start", params);
        open_with(callbacks, &[])
    };
    declared(&["one"]).unwrap();
    for params in [&[][..], &["one", "two"]] {
        let error = declared(params).unwrap_err();
        assert!(error.to_string().contains("file:7: 'on_start' takes one argument"), "{error}");
    }
    let named = |routes: &[&[&str]]| {
        let mut callbacks = Callbacks::new();
        for (i, params) in routes.iter().enumerate() {
            callbacks.named(&format!("route{i}"), params);
        }
        open_with(callbacks, &["app.t.on on_start"])
    };
    named(&[]).unwrap();
    named(&[&["one"]]).unwrap();
    named(&[&[], &["one"]]).unwrap();
    assert!(named(&[&[], &["one", "two"]]).is_err());
}
