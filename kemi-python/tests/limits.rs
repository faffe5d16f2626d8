//! A call that uses up its time, memory or instructions ends, whatever the script does about it.

mod common;

use std::fs;
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use common::{Cx, Host, SOON, ends, has_place};
use kemi_core::{ArgumentPolicy, ErrorCode, Instance, Limits, Outcome, Source, Value};
use kemi_python::PythonEngine;

fn host(limits: Limits) -> Host {
    Host::limited(ArgumentPolicy::Strict, "KSR", limits)
}

fn in_time(ms: u64) -> Host {
    host(Limits { max_time_ms: ms, ..Limits::NONE })
}

const HELPERS: &str = "
class Swallow:
    def __enter__(self): pass
    def __exit__(self, *args): return True
class Odd:
    def __eq__(self, other):
        while True: pass
    def __del__(self):
        while True: pass
    @property
    def name(self):
        while True: pass
def generate():
    while True:
        try:
            yield 1
        except BaseException:
            pass
def forever(*args):
    while True:
        try:
            while True: pass
        except: pass
def recurse():
    try:
        recurse()
    except RecursionError:
        recurse()
async def task():
    while True:
        try:
            await asyncio.sleep(0)
        except BaseException:
            pass
import asyncio
";

#[test]
fn an_endless_loop_ends_by_the_clock() {
    let bodies = [
        "while True: pass",
        "while True:\n    pass",
        "n = 0\nwhile True:\n    n += 1",
        "for n in itertools.count():\n    pass",
        "while True:\n    try:\n        while True: pass\n    except:\n        pass",
        "while True:\n    try:\n        while True: pass\n    except BaseException as e:\n        x = e",
        "while True:\n    try:\n        while True: pass\n    finally:\n        continue",
        "try:\n    while True: pass\nfinally:\n    while True: pass",
        "while True:\n    with contextlib.suppress(BaseException):\n        while True: pass",
        "while True:\n    with Swallow():\n        while True: pass",
        "forever()",
        "sorted([3, 1, 2], key=forever)",
        "sum(1 for n in itertools.count())",
        "[n for n in generate()]",
        "for n in generate(): pass",
        "list(map(forever, [1]))",
        "Odd() == 1",
        "hasattr(Odd(), 'name')",
        "odd = Odd()\ndel odd\nwhile True: pass",
        "recurse()\nwhile True: recurse()",
        "asyncio.run(task())",
        "exec('while True:\\n try:\\n  while True: pass\\n except: pass')",
        "while True:\n    try: KSR.echo.int(1)\n    except: pass",
        "while True:\n    try: KSR.bad.fail('no')\n    except Exception: pass",
        "import sys\nwhile True:\n    try:\n        while True: pass\n    except:\n        sys.settrace(None)",
    ];
    let host = in_time(50);
    for body in bodies {
        let (error, _) = ends(&host, HELPERS, body);
        assert_eq!(error.code, ErrorCode::TimeLimit, "{body}: {error:#}");
        assert!(error.message.contains("50 ms"), "{error}");
        assert!(has_place(&error, body) > 2, "{body}: {error:#}");
    }
}

#[test]
fn the_error_names_the_line() {
    let (error, _) = ends(&in_time(50), "", "x = 1\nwhile True:\n    x += 1");
    let line = has_place(&error, "loop");
    assert!(line == 4 || line == 5, "{error:#}");
    assert_eq!(error.callback.as_deref(), Some("main"));
    assert_eq!(error.engine, "python");
}

#[test]
fn nothing_runs_after_the_end() {
    let body = "try:\n    while True: pass\nexcept BaseException:\n    KSR.log.note('except')\nfinally:\n    KSR.log.note('finally')";
    let (error, cx) = ends(&in_time(50), "", body);
    assert_eq!(error.code, ErrorCode::TimeLimit);
    assert!(cx.notes.is_empty(), "{:?}", cx.notes);
}

#[test]
fn an_endless_nested_callback_ends_the_whole_call() {
    let prelude = "def branch():\n    while True:\n        try:\n            while True: pass\n        except: pass\n";
    for body in [
        "KSR.tm.run('branch')",
        "try:\n    KSR.tm.run('branch')\nexcept BaseException:\n    KSR.log.note('except')\nKSR.log.note('after')",
        "while True:\n    try:\n        KSR.tm.run('branch')\n    except: pass",
        "while True:\n    with contextlib.suppress(BaseException):\n        KSR.tm.run('branch')",
    ] {
        let (error, cx) = ends(&in_time(50), prelude, body);
        assert_eq!(error.code, ErrorCode::TimeLimit, "{body}: {error:#}");
        assert!(has_place(&error, body) > 2);
        assert!(cx.notes.is_empty(), "{body}: {:?}", cx.notes);
    }
}

#[test]
fn a_loop_after_nested_callbacks_ends_too() {
    let prelude = "def branch():\n    return 1\n";
    let body = "for i in range(100):\n    KSR.tm.run('branch')\nwhile True:\n    KSR.tm.run('branch')";
    let (error, _) = ends(&in_time(50), prelude, body);
    assert_eq!(error.code, ErrorCode::TimeLimit, "{error:#}");
}

#[test]
fn loading_ends_by_its_own_clock() {
    let host = host(Limits { max_time_ms: 50, max_load_time_ms: 100, ..Limits::NONE });
    for (text, line) in [
        ("x = 1\nwhile True:\n    pass\n", 2..=3),
        ("while True:\n    try:\n        while True: pass\n    except: pass\n", 1..=4),
        ("def mod_init():\n    while True: pass\n", 2..=2),
        ("def forever():\n    while True: pass\nforever()\n", 2..=2),
    ] {
        let begin = Instant::now();
        let error = host.load(text).unwrap_err();
        assert!(begin.elapsed() < SOON);
        assert_eq!(error.code, ErrorCode::TimeLimit, "{text}: {error:#}");
        assert!(error.message.contains("100 ms"), "{error}");
        assert!(line.contains(&has_place(&error, text)), "{text}: {error:#}");
    }
    // The time of calls does not count here.
    let host = Host::limited(ArgumentPolicy::Strict, "KSR", Limits { max_time_ms: 50, ..Limits::default() });
    let instance = host.load("import time\ntime.sleep(0.06)\ndef main():\n    return 1\n").unwrap();
    assert_eq!(host.call(&instance).0.unwrap(), Outcome::Value(1.into()));
}

#[test]
fn an_endless_module_ends_and_names_its_file() {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("python_limits");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("endless.py"), "x = 1\nwhile True:\n    x += 1\n").unwrap();
    fs::write(folder.join("start.py"), "try:\n    import endless\nexcept BaseException:\n    pass\n").unwrap();
    let host = host(Limits { max_load_time_ms: 100, ..Limits::NONE });
    let error =
        Instance::<Cx>::load(&PythonEngine, &host.registry, &[Source::File(folder.join("start.py"))]).unwrap_err();
    assert_eq!(error.code, ErrorCode::TimeLimit, "{error:#}");
    assert!(error.place.as_ref().is_some_and(|place| place.file.ends_with("endless.py") && place.line > 1));
}

#[test]
fn calls_within_their_time_are_left_alone() {
    let host = in_time(20);
    let instance = host
        .load("import time\ndef main():\n    time.sleep(0.019)\n    return 1\ndef event(a, b):\n    for i in range(200): pass\n    return b\n")
        .unwrap();
    // Ends next to the deadline, on either side of it: an interrupt must never hit the calls that follow.
    for n in 0..40i64 {
        match host.call(&instance).0 {
            Ok(outcome) => assert_eq!(outcome, Outcome::Value(1.into())),
            Err(error) => assert_eq!(error.code, ErrorCode::TimeLimit, "{error:#}"),
        }
        for _ in 0..50 {
            let result = host.event(&instance, &[0.into(), n.into()]);
            assert_eq!(result.unwrap_or_else(|e| panic!("{n}: {e:#}")), Outcome::Value(n.into()));
        }
    }
}

#[test]
fn instances_go_while_interrupts_come() {
    let (done, wait) = mpsc::channel();
    for worker in 0..3u32 {
        let done = done.clone();
        thread::spawn(move || {
            let work = || {
                for n in 0..25u32 {
                    let host = in_time(8 + u64::from(n % 3));
                    let instance = host.load("def main():\n    while True:\n        try:\n            while True: pass\n        except: pass\n").unwrap();
                    let error = host.call(&instance).0.unwrap_err();
                    assert_eq!(error.code, ErrorCode::TimeLimit, "{error:#}");
                    // Attached or not, this must not wait for the watchdog while that waits for Python.
                    drop(instance);
                }
            };
            // Attached for good, as workers are, and not.
            if worker == 0 {
                work()
            } else {
                kemi_python::attached(work)
            }
            done.send(worker).unwrap();
        });
    }
    drop(done);
    for _ in 0..3 {
        wait.recv_timeout(Duration::from_secs(60)).expect("a worker hangs or has failed");
    }
}

#[test]
fn the_time_of_one_script_does_not_end_another_that_it_called() {
    thread_local!(static OTHER: std::cell::RefCell<Option<(Host, Instance<Cx>)>> = const { std::cell::RefCell::new(None) });

    #[kemi_macros::kemi_export(module = "tm")]
    fn other(_cx: &mut Cx) -> Result<i64, String> {
        OTHER.with_borrow(|other| match other {
            Some((host, instance)) => match host.call(instance).0 {
                Ok(Outcome::Value(Value::Int(value))) => Ok(value),
                other => Err(format!("{other:?}")),
            },
            None => Err("there is none".to_owned()),
        })
    }

    let slow = host(Limits::NONE);
    let text = "import time\ndef main():\n    end = time.monotonic() + 0.15\n    n = 0\n    while time.monotonic() < end: n = 7\n    return n\n";
    let instance = slow.load(text).unwrap();
    OTHER.set(Some((slow, instance)));
    let prelude = "seen = []\n";
    let (error, _) = ends(&in_time(50), prelude, "seen.append(KSR.tm.other())\nwhile True:\n    assert seen == [7]");
    assert_eq!(error.code, ErrorCode::TimeLimit, "{error:#}");
}

#[test]
fn what_the_library_has_locked_is_released() {
    let prelude = "
import logging, threading
class Stuck(logging.Handler):
    def emit(self, record):
        while True: pass
handler = Stuck()
logger = logging.getLogger('kemi limits')
logger.propagate = False
logger.addHandler(handler)
";
    // Long enough for a thread to be started and to get Python's lock while other tests run scripts without an end.
    let host = in_time(2_000);
    let script = format!(
        "import KSR\n{prelude}\ndef main():\n    logger.error('x')\ndef event(a, b):\n    got = []\n    def other():\n        got.append(handler.lock.acquire(timeout=5))\n    t = threading.Thread(target=other)\n    t.start()\n    t.join()\n    return got[0]\n"
    );
    let instance = host.load(&script).unwrap();
    assert_eq!(host.call(&instance).0.unwrap_err().code, ErrorCode::TimeLimit);
    assert_eq!(host.event(&instance, &[0.into(), 0.into()]).unwrap(), Outcome::Value(true.into()));
}

#[test]
fn instructions_end_by_number() {
    // What is imported for the first time would count.
    host(Limits::NONE).load("import contextlib, itertools").unwrap();
    let forever =
        "def forever(*args):\n    while True:\n        try:\n            while True: pass\n        except: pass\n";
    let host = host(Limits { max_instructions: 10_000, ..Limits::NONE });
    for body in [
        "while True: pass",
        "x = 1\nwhile True:\n    x += 1",
        "while True:\n    try:\n        while True: pass\n    except: pass",
        "sum(1 for n in itertools.count())",
        "forever()",
        "while True:\n    try:\n        KSR.echo.int(1)\n    except: pass",
        "sorted([3, 1, 2], key=forever)",
    ] {
        let (error, _) = ends(&host, forever, body);
        assert_eq!(error.code, ErrorCode::InstructionLimit, "{body}: {error:#}");
        assert!(error.message.contains("10000"), "{error}");
        assert!(has_place(&error, body) > 2);
    }
    // The count begins anew with each call.
    let text = "def main():\n    for i in range(1000): pass\n    return 1\n";
    let instance = host.load(text).unwrap();
    for _ in 0..10 {
        assert_eq!(host.call(&instance).0.unwrap(), Outcome::Value(1.into()));
    }
    let nested = "def branch():\n    while True: pass\n";
    let (error, cx) = ends(&host, nested, "try:\n    KSR.tm.run('branch')\nexcept: pass\nKSR.log.note('after')");
    assert_eq!(error.code, ErrorCode::InstructionLimit, "{error:#}");
    assert!(cx.notes.is_empty());
}

#[test]
fn endless_recursion_stays_an_error_that_can_be_caught() {
    let host = host(Limits::default());
    let instance = host
        .load("def f(): return f()\ndef main():\n    f()\ndef event(a, b):\n    try:\n        f()\n    except RecursionError:\n        return 5\n")
        .unwrap();
    for _ in 0..3 {
        assert_eq!(host.call(&instance).0.unwrap_err().code, ErrorCode::StackOverflow);
        assert_eq!(host.event(&instance, &[0.into(), 0.into()]).unwrap(), Outcome::Value(5.into()));
    }
}
