//! Native functions that wait: Python's lock is free meanwhile, and the script's clock stands.

use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use kemi_core::{Callbacks, Limits, Outcome, Pool, Program, Registry, Source, Value};
use kemi_macros::kemi_export;
use kemi_python::PythonEngine;

/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where two calls meet: the first one waits for the second.
#[derive(Default)]
struct Meeting {
    /// Those who came, and those of them who met another one.
    came: Mutex<(u32, u32)>,
    changed: Condvar,
}

impl Meeting {
    fn meet(&self) -> bool {
        let mut came = self.came.lock().unwrap();
        came.0 += 1;
        let partner = (came.0 - 1) | 1;
        self.changed.notify_all();
        let (mut came, waited) = self.changed.wait_timeout_while(came, PATIENCE, |came| came.0 <= partner).unwrap();
        came.1 += u32::from(!waited.timed_out());
        !waited.timed_out()
    }
}

struct Cx(Arc<Meeting>);

/// Waits until a call on the other thread is here as well, then 20 ms.
#[kemi_export(module = "slow", blocking)]
fn meet(cx: &mut Cx) -> bool {
    let met = cx.0.meet();
    thread::sleep(Duration::from_millis(20));
    met
}

#[kemi_export(module = "slow", blocking, context = Cx)]
fn nap(milliseconds: u64, text: &str) -> String {
    thread::sleep(Duration::from_millis(milliseconds));
    text.to_uppercase()
}

#[kemi_export(module = "slow", blocking, context = Cx)]
fn fails() -> Result<(), &'static str> {
    Err("nobody there")
}

#[kemi_export(module = "slow", blocking, context = Cx)]
fn panics() {
    panic!("a client")
}

fn registry(limits: Limits) -> (kemi_core::CallbackId, Registry<Cx>) {
    let mut callbacks = Callbacks::new();
    let main = callbacks.required("request", "main", &[]);
    let registry = Registry::<Cx>::builder().root("app").all_modules().callbacks(callbacks).limits(limits);
    (main, registry.build().unwrap())
}

fn pool(threads: usize, limits: Limits, script: &str) -> (kemi_core::CallbackId, Pool<Cx>) {
    let (main, registry) = registry(limits);
    let program = Program::open(Arc::new(PythonEngine), &registry, &[Source::text("wait.py", script)]).unwrap();
    (main, Pool::builder(program).threads(threads).name("python").build().unwrap())
}

#[test]
fn two_threads_wait_at_once_and_no_call_is_out_of_time() {
    // The waits of one call are longer than its time.
    let limits = Limits { max_time_ms: 500, ..Limits::NONE };
    let script = "def main():\n    return all([app.slow.meet() for _ in range(25)])";
    let (main, pool) = pool(2, limits, script);
    let meeting = Arc::new(Meeting::default());
    let calls: Vec<_> = (0..4)
        .map(|_| {
            let (pool, cx) = (pool.clone(), Cx(meeting.clone()));
            thread::spawn(move || pool.call_blocking(main, cx, ()).1)
        })
        .collect();
    for call in calls {
        assert_eq!(call.join().unwrap().unwrap(), Outcome::Value(Value::Bool(true)));
    }
    assert_eq!(*meeting.came.lock().unwrap(), (100, 100), "each has met one of the other thread");
}

#[test]
fn what_it_returns_and_how_it_fails_is_as_without_the_wait() {
    let script = "\
def main():
    seen = [app.slow.nap(1, 'text')]
    for f in (app.slow.fails, app.slow.panics):
        try:
            f()
        except Exception as error:
            seen.append('nobody there' in str(error) or 'a client' in str(error))
    try:
        app.slow.nap(-1, 'text')
    except Exception as error:
        seen.append('milliseconds' in str(error))
    return seen";
    let (main, pool) = pool(1, Limits::default(), script);
    let (_, outcome) = pool.call_blocking(main, Cx(Arc::default()), ());
    let Outcome::Value(Value::Array(seen)) = outcome.unwrap() else { panic!("it returns a list") };
    assert_eq!(seen, [Value::from("TEXT"), true.into(), true.into(), true.into()]);
}

#[test]
fn a_script_that_waits_in_a_loop_ends_at_max_wait_ms() {
    let limits = Limits { max_wait_ms: 30, max_time_ms: 20_000, ..Limits::NONE };
    let script = "def main():\n    while True:\n        try:\n            app.slow.nap(5, '')\n        except BaseException:\n            pass";
    let (main, pool) = pool(1, limits, script);
    let (_, outcome) = pool.call_blocking(main, Cx(Arc::default()), ());
    let error = outcome.unwrap_err().to_string();
    assert!(error.contains("wait.py:4") && error.ends_with("[wait-limit]"), "{error}");
}

#[test]
fn a_call_whose_future_is_dropped_ends_and_nothing_catches_that() {
    use std::future::Future;
    use std::pin::Pin;
    use std::task::{Context, Waker};

    let script = "\
def main():
    while True:
        try:
            app.slow.meet()
            while True:
                pass
        except BaseException:
            pass";
    let (main, registry) = registry(Limits::NONE);
    let program = Program::open(Arc::new(PythonEngine), &registry, &[Source::text("wait.py", script)]).unwrap();
    let pool = Pool::builder(program).threads(1).build().unwrap();
    let meeting = Arc::new(Meeting::default());
    let mut endless: Pin<Box<_>> = Box::pin(pool.call(main, Cx(meeting.clone()), ()));
    assert!(endless.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    assert!(meeting.meet(), "the script is there");
    drop(endless);
    pool.drain_blocking(PATIENCE).unwrap();
    let errors = &registry.data().metrics().callbacks[0].errors;
    assert_eq!(errors.get("cancelled"), Some(&1), "{errors:?}");
}
