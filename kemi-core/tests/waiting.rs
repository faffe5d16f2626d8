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

/// Waits like `wait`, and leaves the lock to the attribute.
#[kemi_export(module = "test", blocking)]
fn block(cx: &mut Cx) -> bool {
    let _ = cx.here.send(());
    cx.go_on.recv_timeout(PATIENCE).is_ok()
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

/// A future that is ready when it is told.
fn told(receiver: Receiver<()>) -> impl Future<Output = bool> {
    let receiver = std::sync::Arc::new(Mutex::new(receiver));
    let mut waits = false;
    std::future::poll_fn(move |context| {
        if std::mem::replace(&mut waits, true) {
            return std::task::Poll::Ready(true);
        }
        let (receiver, waker) = (receiver.clone(), context.waker().clone());
        thread::spawn(move || {
            let _ = receiver.lock().unwrap().recv_timeout(PATIENCE);
            waker.wake();
        });
        std::task::Poll::Pending
    })
}

/// Waits like `block`, as a future.
#[kemi_export(module = "test")]
async fn promise(cx: kemi_core::Lent<'_, Cx>) -> Result<bool, String> {
    let go_on = cx.with(|cx| {
        let _ = cx.here.send(());
        std::mem::replace(&mut cx.go_on, channel().1)
    });
    let result = told(go_on).await;
    cx.with(|cx| cx.here.send(()).map(|()| result).map_err(|error| error.to_string()))
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
    limited(name, Limits { max_time_ms, ..Limits::NONE }, cx)
}

fn limited(name: &'static str, limits: Limits, cx: Cx) -> thread::JoinHandle<Result<(), ErrorCode>> {
    thread::spawn(move || {
        let mut cx = cx;
        let mut callbacks = Callbacks::new();
        let id = callbacks.required("request", name, &[]);
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

#[test]
fn while_a_blocking_function_runs_scripts_of_other_threads_do_and_its_clock_stands() {
    let _turn = TURN.lock();
    let (cx, arrived, go) = host();
    let waits = call("block", MAX_TIME_MS, cx);
    arrived.recv_timeout(PATIENCE).expect("it gets there");
    assert_eq!(call("pass", 0, host().0).join().expect("it ends"), Ok(()), "the lock is free");
    thread::sleep(Duration::from_millis(MAX_TIME_MS * 4));
    go.send(()).expect("it waits");
    assert_eq!(waits.join().expect("it ends"), Ok(()));
}

#[test]
fn a_call_that_has_waited_too_long_ends_when_the_blocking_function_returns() {
    let _turn = TURN.lock();
    for (max_wait_ms, expected) in [(1, Err(ErrorCode::WaitLimit)), (60_000, Ok(())), (0, Ok(()))] {
        let (cx, arrived, go) = host();
        let waits = limited("block", Limits { max_wait_ms, ..Limits::NONE }, cx);
        arrived.recv_timeout(PATIENCE).expect("it gets there");
        thread::sleep(Duration::from_millis(20));
        go.send(()).expect("it waits");
        assert_eq!(waits.join().expect("it ends"), expected, "max_wait_ms = {max_wait_ms}");
    }
}

#[test]
fn what_one_call_has_waited_does_not_count_for_the_next() {
    let _turn = TURN.lock();
    let (cx, arrived, go) = host();
    let mut cx = cx;
    let mut callbacks = Callbacks::new();
    let block = callbacks.required("request", "block", &[]);
    let limits = Limits { max_wait_ms: 200, ..Limits::NONE };
    let registry = Registry::<Cx>::builder().root("app").all_modules().callbacks(callbacks).limits(limits).build();
    let instance = Instance::load(&Locked, &registry.expect("it is valid"), &[]).expect("there is nothing to load");
    let opens = thread::spawn(move || {
        // 40 ms each: ten of them are over the limit, one is not.
        while arrived.recv_timeout(PATIENCE).is_ok() {
            thread::sleep(Duration::from_millis(40));
            if go.send(()).is_err() {
                break;
            }
        }
    });
    let ended = (0..10).map(|_| instance.call(block, &mut cx, &[]).map(|_| ()).map_err(|error| error.code));
    // A busy machine may sleep longer than it was told, but not ten times in a row.
    let in_time = ended.filter(Result::is_ok).count();
    assert!(in_time > 4, "only {in_time} of 10 were in time");
    drop(cx);
    opens.join().expect("it ends");
}

#[test]
fn a_registry_tells_which_functions_block_and_they_have_no_typed_entry() {
    let registry = Registry::<Cx>::builder().root("app").all_modules().build().expect("it is valid");
    let find = |name| registry.find("test", name).expect("it is linked").def();
    assert!(find("block").blocking && find("block").typed.is_none());
    assert!(!find("wait").blocking && find("wait").typed.is_some());
    let dump = registry.dump();
    let exports = dump["exports"].as_array().expect("a list");
    let blocking = exports.iter().filter(|export| export["blocking"] == true);
    assert_eq!(blocking.map(|export| export["name"].clone()).collect::<Vec<_>>(), ["block", "promise"]);
}

#[test]
fn while_an_async_function_waits_scripts_of_other_threads_run_and_its_clock_stands() {
    let _turn = TURN.lock();
    let (cx, arrived, go) = host();
    let waits = call("promise", MAX_TIME_MS, cx);
    arrived.recv_timeout(PATIENCE).expect("it gets there");
    assert_eq!(call("pass", 0, host().0).join().expect("it ends"), Ok(()), "the lock is free");
    thread::sleep(Duration::from_millis(MAX_TIME_MS * 2));
    go.send(()).expect("it waits");
    arrived.recv_timeout(PATIENCE).expect("it has the context again");
    assert_eq!(waits.join().expect("it ends"), Ok(()));
}

#[test]
fn an_async_function_that_waits_too_long_is_given_up() {
    let _turn = TURN.lock();
    let (cx, arrived, go) = host();
    let waits = limited("promise", Limits { max_wait_ms: 30, ..Limits::NONE }, cx);
    arrived.recv_timeout(PATIENCE).expect("it gets there");
    assert_eq!(waits.join().expect("it ends"), Err(ErrorCode::WaitLimit), "nobody has told it to go on");
    drop(go);
}
