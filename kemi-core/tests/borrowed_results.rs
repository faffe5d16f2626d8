//! A result may borrow from an argument; it is copied before what was converted for the call goes away.

use std::rc::Rc;
use std::sync::Mutex;

use kemi_core::abi::Ret;
use kemi_core::engine::{Interpreter, Runtime};
use kemi_core::value::CompatCoercions;
use kemi_core::{
    Arg, ArgumentPolicy, CallbackId, Callbacks, Engine, Instance, Location, Outcome, Registry, ScriptError, Source,
    Value,
};
use kemi_macros::kemi_export;

#[derive(Debug)]
struct Cx;

#[kemi_export(module = "echo")]
fn text<'a>(_cx: &mut Cx, text: &'a str) -> &'a str {
    text
}

#[kemi_export(module = "echo")]
fn last<'a>(_cx: &mut Cx, items: Vec<&'a str>) -> Option<&'a str> {
    items.last().copied()
}

/// An engine without a language: its one callback makes the generic calls under test and keeps what they return.
#[derive(Debug)]
struct Bare(&'static Mutex<Vec<Value>>);

impl Engine for Bare {
    fn name(&self) -> &'static str {
        "bare"
    }

    fn language(&self) -> String {
        "none".to_owned()
    }

    fn coercions(&self) -> CompatCoercions {
        CompatCoercions { number_to_text: true, ..CompatCoercions::default() }
    }

    fn load(&self, runtime: Rc<Runtime>, _sources: &[Source]) -> Result<Box<dyn Interpreter>, ScriptError> {
        Ok(Box::new(BareInterpreter { runtime, seen: self.0 }))
    }
}

struct BareInterpreter {
    runtime: Rc<Runtime>,
    seen: &'static Mutex<Vec<Value>>,
}

impl BareInterpreter {
    fn invoke(&self, name: &str, args: &[Arg<'_>]) -> Value {
        let registry = self.runtime.registry().clone();
        let export = registry.find("echo", name).unwrap();
        match self.runtime.invoke(export, args, self) {
            Ok(Ret::Value(value)) => value,
            other => panic!("expected an owned copy, got {other:?}"),
        }
    }
}

impl Interpreter for BareInterpreter {
    fn resolve(&self, _name: &str) -> bool {
        true
    }

    fn functions(&self) -> Vec<String> {
        Vec::new()
    }

    fn call(&self, _callback: CallbackId, _args: &[Arg<'_>]) -> Result<Value, ScriptError> {
        let converted = String::from("converted for the call");
        let given = self.invoke("text", &[Arg::from(converted.as_str())]);
        drop(converted);
        let coerced = self.invoke("text", &[Arg::Int(200)]);
        let list = Value::from(vec![Value::from("a"), Value::from("the last item of a list")]);
        let inside = self.invoke("last", &[Arg::Value(&list)]);
        drop(list);
        self.seen.lock().unwrap().extend([given, coerced, inside]);
        Ok(Value::Nil)
    }

    fn place(&self) -> Option<Location> {
        None
    }
}

#[test]
fn a_result_that_borrows_from_an_argument_is_copied() {
    static SEEN: Mutex<Vec<Value>> = Mutex::new(Vec::new());
    let mut callbacks = Callbacks::new();
    let run = callbacks.required("run", "run", &[]);
    let registry = Registry::<Cx>::builder()
        .root("app")
        .module("echo")
        .callbacks(callbacks)
        .policy(ArgumentPolicy::Compat)
        .build()
        .unwrap();
    let instance = Instance::load(&Bare(&SEEN), &registry, &[]).unwrap();
    assert_eq!(instance.call(run, &mut Cx, &[]).unwrap(), Outcome::Value(Value::Nil));
    let expected = ["converted for the call", "200", "the last item of a list"].map(Value::from);
    assert_eq!(*SEEN.lock().unwrap(), expected);
}
