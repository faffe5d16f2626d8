//! An actor handles its messages one after the other, on a context that never leaves its thread.
#![forbid(unsafe_code)]

mod toy;

use std::cell::RefCell;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use kemi_core::threads::{CallError, StartError};
use kemi_core::{Actor, CallbackId, Callbacks, ErrorCode, Limits, Outcome, Program, Registry, Value};
use kemi_macros::kemi_export;

/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Not `Send`.
struct Cx {
    notes: Rc<RefCell<Vec<&'static str>>>,
    gate: (Sender<()>, Receiver<()>),
    at_end: Sender<Vec<&'static str>>,
}

impl Drop for Cx {
    fn drop(&mut self) {
        self.at_end.send(self.notes.take()).ok();
    }
}

#[kemi_export(module = "test")]
fn one(cx: &mut Cx) {
    cx.notes.borrow_mut().push("one");
}

#[kemi_export(module = "test")]
fn two(cx: &mut Cx) {
    cx.notes.borrow_mut().push("two");
}

#[kemi_export(module = "test")]
fn gated(cx: &mut Cx) {
    cx.notes.borrow_mut().push("gated");
    cx.gate.0.send(()).unwrap();
    cx.gate.1.recv_timeout(PATIENCE).ok();
}

#[kemi_export(module = "test")]
fn fails(_cx: &mut Cx) -> Result<(), &'static str> {
    Err("no")
}

struct Ids {
    one: CallbackId,
    two: CallbackId,
    gated: CallbackId,
    fails: CallbackId,
    spin: CallbackId,
}

struct Played {
    ids: Ids,
    actor: Actor<Cx>,
    /// Tells that `gated` runs, and lets it go on.
    arrived: Receiver<()>,
    go: Sender<()>,
    /// What was noted, when the context was dropped.
    ended: Receiver<Vec<&'static str>>,
}

fn program() -> (Ids, Arc<Program<Cx>>) {
    let mut callbacks = Callbacks::new();
    let mut declare = |name| callbacks.required("message", name, &[]);
    let ids = Ids {
        one: declare("one"),
        two: declare("two"),
        gated: declare("gated"),
        fails: declare("fails"),
        spin: declare("spin"),
    };
    let registry = Registry::<Cx>::builder().root("app").all_modules().callbacks(callbacks).limits(Limits::NONE);
    (ids, Program::open(Arc::new(toy::Toy), &registry.build().unwrap(), &[]).unwrap())
}

fn played(mailbox: usize) -> Played {
    let (ids, program) = program();
    let ((here, arrived), (go, go_on), (at_end, ended)) = (channel(), channel(), channel());
    let context = move || Cx { notes: Rc::default(), gate: (here, go_on), at_end };
    let actor = Actor::builder(program).mailbox(mailbox).name("played").build(context).unwrap();
    Played { ids, actor, arrived, go, ended }
}

fn poll_once<R>(future: impl Future<Output = R>) -> Poll<R> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn messages_are_handled_in_their_order_whoever_waits_for_them() {
    let Played { ids, actor, arrived, go, ended } = played(100);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    actor.send_blocking(ids.gated, ()).unwrap();
    arrived.recv_timeout(PATIENCE).unwrap();
    for _ in 0..10 {
        runtime.block_on(actor.send(ids.one, ())).unwrap();
        actor.try_send(ids.two, ()).unwrap();
    }
    actor.send_blocking(ids.fails, ()).unwrap();
    go.send(()).unwrap();
    assert_eq!(runtime.block_on(actor.call(ids.one, ())).unwrap(), Outcome::Value(Value::Nil));
    let seen = runtime.block_on(actor.with(|cx, instance| (cx.notes.borrow().clone(), instance.defined().len())));
    let expected = [&["gated"][..], &["one", "two"].repeat(10), &["one"]].concat();
    assert_eq!(seen.unwrap(), (expected.clone(), 5));
    actor.send_blocking(ids.two, ()).unwrap();
    drop(actor);
    let last = ended.recv_timeout(PATIENCE).expect("the last handle ends the thread");
    assert_eq!(last, [expected, vec!["two"]].concat(), "what was sent is handled before");
}

#[test]
fn a_full_mailbox_holds_senders_back() {
    let Played { ids, actor, arrived, go, ended } = played(1);
    actor.send_blocking(ids.gated, ()).unwrap();
    arrived.recv_timeout(PATIENCE).unwrap();
    actor.try_send(ids.one, ()).unwrap();
    assert!(matches!(actor.try_send(ids.two, ()), Err(CallError::Full)));
    assert!(matches!(poll_once(actor.try_call(ids.two, ())), Poll::Ready(Err(CallError::Full))));
    assert!(poll_once(actor.send(ids.two, ())).is_pending(), "and is taken back");
    assert_eq!((actor.status().queued, actor.status().waiting), (1, 0));
    let waiting = thread::spawn({
        let actor = actor.clone();
        move || actor.send_blocking(ids.two, ())
    });
    let began = Instant::now();
    while actor.status().waiting == 0 {
        assert!(began.elapsed() < PATIENCE, "it never waits");
        thread::yield_now();
    }
    go.send(()).unwrap();
    waiting.join().unwrap().unwrap();
    actor.drain_blocking(PATIENCE).unwrap();
    assert!(matches!(actor.try_send(ids.one, ()), Err(CallError::Closed)));
    assert!(matches!(actor.call_blocking(ids.one, ()), Err(CallError::Closed)));
    assert_eq!(ended.recv_timeout(PATIENCE).unwrap(), ["gated", "one", "two"]);
}

#[test]
fn a_shutdown_ends_what_runs_and_returns_when_the_context_is_gone() {
    let Played { ids, actor, ended, .. } = played(10);
    actor.send_blocking(ids.spin, ()).unwrap();
    actor.send_blocking(ids.one, ()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(actor.shutdown(PATIENCE)).unwrap();
    assert_eq!(ended.try_recv().unwrap(), [""; 0], "what had not begun is dropped");
    assert_eq!(actor.status().threads, 0);
}

#[test]
fn errors_and_panics_are_those_of_their_message() {
    let Played { ids, actor, .. } = played(10);
    let Err(CallError::Script(error)) = actor.call_blocking(ids.fails, ()) else { panic!("it fails") };
    assert_eq!(error.code, ErrorCode::NativeError);
    let looked = actor.with_blocking(|_, _| panic!("a look at the state"));
    let Err(CallError::Script(error)) = looked.map(|(): ()| ()) else { panic!("it panics") };
    assert!(error.code == ErrorCode::NativePanic && error.message.contains("a look at the state"), "{error}");
    assert!(actor.call_blocking(ids.one, ()).is_ok());
}

#[test]
fn on_its_own_thread_an_actor_sends_but_does_not_wait() {
    let Played { ids, actor, .. } = played(1);
    let own = actor.clone();
    let seen = actor.with_blocking(move |_, _| {
        let sent = [own.send_blocking(ids.one, ()).is_ok(), own.send_blocking(ids.two, ()).is_ok()];
        (sent, own.call_blocking(ids.one, ()).unwrap_err().to_string())
    });
    let (sent, refused) = seen.unwrap();
    assert_eq!(sent, [true, false], "there was room for one");
    assert!(refused.contains("cannot wait"), "{refused}");
}

#[test]
fn a_context_that_cannot_be_made_is_an_error_of_the_start() {
    let started = Actor::builder(program().1).build(|| panic!("no context"));
    let Err(StartError::Script(error)) = started else { panic!("it does not start") };
    assert!(error.code == ErrorCode::NativePanic && error.message.contains("no context"), "{error}");
}

#[test]
fn a_reload_keeps_the_context() {
    let Played { ids, actor, .. } = played(10);
    actor.call_blocking(ids.one, ()).unwrap();
    assert_eq!(actor.reload_blocking(PATIENCE).unwrap().workers[0].version, 2);
    actor.call_blocking(ids.two, ()).unwrap();
    assert_eq!(actor.with_blocking(|cx, _| cx.notes.borrow().clone()).unwrap(), ["one", "two"]);
}
