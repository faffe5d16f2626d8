//! An engine whose interpreters share one lock, and native functions that wait.
#![forbid(unsafe_code)]

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use kemi_core::engine::interpreter_lock::{InterpreterLock, enter};
use kemi_core::engine::{Interpreter, Runtime};
use kemi_core::{
    Arg, CallbackId, Callbacks, Engine, ErrorCode, Instance, Limits, Location, Registry, ScriptError, Source, Value,
    while_waiting,
};
use kemi_macros::kemi_export;

/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

const MAX_TIME_MS: u64 = 500;

static LOCK: Mutex<()> = Mutex::new(());

/// One test at a time has the lock.
static TURN: Mutex<()> = Mutex::new(());

struct Cx {
    here: Sender<()>,
    go_on: Receiver<()>,
}

#[kemi_export(module = "test")]
fn wait(cx: &mut Cx) -> bool {
    let _ = cx.here.send(());
    while_waiting(|| cx.go_on.recv_timeout(PATIENCE).is_ok())
}

#[kemi_export(module = "test")]
fn keep(cx: &mut Cx) -> bool {
    let _ = cx.here.send(());
    cx.go_on.recv_timeout(PATIENCE).is_ok()
}

#[kemi_export(module = "test")]
fn pass() -> bool {
    true
}

/// An engine whose scripts call the native function that their callback is called like.
#[derive(Debug)]
struct Locked;

struct LockedInterpreter {
    runtime: Rc<Runtime>,
    lock: Rc<Lock>,
}

struct Lock {
    runtime: Rc<Runtime>,
    held: RefCell<Option<MutexGuard<'static, ()>>>,
}

impl Lock {
    fn take(&self) {
        let held = self.runtime.while_clock_stops(|| LOCK.lock().unwrap_or_else(|error| error.into_inner()));
        *self.held.borrow_mut() = Some(held);
    }
}

impl InterpreterLock for Lock {
    fn released(&self, run: &mut dyn FnMut()) {
        drop(self.held.take());
        run();
        self.take();
    }
}

impl Engine for Locked {
    fn name(&self) -> &'static str {
        "locked"
    }

    fn language(&self) -> String {
        "names".to_owned()
    }

    fn load(&self, runtime: Rc<Runtime>, _sources: &[Source]) -> Result<Box<dyn Interpreter>, ScriptError> {
        let lock = Rc::new(Lock { runtime: runtime.clone(), held: RefCell::default() });
        Ok(Box::new(LockedInterpreter { runtime, lock }))
    }
}

impl Interpreter for LockedInterpreter {
    fn resolve(&self, _name: &str) -> bool {
        true
    }

    fn functions(&self) -> Vec<String> {
        Vec::new()
    }

    fn call(&self, callback: CallbackId, _args: &[Arg<'_>]) -> Result<Value, ScriptError> {
        self.lock.take();
        let held = enter(self.lock.clone());
        let name = self.runtime.registry().callback_name(callback).expect("it is declared");
        let export = self.runtime.registry().find("test", &name).expect("it is linked");
        let result = self.runtime.invoke(export, &[], self).is_ok();
        self.runtime.poll(self);
        drop(held);
        drop(self.lock.held.take());
        Ok(Value::Bool(result))
    }

    fn place(&self) -> Option<Location> {
        None
    }
}

/// Calls one native function through a script on a thread of its own.
fn call(name: &'static str, max_time_ms: u64, cx: Cx) -> thread::JoinHandle<Result<(), ErrorCode>> {
    thread::spawn(move || {
        let mut cx = cx;
        let mut callbacks = Callbacks::new();
        let id = callbacks.required("request", name, &[]);
        let limits = Limits { max_time_ms, ..Limits::NONE };
        let registry = Registry::<Cx>::builder().root("app").all_modules().callbacks(callbacks).limits(limits).build();
        let instance = Instance::load(&Locked, &registry.expect("it is valid"), &[]).expect("there is nothing to load");
        instance.call(id, &mut cx, &[]).map(|_| ()).map_err(|error| error.code)
    })
}

fn host() -> (Cx, Receiver<()>, Sender<()>) {
    let ((here, arrived), (go, go_on)) = (channel(), channel());
    (Cx { here, go_on }, arrived, go)
}

#[test]
fn scripts_of_other_threads_run_while_a_native_function_waits() {
    let _turn = TURN.lock();
    let (cx, arrived, go) = host();
    let waits = call("wait", 0, cx);
    arrived.recv_timeout(PATIENCE).expect("it gets there");
    assert_eq!(call("pass", 0, host().0).join().expect("it ends"), Ok(()));
    go.send(()).expect("it waits");
    assert_eq!(waits.join().expect("it ends"), Ok(()));
}

#[test]
fn waiting_for_the_lock_is_not_the_scripts_time() {
    let _turn = TURN.lock();
    let (cx, arrived, go) = host();
    let keeps = call("keep", 0, cx);
    arrived.recv_timeout(PATIENCE).expect("it gets there");
    let waits = call("pass", MAX_TIME_MS, host().0);
    thread::sleep(Duration::from_millis(MAX_TIME_MS * 4));
    go.send(()).expect("it waits");
    assert_eq!(keeps.join().expect("it ends"), Ok(()));
    assert_eq!(waits.join().expect("it ends"), Ok(()));
}
