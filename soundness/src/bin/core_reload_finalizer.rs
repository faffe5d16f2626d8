//! F1: the old interpreter ends under the program's lock.   core_reload_finalizer start|start-python|reload|python
use std::sync::mpsc;
use std::time::Duration;

use kemi::{Limits, NoContext};
use soundness::{argument, deadline, limited, open};

fn main() {
    match argument(1, "reload").as_str() {
        "start" => start("lua", "guard = setmetatable({}, {__gc = function() while true do end end}) function f() end"),
        "start-python" => start("python", "class Slow:\n    def __del__(self):\n        while True: pass\nkept = Slow()\ndef f(): pass\n"),
        "reload" => reload(),
        _ => python(),
    }
}

/// The script is loaded aside, and its finalizer does not end.
fn start(language: &str, script: &str) {
    let (registry, _) = limited::<NoContext>(&["f"], Limits { max_load_time_ms: 1000, max_time_ms: 1000, ..Limits::default() });
    deadline(8, format!("Program::open of a {language} script with an endless finalizer, after 8 s (max_load_time_ms is 1000)"));
    println!("opened: {}", open(language, &registry, script).is_ok());
}

/// The first worker's old script does not end; the second, and whoever asks for the status, wait for it.
fn reload() {
    let (registry, ids) = limited::<NoContext>(&["f"], Limits { max_time_ms: 300, ..Limits::default() });
    let script = "guard = setmetatable({}, {__gc = function() while used do end end}) function f() used = true end";
    let program = open("lua", &registry, script).expect("opens");
    let (first_is_in, wait_for_first) = mpsc::channel();
    let (told, tells) = mpsc::channel();
    let mut turns = vec![(Some(first_is_in), None), (None, Some(wait_for_first))].into_iter();
    let mut ready = Vec::new();
    for name in ["first", "second"] {
        let (program, told, f) = (program.clone(), told.clone(), ids[0]);
        let (before, after) = turns.next().expect("two");
        let (is_ready, waits) = mpsc::channel();
        ready.push(waits);
        std::thread::spawn(move || {
            let mut worker = program.worker(name, None).expect("loads");
            worker.instance().call(f, &mut NoContext, &[]).expect("works");
            is_ready.send(()).expect("heard");
            while program.status().version == 1 {
                std::thread::sleep(Duration::from_millis(5));
            }
            if let Some(before) = before {
                before.send(()).expect("heard");
            }
            if let Some(after) = after {
                after.recv().expect("told");
                std::thread::sleep(Duration::from_millis(500));
            }
            worker.refresh();
            let _ = told.send(name);
        });
    }
    for ready in ready {
        ready.recv().expect("loaded");
    }
    let other = program.clone();
    std::thread::spawn(move || drop(other.reload(Duration::from_millis(100))));
    std::thread::sleep(Duration::from_secs(2));
    let (asked, answers) = mpsc::channel();
    std::thread::spawn(move || asked.send(program.status().version));
    let status = answers.recv_timeout(Duration::from_secs(2)).map_or("no answer", |_| "an answer");
    let done: Vec<_> = tells.try_iter().collect();
    println!("HANGS: 4 s after the reload the workers that have refreshed are {done:?}; Program::status gives {status}");
    std::process::exit(1);
}

/// Two workers that stay attached, as `docs/hosts.md` shows: one has the program's lock and waits for Python's, the other the reverse.
fn python() {
    let (registry, ids) = limited::<NoContext>(&["f"], Limits::default());
    let script = "import time\nclass Slow:\n    def __del__(self): time.sleep(0.5)\nkept = Slow()\ndef f(): pass\n";
    let program = open("python", &registry, script).expect("opens");
    let (ready, wait) = mpsc::channel();
    for name in ["first", "second"] {
        let (program, ready, f) = (program.clone(), ready.clone(), ids[0]);
        std::thread::spawn(move || {
            kemi_python::attached(|| {
                let mut worker = program.worker(name, None).expect("loads");
                ready.send(()).expect("heard");
                loop {
                    kemi_python::detached(|| std::thread::sleep(Duration::from_millis(10)));
                    worker.refresh();
                    worker.instance().call(f, &mut NoContext, &[]).expect("works");
                }
            });
        });
    }
    wait.recv().expect("loaded");
    wait.recv().expect("loaded");
    deadline(10, "a worker with the program's lock waits for Python's, the other one the reverse, 10 s after a reload with a __del__ that sleeps");
    let reloaded = program.reload(Duration::from_secs(3)).expect("is good");
    println!("reloaded: {:?}", reloaded.workers);
}
