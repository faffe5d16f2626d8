//! A pool brings every call back with its context: done, refused or ended.
#![forbid(unsafe_code)]

mod toy;

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use kemi_core::threads::{CallError, Unfinished};
use kemi_core::{CallbackId, Callbacks, ErrorCode, Limits, Outcome, Pool, Program, Registry, Value};
use kemi_macros::kemi_export;

/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a call brings along.
#[derive(Default)]
struct Cx {
    id: u32,
    done: Arc<Mutex<Vec<u32>>>,
    gate: Option<(Sender<u32>, Receiver<()>)>,
    pool: Option<(Pool<Cx>, CallbackId)>,
    inner: Option<String>,
    bomb: Option<Bomb>,
}

/// Panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("a context of the host");
    }
}

#[kemi_export(module = "test")]
fn note(cx: &mut Cx) {
    cx.done.lock().unwrap().push(cx.id);
}

/// Waits until the test opens the gate.
#[kemi_export(module = "test")]
fn gated(cx: &mut Cx) {
    note(cx);
    let (here, go_on) = cx.gate.as_ref().unwrap();
    here.send(cx.id).unwrap();
    go_on.recv_timeout(PATIENCE).ok();
}

/// Says that it runs, and returns.
#[kemi_export(module = "test")]
fn tick(cx: &mut Cx) {
    cx.gate.as_ref().unwrap().0.send(cx.id).ok();
}

#[kemi_export(module = "test")]
fn panics(_cx: &mut Cx) {
    panic!("a native function");
}

/// Calls its own pool.
#[kemi_export(module = "test")]
fn again(cx: &mut Cx) {
    let (pool, callback) = cx.pool.clone().unwrap();
    let (_, outcome) = pool.call_blocking(callback, Cx::default(), ());
    cx.inner = Some(outcome.unwrap_err().to_string());
}

struct Ids {
    note: CallbackId,
    gated: CallbackId,
    panics: CallbackId,
    again: CallbackId,
    /// Runs until it is ended, and ticks.
    ticks: CallbackId,
    /// Panics in the engine.
    missing: CallbackId,
}

fn program() -> (Ids, Registry<Cx>, Arc<Program<Cx>>) {
    let mut callbacks = Callbacks::new();
    let mut declare = |name| callbacks.required("request", name, &[]);
    let ids = Ids {
        note: declare("note"),
        gated: declare("gated"),
        panics: declare("panics"),
        again: declare("again"),
        ticks: declare("tick_spin"),
        missing: declare("missing"),
    };
    let registry = Registry::<Cx>::builder().root("app").all_modules().callbacks(callbacks).limits(Limits::NONE);
    let registry = registry.build().unwrap();
    let program = Program::open(Arc::new(toy::Toy), &registry, &[]).unwrap();
    (ids, registry, program)
}

fn pool(threads: usize, queue: usize) -> (Ids, Registry<Cx>, Pool<Cx>) {
    let (ids, registry, program) = program();
    let pool = Pool::builder(program).threads(threads).queue(queue).name("test").build().unwrap();
    (ids, registry, pool)
}

/// Contexts with numbers that share one list of what was done.
fn contexts<const N: usize>() -> (Arc<Mutex<Vec<u32>>>, [Cx; N]) {
    let done = Arc::<Mutex<Vec<u32>>>::default();
    let contexts = std::array::from_fn(|id| Cx { id: id as u32, done: done.clone(), ..Cx::default() });
    (done, contexts)
}

/// Gives a context a gate; what is received tells that it is there, what is sent lets it go on.
fn gate(cx: &mut Cx) -> (Receiver<u32>, Sender<()>) {
    let ((here, arrived), (go, go_on)) = (channel(), channel());
    cx.gate = Some((here, go_on));
    (arrived, go)
}

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Waits for something that other threads do.
fn until(what: &str, holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "it never came to that {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

fn code(outcome: Result<Outcome, CallError>) -> ErrorCode {
    match outcome.unwrap_err() {
        CallError::Script(error) => error.code,
        other => panic!("{other}"),
    }
}

#[test]
fn a_call_comes_back_with_its_context_on_a_plain_thread_and_in_a_runtime() {
    let (ids, _, pool) = pool(2, 4);
    let (done, [first, second]) = contexts();
    let (back, outcome) = pool.call_blocking(ids.note, first, ());
    assert_eq!((back.id, outcome.unwrap()), (0, Outcome::Value(Value::Nil)));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let task = runtime.spawn({
        let pool = pool.clone();
        async move { pool.call(ids.note, second, ()).await }
    });
    let (back, outcome) = runtime.block_on(task).unwrap();
    assert_eq!((back.id, outcome.unwrap()), (1, Outcome::Value(Value::Nil)));
    assert_eq!(*done.lock().unwrap(), [0, 1]);
}

#[test]
fn many_calls_from_everywhere_all_come_back() {
    let (ids, _, pool) = pool(2, 3);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let done = Arc::<Mutex<Vec<u32>>>::default();
    let cx = |id| Cx { id, done: done.clone(), ..Cx::default() };
    let tasks: Vec<_> = (0..200)
        .map(|id| {
            let (pool, cx) = (pool.clone(), cx(id));
            runtime.spawn(async move { pool.call(ids.note, cx, ()).await })
        })
        .collect();
    let threads: Vec<_> = (200..210)
        .map(|id| {
            let (pool, cx) = (pool.clone(), cx(id));
            thread::spawn(move || pool.call_blocking(ids.note, cx, ()))
        })
        .collect();
    let awaited = tasks.into_iter().map(|task| runtime.block_on(task).unwrap());
    let joined: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    for (id, (back, outcome)) in awaited.chain(joined).enumerate() {
        assert_eq!((back.id as usize, outcome.unwrap()), (id, Outcome::Value(Value::Nil)));
    }
    assert_eq!(done.lock().unwrap().len(), 210);
    let status = pool.status();
    assert_eq!((status.queued, status.waiting), (0, 0));
}

#[test]
fn a_full_queue_refuses_who_does_not_wait_and_keeps_the_order_of_who_does() {
    let (ids, _, pool) = pool(1, 1);
    let (done, [mut running, queued, refused, third, fourth]) = contexts();
    let (arrived, go) = gate(&mut running);
    let mut running = pin!(pool.call(ids.gated, running, ()));
    assert!(poll(running.as_mut()).is_pending());
    arrived.recv_timeout(PATIENCE).unwrap();
    let mut queued = pin!(pool.call(ids.note, queued, ()));
    assert!(poll(queued.as_mut()).is_pending());
    let Poll::Ready((back, outcome)) = poll(pin!(pool.try_call(ids.note, refused, ()))) else {
        panic!("it does not wait")
    };
    assert_eq!((back.id, outcome.unwrap_err().to_string().as_str()), (2, "the queue is full"));
    let (mut third, mut fourth) = (pin!(pool.call(ids.note, third, ())), pin!(pool.call(ids.note, fourth, ())));
    assert!(poll(third.as_mut()).is_pending() && poll(fourth.as_mut()).is_pending());
    let status = pool.status();
    assert_eq!((status.queued, status.bound, status.waiting, status.running, status.threads), (1, 1, 2, 1, 1));
    assert!(status.program.workers[0].doing.as_ref().is_some_and(|doing| doing.contains("app.test.gated")));

    go.send(()).unwrap();
    pool.drain_blocking(PATIENCE).unwrap();
    assert_eq!(*done.lock().unwrap(), [0, 1, 3, 4]);
    let Poll::Ready((back, outcome)) = poll(running) else { panic!("it is done") };
    assert!(back.id == 0 && outcome.is_ok(), "{outcome:?}");
    assert!(poll(queued).is_ready() && poll(third).is_ready() && poll(fourth).is_ready());
}

#[test]
fn a_call_that_is_dropped_before_it_began_never_begins_and_frees_its_place() {
    let (ids, _, pool) = pool(1, 1);
    let (done, [mut running, queued, waiting, last]) = contexts();
    let (arrived, go) = gate(&mut running);
    let mut running = pin!(pool.call(ids.gated, running, ()));
    assert!(poll(running.as_mut()).is_pending());
    arrived.recv_timeout(PATIENCE).unwrap();
    {
        let mut queued = Box::pin(pool.call(ids.note, queued, ()));
        let mut waiting = Box::pin(pool.call(ids.note, waiting, ()));
        assert!(poll(queued.as_mut()).is_pending() && poll(waiting.as_mut()).is_pending());
        drop(queued);
        assert_eq!((pool.status().queued, pool.status().waiting), (1, 0), "its place goes to who waits for one");
        drop(waiting);
        assert_eq!(pool.status().queued, 0);
    }
    let mut last = pin!(pool.try_call(ids.note, last, ()));
    assert!(poll(last.as_mut()).is_pending(), "there is room again");
    go.send(()).unwrap();
    pool.drain_blocking(PATIENCE).unwrap();
    assert_eq!(*done.lock().unwrap(), [0, 3]);
}

#[test]
fn a_call_that_is_dropped_while_it_runs_is_ended_and_the_next_one_is_not() {
    let (ids, registry, pool) = pool(1, 4);
    let (done, [mut endless, next]) = contexts();
    let (ticks, _) = gate(&mut endless);
    let mut endless = Box::pin(pool.call(ids.ticks, endless, ()));
    assert!(poll(endless.as_mut()).is_pending());
    ticks.recv_timeout(PATIENCE).unwrap();
    drop(endless);
    let (_, outcome) = pool.call_blocking(ids.note, next, ());
    assert!(outcome.is_ok(), "{outcome:?}");
    assert_eq!(*done.lock().unwrap(), [1]);
    let metrics = registry.data().metrics();
    let callback = metrics.callbacks.iter().find(|callback| callback.name == "tick_spin").unwrap();
    assert_eq!(callback.errors.get("cancelled"), Some(&1), "{callback:?}");
}

#[test]
fn a_panic_in_host_code_is_the_error_of_its_call_and_the_thread_lives_on() {
    let (ids, _, pool) = pool(1, 4);
    let (done, [native, engine, mut context, last]) = contexts();
    let (back, outcome) = pool.call_blocking(ids.panics, native, ());
    assert_eq!((back.id, code(outcome)), (0, ErrorCode::NativePanic));
    let (back, outcome) = pool.call_blocking(ids.missing, engine, ());
    assert_eq!((back.id, code(outcome)), (1, ErrorCode::NativePanic));
    // A context that panics when nobody waits for it any more.
    context.bomb = Some(Bomb);
    let (arrived, go) = gate(&mut context);
    let mut dropped = Box::pin(pool.call(ids.gated, context, ()));
    assert!(poll(dropped.as_mut()).is_pending());
    arrived.recv_timeout(PATIENCE).unwrap();
    drop(dropped);
    go.send(()).unwrap();
    let (_, outcome) = pool.call_blocking(ids.note, last, ());
    assert!(outcome.is_ok(), "{outcome:?}");
    assert_eq!(*done.lock().unwrap(), [2, 3]);
    assert_eq!(pool.status().threads, 1);
}

#[test]
fn a_native_function_cannot_wait_for_its_own_pool() {
    let (ids, _, pool) = pool(1, 4);
    let cx = Cx { pool: Some((pool.clone(), ids.note)), ..Cx::default() };
    let (back, outcome) = pool.call_blocking(ids.again, cx, ());
    assert!(outcome.is_ok(), "{outcome:?}");
    assert!(back.inner.as_ref().is_some_and(|error| error.contains("cannot wait for a call")), "{:?}", back.inner);
}

#[test]
fn a_drain_takes_no_more_and_waits_for_what_is_there() {
    let (ids, _, pool) = pool(1, 4);
    let (done, [mut running, queued, late]) = contexts();
    let (arrived, go) = gate(&mut running);
    let calls = [(ids.gated, running), (ids.note, queued)].map(|(callback, cx)| {
        let pool = pool.clone();
        let called = thread::spawn(move || pool.call_blocking(callback, cx, ()));
        if callback == ids.gated {
            arrived.recv_timeout(PATIENCE).unwrap();
        }
        called
    });
    until("the second call is queued", || pool.status().queued == 1);
    let left = pool.drain_blocking(Duration::ZERO).unwrap_err();
    assert!(matches!(left, Unfinished { queued: 1, running: 1, .. }), "{left}");
    let (back, outcome) = pool.call_blocking(ids.note, late, ());
    assert!(back.id == 2 && matches!(outcome, Err(CallError::Closed)), "{outcome:?}");
    go.send(()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(pool.drain(PATIENCE)).unwrap();
    assert_eq!(*done.lock().unwrap(), [0, 1]);
    for call in calls {
        assert!(call.join().unwrap().1.is_ok());
    }
    runtime.block_on(pool.shutdown(PATIENCE)).unwrap();
    assert_eq!(pool.status().threads, 0);
}

#[test]
fn a_shutdown_ends_what_runs_and_gives_back_what_does_not() {
    let (ids, _, pool) = pool(1, 1);
    let (done, [mut endless, queued, waiting]) = contexts();
    let (ticks, _) = gate(&mut endless);
    let call = |callback, cx| {
        let pool = pool.clone();
        thread::spawn(move || pool.call_blocking(callback, cx, ()))
    };
    let running = call(ids.ticks, endless);
    ticks.recv_timeout(PATIENCE).unwrap();
    let refused = [call(ids.note, queued), call(ids.note, waiting)];
    until("both wait", || pool.status().queued + pool.status().waiting == 2);
    pool.shutdown_blocking(PATIENCE).unwrap();
    assert_eq!(code(running.join().unwrap().1), ErrorCode::Cancelled);
    for call in refused {
        let (back, outcome) = call.join().unwrap();
        assert!(back.id > 0 && matches!(outcome, Err(CallError::Closed)), "{outcome:?}");
    }
    assert!(done.lock().unwrap().is_empty());
    assert!(pool.status().closed);
}

#[test]
fn a_reload_wakes_idle_threads() {
    let (ids, _, pool) = pool(3, 4);
    let (_, [mut busy]) = contexts();
    let (arrived, go) = gate(&mut busy);
    let call = thread::spawn({
        let pool = pool.clone();
        move || pool.call_blocking(ids.gated, busy, ())
    });
    arrived.recv_timeout(PATIENCE).unwrap();
    let versions = |reloaded: kemi_core::program::Reloaded| {
        let mut versions: Vec<u64> = reloaded.workers.iter().map(|worker| worker.version).collect();
        versions.sort_unstable();
        versions
    };
    // The busy one is waited for as long as the patience lasts.
    until("the idle ones have it", || versions(pool.reload_blocking(Duration::from_millis(100)).unwrap())[1] > 1);
    go.send(()).unwrap();
    assert!(call.join().unwrap().1.is_ok());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let reloaded = runtime.block_on(pool.reload(PATIENCE)).unwrap();
    let new = reloaded.new;
    assert_eq!(versions(reloaded), [new; 3]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_hundred_pools_leave_no_thread() {
    fn threads() -> usize {
        let names = std::fs::read_dir("/proc/self/task").unwrap();
        let named = names.filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")).ok());
        named.filter(|name| name.starts_with("leaves-")).count()
    }
    let (ids, _, program) = program();
    for _ in 0..100 {
        let pool = Pool::builder(program.clone()).threads(2).name("leaves").build().unwrap();
        let (_, outcome) = pool.call_blocking(ids.panics, Cx::default(), ());
        assert!(outcome.is_err());
        drop(pool.clone());
    }
    until("all threads have ended", || threads() == 0);
    assert!(program.status().workers.is_empty());
}

#[test]
fn the_last_handle_may_go_on_one_of_its_own_threads() {
    let (ids, _, pool) = pool(1, 4);
    let (done, [mut last]) = contexts();
    let (arrived, go) = gate(&mut last);
    last.pool = Some((pool.clone(), ids.note));
    let program = pool.program().clone();
    let mut call = Box::pin(pool.call(ids.gated, last, ()));
    assert!(poll(call.as_mut()).is_pending());
    arrived.recv_timeout(PATIENCE).unwrap();
    drop(call);
    drop(pool);
    go.send(()).unwrap();
    until("the worker has gone", || program.status().workers.is_empty());
    assert_eq!(*done.lock().unwrap(), [0]);
}

#[cfg(feature = "prometheus")]
#[test]
fn its_load_is_there_for_prometheus() {
    let (_, _, pool) = pool(2, 4);
    let mut registry = prometheus_client::registry::Registry::default();
    registry.register_collector(Box::new(pool.metrics_collector()));
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    for line in ["kemi_pool_queued{pool=\"test\"} 0", "kemi_pool_waiting{pool=\"test\"} 0"] {
        assert!(text.contains(line), "{text}");
    }
    assert!(text.contains("kemi_pool_busy_threads{pool=\"test\"} 0\n"), "{text}");
    assert!(text.contains("kemi_pool_threads{pool=\"test\"} 2\n"), "{text}");
}
