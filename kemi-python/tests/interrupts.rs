//! Nothing hides from the end of a call: code in C, waits, finalizers, threads and signals.
#![cfg(target_os = "linux")]

mod common;

use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use common::{Cx, Host, SOON, has_place};
use kemi_core::{ArgumentPolicy, ErrorCode, Instance, Limits, Outcome};
use kemi_macros::kemi_export;

/// One test at a time: what holds Python's lock in one would keep the others waiting.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn in_time(ms: u64) -> Host {
    Host::limited(ArgumentPolicy::Strict, "KSR", Limits { max_time_ms: ms, max_memory: 512 << 20, ..Limits::NONE })
}

/// What runs in C for much longer than a call may take, each with what it needs.
///
/// Bodies of one line, in the order of Python's own table of contents: built-in functions, operators, then modules.
const BODIES: &[(&str, &str)] = &[
    // Built-in functions and constructors over iterators that are written in C themselves.
    ("from itertools import *", "all(repeat(1))"),
    ("from itertools import *", "any(repeat(0))"),
    ("from itertools import *", "sum(repeat(0))"),
    ("from itertools import *", "max(repeat(0))"),
    ("from itertools import *", "min(count())"),
    ("from itertools import *", "next(filter(None, repeat(0)))"),
    ("from itertools import *", "max(map(abs, repeat(0)))"),
    ("from itertools import *", "max(zip(repeat(0), count()))"),
    ("from itertools import *", "max(enumerate(repeat(0)))"),
    ("from itertools import *", "set(repeat(0))"),
    ("from itertools import *", "frozenset(cycle([1, 2]))"),
    ("from itertools import *", "dict(zip(repeat(1), repeat(2)))"),
    ("from itertools import *", "dict.fromkeys(repeat(1))"),
    ("", "sum(range(10 ** 12))"),
    ("", "min(range(10 ** 30))"),
    ("", "max(map(int, range(10 ** 12)))"),
    ("", "sum(iter(int, 1))"),
    ("", "any(iter(dict, 1))"),
    // Operators.
    ("from itertools import *", "1 in repeat(0)"),
    ("from itertools import *", "-1 in count()"),
    ("from itertools import *", "1 not in cycle([0])"),
    ("from itertools import *", "a, *b = set(), *set(repeat(0))"),
    ("", "-1.5 in iter(range(10 ** 12))"),
    ("", "9 ** 9 ** 9"),
    ("", "7 ** 10_000_000 % 10"),
    ("", "pow(7 ** 300_000, 7 ** 300_000, 7 ** 300_000 + 2)"),
    ("x = 3 ** 3_000_000", "x * x * x * x * x"),
    ("x = 3 ** 2_000_000", "x // 7 ** 500_000"),
    ("x = 3 ** 2_000_000", "divmod(x, 7 ** 500_000)"),
    // Modules.
    ("import re", "re.match(r'(a+)+b', 'a' * 60)"),
    ("import re", "re.search(r'(x+x+)+y', 'x' * 60)"),
    ("import re", "re.sub(r'(.*)*\\d', '', 'a' * 60)"),
    ("import re", "re.compile(r'(a|a)*b').findall('a' * 60)"),
    ("import re", "re.fullmatch(rb'(a|aa)+', b'a' * 90 + b'b')"),
    ("import re", "re.split(r'(?:(?:a*)*)*b', 'a' * 60)"),
    ("from itertools import *", "1 in product(range(100), repeat=20)"),
    ("from itertools import *", "1 in permutations(range(50))"),
    ("from itertools import *", "1 in combinations(range(100), 50)"),
    ("from itertools import *", "1 in combinations_with_replacement(range(100), 50)"),
    ("from itertools import *", "1 in chain.from_iterable(repeat([0]))"),
    ("from itertools import *", "next(islice(repeat(0), 10 ** 15, None))"),
    ("from itertools import *", "next(dropwhile(bool, repeat(1)))"),
    ("from itertools import *", "next(filterfalse(None, repeat(1)))"),
    ("from itertools import *", "next(compress(repeat(1), repeat(0)))"),
    ("from itertools import *", "1 in accumulate(repeat(0))"),
    ("from itertools import *", "1 in starmap(int, repeat(()))"),
    ("from itertools import *; import collections", "collections.deque(count(), maxlen=0)"),
    ("from itertools import *; import collections", "collections.Counter(repeat(0))"),
    ("from itertools import *; import functools, operator", "functools.reduce(operator.or_, repeat(0))"),
    ("from itertools import *; import operator", "operator.indexOf(repeat(0), 1)"),
    ("from itertools import *; import operator", "operator.countOf(repeat(0), 1)"),
    ("from itertools import *; import math", "math.prod(repeat(1))"),
    ("from itertools import *; import math", "math.gcd(*range(3), *set(repeat(0)))"),
    ("from itertools import *; import heapq", "heapq.nsmallest(1, repeat(0))"),
    ("import math", "math.factorial(10 ** 8)"),
    ("import math", "math.comb(10 ** 8, 5 * 10 ** 7)"),
    ("import math", "math.perm(10 ** 8, 5 * 10 ** 7)"),
    ("import math; x = 7 ** 1_000_000", "math.isqrt(x)"),
    ("import time", "time.sleep(600)"),
    ("import threading", "lock = threading.Lock(); lock.acquire(); lock.acquire()"),
    ("import threading", "threading.Semaphore(0).acquire()"),
    ("import threading", "threading.Event().wait()"),
    ("import threading", "threading.Condition().__enter__(); threading.Barrier(2).wait()"),
    ("import threading, time", "t = threading.Thread(target=time.sleep, args=(3,), daemon=True); t.start(); t.join()"),
    ("import queue", "queue.Queue().get()"),
    ("import queue", "queue.SimpleQueue().get()"),
    ("import socket; a, b = socket.socketpair()", "a.recv(1)"),
    ("import socket; s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen()", "s.accept()"),
    ("import socket; a, b = socket.socketpair()", "a.sendall(bytes(100_000_000))"),
    ("import select", "select.select([], [], [], 600)"),
    ("import select", "select.poll().poll()"),
    ("import asyncio", "asyncio.run(asyncio.sleep(600))"),
    ("import concurrent.futures", "concurrent.futures.Future().result()"),
    ("import os; r, w = os.pipe()", "os.read(r, 1)"),
    ("import os; r, w = os.pipe()", "open(r).read()"),
    ("import os", "os.system('sleep 3')"),
    ("import os", "os.popen('sleep 3').read()"),
    ("import subprocess", "subprocess.run(['sleep', '3'])"),
    ("import subprocess", "subprocess.check_output('sleep 3', shell=True)"),
    ("import signal", "signal.pause()"),
    ("import os", "os.waitpid(os.posix_spawn('/bin/sleep', ['sleep', '3'], {}), 0)"),
    ("import json", "json.dumps([0] * 10, default=1, indent=1) and sum(range(10 ** 12))"),
    // Containers that contain each other, each visited once for every way to it.
    ("a, b = [1], [1]\nfor _ in range(60): a, b = [a, a], [b, b]", "a == b"),
    ("a, b = (1,), (1,)\nfor _ in range(60): a, b = (a, a), (b, b)", "a == b"),
    ("a, b = {}, {}\nfor _ in range(60): a, b = {1: a, 2: a}, {1: b, 2: b}", "a != b"),
    ("a = (1,)\nfor _ in range(60): a = (a, a)", "hash(a)"),
    ("a = (1,)\nfor _ in range(60): a = (a, a)", "{a}"),
    // The same again for a script that will not hear of it.
    (
        "import re",
        "try:\n        re.match(r'(a+)+b', 'a' * 60)\n    except BaseException: pass\n    KSR.log.note('after')",
    ),
    ("import time", "try: time.sleep(600)\n    finally: time.sleep(600)"),
    ("import time", "while True:\n        try: time.sleep(600)\n        except BaseException: pass"),
    ("import itertools", "while True:\n        try: sum(itertools.count())\n        except BaseException: pass"),
    (
        "import time",
        "def g():\n        try: yield 1\n        finally: time.sleep(600)\n    next(g())\n    time.sleep(600)",
    ),
    ("import time, contextlib", "with contextlib.suppress(BaseException): time.sleep(600)\n    KSR.log.note('after')"),
];

fn ends_in_c(host: &Host, before: &str, body: &str) {
    let text = format!("import KSR\n{before}\ndef main():\n    {body}\ndef event(a, b):\n    return a\n");
    let instance = host.load(&text).unwrap_or_else(|error| panic!("{body}: {error:#}"));
    let begin = Instant::now();
    let (result, cx) = host.call(&instance);
    let error = result.map(|outcome| panic!("{body} ended in {outcome:?}")).unwrap_err();
    assert!(begin.elapsed() < SOON, "{body} took {:?}", begin.elapsed());
    assert_eq!(error.code, ErrorCode::TimeLimit, "{body}: {error:#}");
    assert!(has_place(&error, body) >= 3, "{body}: {error:#}");
    assert!(cx.notes.is_empty(), "{body}: {:?}", cx.notes);
    for n in 0..3i64 {
        let next = host.event(&instance, &[n.into(), 0.into()]);
        assert_eq!(next.unwrap_or_else(|e| panic!("after {body}: {e:#}")), Outcome::Value(n.into()), "{body}");
    }
}

#[test]
fn code_in_c_and_waits_end_by_the_clock() {
    let _alone = alone();
    let host = in_time(60);
    for (before, body) in BODIES {
        ends_in_c(&host, before, body);
    }
}

#[test]
fn a_thread_in_c_does_not_keep_the_end_from_others() {
    let _alone = alone();
    let threads: Vec<_> = (0..4)
        .map(|n| {
            thread::spawn(move || {
                let host = in_time(60);
                for (before, body) in [
                    ("import re", "re.match(r'(a+)+b', 'a' * 60)"),
                    ("import time", "time.sleep(600)"),
                    ("", "sum(range(10 ** 12))"),
                    ("", "while True: pass"),
                ]
                .into_iter()
                .cycle()
                .skip(n)
                .take(8)
                {
                    ends_in_c(&host, before, body);
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
}

/// Runs on a thread of its own and fails if it does not come to an end.
fn in_the_end(what: &str, run: impl FnOnce() + Send + 'static) {
    let (done, wait) = mpsc::channel();
    let thread = thread::spawn(move || {
        run();
        let _ = done.send(());
    });
    match wait.recv_timeout(Duration::from_secs(60)) {
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("{what} does not end"),
        _ => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
    }
}

#[test]
fn the_end_of_an_instance_is_bounded_whatever_its_finalizers_do() {
    let _alone = alone();
    let bodies = [
        "while True: pass",
        "while True:\n            try:\n                while True: pass\n            except BaseException: pass",
        "import time; time.sleep(600)",
        "import re; re.match(r'(a+)+b', 'a' * 60)",
        "sum(range(10 ** 12))",
        "import threading; lock = threading.Lock(); lock.acquire(); lock.acquire()",
    ];
    let places = [
        // A global, one in a list, one that is an attribute of a class.
        "kept = C()",
        "kept = [C() for _ in range(50)]",
        "class Holder: kept = C()",
        "import builtins\nbuiltins.kept = C()",
        "def f(kept=C()): pass",
        "import weakref\nkept = C()\nfinal = weakref.finalize(kept, kept.__class__.__del__, None)",
        "def g():\n    try: yield 1\n    finally: C.__del__(None)\nkept = g()\nnext(kept)",
    ];
    for body in bodies {
        for place in places {
            let text =
                format!("class C:\n    def __del__(self):\n        {body}\n{place}\ndef main():\n    return 1\n");
            in_the_end(&text.clone(), move || {
                let host = in_time(30);
                let instance = host.load(&text).unwrap_or_else(|error| panic!("{text}: {error:#}"));
                drop(instance);
                // And one after it is not hurt.
                let next = host.load("def main():\n    return 2\n").unwrap();
                assert_eq!(host.call(&next).0.unwrap(), Outcome::Value(2.into()));
            });
        }
    }
}

#[test]
fn the_object_of_methods_ends_in_time_too() {
    let _alone = alone();
    in_the_end("the object", || {
        let host = in_time(30);
        let text = "class P:\n    def main(self, msg):\n        return 1\n    def __del__(self):\n        while True: pass\ndef mod_init():\n    return P()\n";
        let instance = host.load(text).unwrap();
        assert_eq!(host.call(&instance).0.unwrap(), Outcome::Value(1.into()));
    });
}

#[test]
fn a_property_that_is_looked_up_has_the_time_of_a_call() {
    let _alone = alone();
    in_the_end("the property", || {
        let host = in_time(30);
        let text = "class P:\n    def __init__(self): self.n = 0\n    @property\n    def main(self):\n        self.n += 1\n        while self.n > 3: pass\n        return len\ndef mod_init():\n    return P()\n";
        if let Ok(instance) = host.load(text) {
            for _ in 0..5 {
                let _ = instance.has(host.main);
            }
        }
    });
}

#[test]
fn what_concerns_the_whole_server_is_refused_in_words() {
    let _alone = alone();
    let rows = [
        "signal.setitimer(signal.ITIMER_REAL, 0.01)",
        "signal.alarm(1)",
        "signal.raise_signal(signal.SIGTERM)",
        "signal.pthread_kill(threading.get_ident(), signal.SIGTERM)",
        "signal.siginterrupt(signal.SIGTERM, False)",
        "signal.signal(signal.SIGTERM, lambda *args: None)",
        "signal.set_wakeup_fd(-1)",
        "_signal.setitimer(signal.ITIMER_REAL, 0.01)",
        "os.kill(os.getpid(), signal.SIGTERM)",
        "os.kill(0, signal.SIGTERM)",
        "os.killpg(0, signal.SIGTERM)",
        "os._exit(1)",
        "os.abort()",
        "os.execv('/bin/true', ['true'])",
        "os.execl('/bin/true', 'true')",
        "faulthandler.dump_traceback_later(1, exit=True)",
        "faulthandler.register(signal.SIGUSR1)",
        "_thread.interrupt_main()",
        "sys.set_int_max_str_digits(0)",
    ];
    for row in rows {
        let body = format!(
            "import _signal, _thread, faulthandler, os, signal, sys, threading, time\ntry:\n    {row}\nexcept (RuntimeError, ValueError) as e:\n    assert any(word in str(e) for word in ('server', 'digits')), e\nelse:\n    assert False, 'not refused'"
        );
        common::check(&body);
    }
    // What only asks goes on.
    common::check(
        "import os, signal\nos.kill(os.getpid(), 0)\nassert signal.getsignal(signal.SIGTERM) is not None\nsignal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGRTMAX])",
    );
    common::check(
        "import os\nassert os.system('exit 3') == 3 << 8\nassert os.waitstatus_to_exitcode(os.system('true')) == 0",
    );
}

static WAITING: AtomicI64 = AtomicI64::new(0);
static MOST_WAITING: AtomicI64 = AtomicI64::new(0);

/// Waits, and lets others run meanwhile.
#[kemi_export(module = "tm")]
fn wait(ms: u64) {
    kemi_core::while_waiting(|| {
        let now = WAITING.fetch_add(1, Ordering::SeqCst) + 1;
        MOST_WAITING.fetch_max(now, Ordering::SeqCst);
        thread::sleep(Duration::from_millis(ms));
        WAITING.fetch_sub(1, Ordering::SeqCst);
    });
}

#[test]
fn natives_that_wait_do_so_at_the_same_time_and_none_is_late_for_that() {
    let _alone = alone();
    const THREADS: usize = 40;
    let line = std::sync::Arc::new(std::sync::Barrier::new(THREADS));
    let threads: Vec<_> = (0..THREADS)
        .map(|n| {
            let line = line.clone();
            thread::spawn(move || {
                let host = in_time(2_000);
                let instance = host.load("import KSR\ndef main():\n    KSR.tm.wait(100)\n    return 1\n").unwrap();
                line.wait();
                let call = || {
                    for _ in 0..3 {
                        assert_eq!(host.call(&instance).0.unwrap(), Outcome::Value(1.into()));
                    }
                };
                if n % 2 == 0 { kemi_python::attached(call) } else { call() }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    let most = MOST_WAITING.load(Ordering::SeqCst);
    assert!(most > THREADS as i64 / 2, "at most {most} of {THREADS} waited at a time");
}

#[test]
fn waiting_for_pythons_lock_is_not_the_scripts_time() {
    let _alone = alone();
    // One thread has the lock for much longer than a call of the other may take.
    let (begun, wait) = mpsc::channel();
    let holder = thread::spawn(move || {
        kemi_python::attached(|| {
            begun.send(()).unwrap();
            // Without a line of Python nobody takes the lock away.
            thread::sleep(Duration::from_millis(600));
        });
    });
    let host = in_time(100);
    let instance = host.load("def main():\n    return 1\n").unwrap();
    wait.recv().unwrap();
    let result = host.call(&instance).0;
    holder.join().unwrap();
    assert_eq!(result.unwrap_or_else(|error| panic!("{error:#}")), Outcome::Value(1.into()));
}

#[test]
fn a_native_that_waits_may_call_back_and_its_wait_counts() {
    let _alone = alone();
    #[kemi_export(module = "tm")]
    fn waits_and_calls(cx: &mut Cx, script: &kemi_core::Script<'_>) -> Result<i64, kemi_core::ScriptError> {
        let route = script.route("branch");
        let callback = script.callback(route.unwrap_or_else(|| unreachable!()), "branch")?;
        let outcome = kemi_core::while_waiting(|| script.call(callback, cx, &[]))?;
        Ok(i64::from(outcome == Outcome::Value(7.into())))
    }
    let host = in_time(200);
    let text = "import KSR\ndef branch():\n    KSR.tm.wait(1)\n    return 7\ndef main():\n    return KSR.tm.waits_and_calls()\ndef event(a, b):\n    KSR.tm.wait(100_000)\n";
    let instance: Instance<Cx> = host.load(text).unwrap();
    assert_eq!(host.call(&instance).0.unwrap(), Outcome::Value(1.into()));
    let text = "import KSR\ndef main():\n    while True: KSR.tm.wait(20)\n";
    let instance = host.load(text).unwrap();
    assert_eq!(host.call(&instance).0.unwrap_err().code, ErrorCode::TimeLimit);
}

#[test]
fn a_panicking_subscriber_costs_its_line_only() {
    let _alone = alone();
    struct Panics;
    impl tracing::Subscriber for Panics {
        fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
            true
        }
        fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
            tracing::span::Id::from_u64(1)
        }
        fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
        fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
        fn enter(&self, _: &tracing::span::Id) {}
        fn exit(&self, _: &tracing::span::Id) {}
        fn event(&self, _: &tracing::Event<'_>) {
            LINES.fetch_add(1, Ordering::Relaxed);
            panic!("the log is broken");
        }
    }
    static LINES: AtomicU32 = AtomicU32::new(0);
    // To say where a panic comes from takes its time.
    let host = Host::limited(ArgumentPolicy::Strict, "KSR", Limits::NONE);
    let run = |text| host.call(&host.load(text).unwrap()).0.unwrap();
    tracing::subscriber::with_default(Panics, || {
        let text = "import KSR\ndef main():\n    print('x')\n    KSR.bad.old(1)\n    return 1\n";
        assert_eq!(run(text), Outcome::Value(1.into()));
        assert_eq!(run("import sys\ndef main():\n    sys.exit('reason')\n"), Outcome::Exit);
    });
    assert!(LINES.load(Ordering::Relaxed) >= 3);
}
