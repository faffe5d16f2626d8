//! C code and finalizers in Python that no limit ends.   python_stuck [MODE]; without a mode it lists them.
use kemi::{Limits, NoContext};
use soundness::{argument, deadline, limited, load, shown};

/// A name, what stands before the callback, and the callback's body.
const BODIES: &[(&str, &str, &str)] = &[
    ("re", "import re", "re.match(r'(a+)+b', 'a' * 60)"),
    ("power", "", "9 ** 9 ** 9"),
    ("factorial", "import math", "math.factorial(10 ** 7)"),
    ("digits", "import sys; sys.set_int_max_str_digits(0)", "str(7 ** 3000000)"),
    ("sleep", "import time", "time.sleep(600)"),
    ("lock", "import threading; lock = threading.Lock()", "lock.acquire(); lock.acquire()"),
    ("recv", "import socket; a, b = socket.socketpair()", "a.recv(1)"),
    ("subprocess", "import subprocess", "subprocess.run(['sleep', '600'])"),
    ("system", "import os", "os.system('sleep 600')"),
    ("sum", "", "sum(range(10 ** 12))"),
    ("max", "import itertools", "max(itertools.count())"),
    ("deque", "import itertools, collections", "collections.deque(itertools.count(), maxlen=0)"),
    ("any", "import itertools", "any(itertools.repeat(0))"),
    ("in", "import itertools", "1 in itertools.repeat(0)"),
    ("iter", "", "sum(iter(int, 1))"),
    ("product", "import itertools", "sum(1 in p for p in [()] if 2 in itertools.product(range(100), repeat=20))"),
];

fn main() {
    let mode = argument(1, "");
    let limits = Limits { max_time_ms: 300, max_memory: 64 << 20, ..Limits::default() };
    let (registry, ids) = limited::<NoContext>(&["f"], limits);
    match mode.as_str() {
        // The end of an instance has no clock.
        "finalizer" => {
            let script = "class C:\n    def __del__(self):\n        while True: pass\nkept = C()\ndef f(): pass\n";
            let instance = load("python", &registry, script);
            deadline(5, "the end of an instance with an endless __del__ (max_time_ms is 300)");
            drop(instance);
            println!("ends");
        }
        "alarm" => {
            let script = "import signal\ndef f(): signal.setitimer(signal.ITIMER_REAL, 0.2)\n";
            let instance = load("python", &registry, script);
            println!("THE PROCESS ENDS by SIGALRM if this is the last line: {:?}", instance.call(ids[0], &mut NoContext, &[]));
            std::thread::sleep(std::time::Duration::from_secs(1));
            println!("goes on");
        }
        "builtins" => {
            let bad = load("python", &registry, "import builtins\ndef f():\n    builtins.len = lambda x: 42\n");
            drop(bad.call(ids[0], &mut NoContext, &[]));
            // An instance has the builtins as they are when it is loaded.
            let good = load("python", &registry, "def f(): return len('ab')\n");
            let length = shown(&good.call(ids[0], &mut NoContext, &[]));
            let word = if length == "2" { "right" } else { "WRONG VALUE" };
            println!("{word}: len('ab') in an instance that was loaded later is {length}");
        }
        "shared" => {
            let script = "def f():\n    a = [1]\n    for _ in range(60): a = [a, a]\n    return a\n";
            let instance = load("python", &registry, script);
            deadline(5, "the copy of a list of 61 objects, shared (and all memory is eaten meanwhile)");
            println!("{:?}", instance.call(ids[0], &mut NoContext, &[]).map(|_| ()));
        }
        "keys" => {
            let instance = load("python", &registry, "def f(): return {'a': 1, b'a': 2}\n");
            println!("WRONG VALUE: of two keys one is left: {:?}", instance.call(ids[0], &mut NoContext, &[]));
        }
        "property" => {
            let script = "class C:\n    @property\n    def g(self):\n        while True: pass\n    def f(self, msg): pass\ndef mod_init(): return C()\n";
            let (registry, ids) = limited::<NoContext>(&["f", "g"], limits);
            deadline(5, "Instance::load or has() with an endless property");
            let instance = load("python", &registry, script);
            println!("{}", instance.has(ids[1]));
        }
        mode => match BODIES.iter().find(|(name, ..)| *name == mode) {
            Some((_, before, body)) => {
                let instance = load("python", &registry, &format!("{before}\ndef f():\n    {body}\n"));
                deadline(10, &format!("{body} (max_time_ms is 300)"));
                println!("ends: {:?}", instance.call(ids[0], &mut NoContext, &[]).map_err(|error| error.code));
            }
            None => {
                for (name, ..) in BODIES {
                    print!("{name} ");
                }
                println!("finalizer alarm builtins shared keys property");
            }
        },
    }
    std::process::exit(0);
}
