//! What the border of calls lets nobody do, by way of an engine and a host that try.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use kemi_core::abi::Ret;
use kemi_core::engine::{Interpreter, Runtime};
use kemi_core::registry::RegistryData;
use kemi_core::{
    Arg, CallbackId, Callbacks, Engine, ErrorCode, Instance, Limits, Location, NativeError, Registry, Script,
    ScriptError, Source, Value,
};
use kemi_macros::kemi_export;

/// A context whose items a typed function borrows while others try to change them.
#[derive(Default)]
struct Cx {
    items: Vec<i64>,
    seen: Vec<String>,
}

/// What a look-up of the script's function runs.
type Getter = fn(&Runtime, &dyn Interpreter) -> String;

/// What a native function does to reach the interpreter: only the host's own handles are left to it.
type Attempt = Box<dyn Fn(&Rc<Instance<Cx>>) -> Option<String>>;

thread_local! {
    static ATTEMPT: RefCell<Option<Attempt>> = const { RefCell::new(None) };
    static INSTANCE: RefCell<Option<Rc<Instance<Cx>>>> = const { RefCell::new(None) };
    static RUNTIME: RefCell<Option<Rc<Runtime>>> = const { RefCell::new(None) };
    /// What the script's function runs when it is only looked up, as a getter would.
    static GETTER: Cell<Option<Getter>> = const { Cell::new(None) };
    static GOT: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Lends its context's first item out while the attempt runs.
#[kemi_export(module = "border")]
fn outer(cx: &mut Cx) -> i64 {
    cx.items = vec![42];
    let first = &cx.items[0];
    let instance = INSTANCE.with_borrow(Option::clone);
    let seen = ATTEMPT.with_borrow(|attempt| match (attempt, &instance) {
        (Some(attempt), Some(instance)) => attempt(instance),
        _ => None,
    });
    let first = *first;
    cx.seen.extend(seen);
    first
}

#[kemi_export(module = "border")]
fn push(cx: &mut Cx) {
    for i in 0..1000 {
        cx.items.push(i);
    }
}

#[kemi_export(module = "border")]
fn free() -> i64 {
    7
}

thread_local! {
    /// The callback that `each` calls.
    static RUN: Cell<Option<CallbackId>> = const { Cell::new(None) };
}

/// Calls a callback from the top level of the script.
#[kemi_export(module = "border")]
fn each(script: &Script<'_>) -> Result<(), ScriptError> {
    let id = RUN.get().ok_or_else(|| ScriptError::new(ErrorCode::MissingCallback, "run"))?;
    script.call(id, &mut Cx::default(), &[]).map(drop)
}

/// An engine whose script's only function calls `border.outer`, and whose functions are looked up by a getter.
#[derive(Debug, Default)]
struct Getters {
    /// Whether the top level calls `border.each`.
    each: bool,
    /// Whether the function runs until its time is over.
    endless: bool,
}

struct GettersInterpreter {
    runtime: Rc<Runtime>,
    endless: bool,
}

fn said(result: Result<Ret, Box<NativeError>>) -> String {
    match result {
        Ok(ret) => format!("{ret:?}"),
        Err(fault) => match *fault {
            NativeError::Error(error) => error.code.as_str().to_owned(),
            other => format!("{other:?}"),
        },
    }
}

fn invoke(runtime: &Runtime, interpreter: &dyn Interpreter, name: &str) -> String {
    let registry = runtime.registry().clone();
    said(runtime.invoke(registry.find("border", name).unwrap(), &[], interpreter))
}

impl Engine for Getters {
    fn name(&self) -> &'static str {
        "getters"
    }

    fn language(&self) -> String {
        "none".to_owned()
    }

    fn load(&self, runtime: Rc<Runtime>, _sources: &[Source]) -> Result<Box<dyn Interpreter>, ScriptError> {
        let interpreter = GettersInterpreter { runtime: runtime.clone(), endless: self.endless };
        if self.each {
            let registry = runtime.registry().clone();
            let result = runtime.invoke(registry.find("border", "each").unwrap(), &[], &interpreter);
            assert!(runtime.pending_exit().is_some() || result.is_ok(), "{result:?}");
            // The top level goes on after the callback, for longer than it may.
            while self.endless && !runtime.poll(&interpreter) {
                std::thread::yield_now();
            }
        }
        RUNTIME.set(Some(runtime));
        Ok(Box::new(interpreter))
    }
}

impl Interpreter for GettersInterpreter {
    fn resolve(&self, name: &str) -> bool {
        if let Some(getter) = GETTER.get() {
            let got = getter(&self.runtime, self);
            GOT.with_borrow_mut(|all| all.push(got));
        }
        name == "run"
    }

    fn functions(&self) -> Vec<String> {
        vec!["run".to_owned()]
    }

    fn call(&self, _callback: CallbackId, _args: &[Arg<'_>]) -> Result<Value, ScriptError> {
        if self.endless {
            return Ok(Value::Nil);
        }
        // By its typed entry, as engines call what has one: the context stays in its slot.
        let registry = self.runtime.registry().clone();
        let export = registry.find("border", "outer").unwrap();
        let typed = export.def().typed.unwrap();
        // SAFETY: the export is the runtime's own, called by the script; it takes nothing and returns an integer.
        let got = unsafe { self.runtime.typed(export, || None, |context| typed.call0::<i64>(context)) };
        GOT.with_borrow_mut(|all| all.push(format!("{got:?}")));
        Ok(Value::Nil)
    }

    fn place(&self) -> Option<Location> {
        None
    }
}

fn registry() -> (Registry<Cx>, CallbackId) {
    let mut callbacks = Callbacks::new();
    let run = callbacks.optional("run", "run", &[]);
    RUN.set(Some(run));
    let limits = Limits { max_time_ms: 50, max_load_time_ms: 50, ..Limits::default() };
    (Registry::builder().root("app").module("border").callbacks(callbacks).limits(limits).build().unwrap(), run)
}

/// Runs `outer` with an attempt; returns what the getter and `outer` gave, and what the attempt saw.
fn attempt(getter: Option<Getter>, attempt: Attempt) -> (Vec<String>, Vec<String>) {
    let (registry, run) = registry();
    let instance = Rc::new(Instance::load(&Getters::default(), &registry, &[]).unwrap());
    INSTANCE.set(Some(instance.clone()));
    ATTEMPT.set(Some(attempt));
    GETTER.set(getter);
    let mut cx = Cx::default();
    instance.call(run, &mut cx, &[]).unwrap();
    GETTER.set(None);
    ATTEMPT.set(None);
    INSTANCE.set(None);
    RUNTIME.set(None);
    (GOT.take(), cx.seen)
}

#[test]
fn a_look_up_from_within_a_typed_function_finds_the_slot_empty() {
    let look_ups: [Attempt; 2] = [
        Box::new(|instance| Some(instance.defined().join(","))),
        Box::new(|instance| {
            let own = RUNTIME.with_borrow(|runtime| runtime.as_ref()?.registry().callback("run"));
            Some(instance.has(own?).to_string())
        }),
    ];
    for look_up in look_ups {
        let getter: Getter = |runtime, interpreter| {
            format!("{} {}", invoke(runtime, interpreter, "push"), invoke(runtime, interpreter, "free"))
        };
        let (got, _) = attempt(Some(getter), look_up);
        assert_eq!(got, ["no-context Int(7)", "Ok(42)"]);
    }
}

#[test]
fn a_runtime_that_an_engine_keeps_lends_no_context_that_a_function_has() {
    struct Nobody;
    impl Interpreter for Nobody {
        fn resolve(&self, _name: &str) -> bool {
            false
        }
        fn functions(&self) -> Vec<String> {
            Vec::new()
        }
        fn call(&self, _callback: CallbackId, _args: &[Arg<'_>]) -> Result<Value, ScriptError> {
            Ok(Value::Nil)
        }
        fn place(&self) -> Option<Location> {
            None
        }
    }
    let keep: Attempt = Box::new(|instance| {
        // After a look-up as well, which must not hide that the function still runs.
        let _ = instance.defined();
        let runtime = RUNTIME.with_borrow(Option::clone)?;
        Some(invoke(&runtime, &Nobody, "push"))
    });
    let (_, seen) = attempt(None, keep);
    assert_eq!(seen, ["no-context"]);
}

#[test]
fn an_export_of_another_registry_is_refused() {
    let getter: Getter = |runtime, interpreter| {
        let (other, _) = registry();
        let other: &RegistryData = &other;
        said(runtime.invoke(other.find("border", "free").unwrap(), &[], interpreter))
    };
    let (registry, _) = registry();
    let instance = Instance::load(&Getters::default(), &registry, &[]).unwrap();
    GETTER.set(Some(getter));
    let _ = instance.defined();
    GETTER.set(None);
    assert_eq!(GOT.take(), ["foreign-id"]);
}

#[test]
fn a_callback_of_another_registry_is_refused() {
    let (registry, run) = registry();
    let (_other, foreign) = self::registry();
    assert_ne!(run, foreign);
    let instance = Instance::load(&Getters::default(), &registry, &[]).unwrap();
    let error = instance.call(foreign, &mut Cx::default(), &[]).unwrap_err();
    assert_eq!(error.code, ErrorCode::ForeignId, "{error}");
    assert!(!instance.has(foreign) && instance.has(run));
    assert_eq!(registry.callback_name(foreign), None);
}

#[test]
fn a_callback_from_the_top_level_shares_the_limits_of_loading() {
    let (registry, _) = registry();
    let error = Instance::load(&Getters { each: true, endless: true }, &registry, &[]).unwrap_err();
    assert_eq!(error.code, ErrorCode::TimeLimit, "{error}");
    assert!(error.to_string().contains("max_load_time_ms"), "{error}");
    assert!(Instance::load(&Getters { each: true, endless: false }, &registry, &[]).is_ok());
    GOT.take();
}
