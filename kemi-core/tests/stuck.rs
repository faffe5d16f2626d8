//! What other threads see of a call that does not come back.
#![forbid(unsafe_code)]

use std::rc::Rc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use kemi_core::engine::{Interpreter, Runtime};
use kemi_core::{
    Arg, CallbackId, Callbacks, Engine, ErrorCode, Location, Program, Registry, Script, ScriptError, Source, Value,
};
use kemi_macros::kemi_export;

/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// A host whose functions tell when they are there, and go on when they are told to.
struct Cx {
    inner: CallbackId,
    there: Sender<()>,
    go_on: Receiver<()>,
}

impl Cx {
    fn stop_here(&self) {
        self.there.send(()).expect("the test listens");
        self.go_on.recv_timeout(PATIENCE).expect("the test says go on");
    }
}

#[kemi_export(module = "test")]
fn nested(cx: &mut Cx, script: &Script<'_>) {
    let inner = cx.inner;
    script.call(inner, cx, &[]).expect("the callback works");
    cx.stop_here();
}

#[kemi_export(module = "test")]
fn wait(cx: &mut Cx) {
    cx.stop_here();
}

/// An engine whose only script calls the native function that belongs to the callback.
#[derive(Debug)]
struct Native;

struct NativeInterpreter(Rc<Runtime>);

impl Engine for Native {
    fn name(&self) -> &'static str {
        "native"
    }

    fn language(&self) -> String {
        "native calls".to_owned()
    }

    fn load(&self, runtime: Rc<Runtime>, _sources: &[Source]) -> Result<Box<dyn Interpreter>, ScriptError> {
        Ok(Box::new(NativeInterpreter(runtime)))
    }
}

impl Interpreter for NativeInterpreter {
    fn resolve(&self, _name: &str) -> bool {
        true
    }

    fn functions(&self) -> Vec<String> {
        Vec::new()
    }

    fn call(&self, callback: CallbackId, _args: &[Arg<'_>]) -> Result<Value, ScriptError> {
        let registry = self.0.registry();
        let name = if registry.callback_name(callback).as_deref() == Some("outer") { "nested" } else { "wait" };
        let export = registry.find("test", name).expect("it is linked");
        match self.0.invoke(export, &[], self) {
            Ok(_) => Ok(Value::Nil),
            Err(fault) => Err(ScriptError::new(ErrorCode::Runtime, format!("{fault:?}"))),
        }
    }

    fn place(&self) -> Option<Location> {
        None
    }
}

#[test]
fn a_status_names_the_callback_and_the_native_function_that_a_worker_is_in() {
    let mut callbacks = Callbacks::new();
    let outer = callbacks.required("request", "outer", &[]);
    let inner = callbacks.required("request", "inner", &[]);
    let registry =
        Registry::<Cx>::builder().root("app").all_modules().callbacks(callbacks).build().expect("it is sound");
    let program = Program::open(Arc::new(Native), &registry, &[]).expect("there is nothing to read");
    let doing = || program.status().workers.first().and_then(|worker| worker.doing.clone());

    let (there, arrived) = channel();
    let (go, go_on) = channel();
    let (ready, loaded) = channel();
    let (leave, end) = channel::<()>();
    thread::scope(|scope| {
        let context = Mutex::new(Cx { inner, there, go_on });
        let program = &program;
        scope.spawn(move || {
            let worker = program.worker("one", None).expect("there is nothing to load");
            ready.send(()).expect("the test listens");
            let mut cx = context.lock().expect("nobody else takes it");
            worker.instance().call(outer, &mut cx, &[]).expect("the callback works");
            ready.send(()).expect("the test listens");
            end.recv_timeout(PATIENCE).expect("the test ends");
        });
        let wait_for = |what: &Receiver<()>| what.recv_timeout(PATIENCE).expect("the worker gets there");
        wait_for(&loaded);
        wait_for(&arrived);
        assert_eq!(doing().as_deref(), Some("app.test.wait, called by 'inner'"));
        go.send(()).expect("the worker listens");
        wait_for(&arrived);
        assert_eq!(doing().as_deref(), Some("app.test.nested, called by 'outer'"));
        go.send(()).expect("the worker listens");
        wait_for(&loaded);
        assert_eq!(doing(), None, "between two calls");
        leave.send(()).expect("the worker listens");
    });
}
