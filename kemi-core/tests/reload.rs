//! A reload waits for nobody but the workers, and for these no longer than it was told to.
#![forbid(unsafe_code)]

use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use kemi_core::engine::{Interpreter, Runtime};
use kemi_core::{Arg, CallbackId, Engine, ErrorCode, Location, Program, Registry, ScriptError, Source, Value};

/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);
/// What a reload may wait where it has to wait in vain.
const BRIEFLY: Duration = Duration::from_millis(50);

/// An engine whose scripts do what the test says when they are loaded and when they end.
#[derive(Clone, Default)]
struct Hooks {
    load: Arc<Mutex<Option<Hook>>>,
    end: Arc<Mutex<Option<Hook>>>,
}

type Hook = Arc<dyn Fn() + Send + Sync>;

impl std::fmt::Debug for Hooks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hooks")
    }
}

fn run(hook: &Mutex<Option<Hook>>) {
    let hook = hook.lock().unwrap().clone();
    if let Some(hook) = hook {
        hook();
    }
}

struct HooksInterpreter(Hooks);

impl Drop for HooksInterpreter {
    fn drop(&mut self) {
        run(&self.0.end);
    }
}

impl Engine for Hooks {
    fn name(&self) -> &'static str {
        "hooks"
    }

    fn language(&self) -> String {
        "none".to_owned()
    }

    fn load(&self, _runtime: Rc<Runtime>, _sources: &[Source]) -> Result<Box<dyn Interpreter>, ScriptError> {
        run(&self.load);
        Ok(Box::new(HooksInterpreter(self.clone())))
    }
}

impl Interpreter for HooksInterpreter {
    fn resolve(&self, _name: &str) -> bool {
        false
    }

    fn functions(&self) -> Vec<String> {
        Vec::new()
    }

    fn call(&self, _callback: CallbackId, _args: &[Arg<'_>]) -> Result<Value, ScriptError> {
        Ok(Value::Nil)
    }

    fn place(&self) -> Option<Location> {
        None
    }
}

fn program(engine: &Hooks) -> Arc<Program<()>> {
    let registry = Registry::<()>::builder().root("app").build().unwrap();
    Program::open(Arc::new(engine.clone()), &registry, &[Source::text("s", "")]).unwrap()
}

/// A gate that whoever passes says that they are there and waits until it is opened.
fn gate() -> (Hook, Receiver<()>, Sender<()>) {
    let (arrive, arrived) = channel();
    let (open, opened) = channel::<()>();
    let opened = Mutex::new(opened);
    let arrive = Mutex::new(arrive);
    let hook = move || {
        arrive.lock().unwrap().send(()).ok();
        opened.lock().unwrap().recv_timeout(PATIENCE).ok();
    };
    (Arc::new(hook), arrived, open)
}

#[test]
fn a_wake_function_that_waits_for_the_worker_holds_nobody_up() {
    let program = program(&Hooks::default());
    let (wait, arrived, open) = gate();
    let asked = Arc::new(AtomicBool::new(false));
    let wake = {
        let (program, asked) = (Arc::downgrade(&program), asked.clone());
        move || {
            // To ask for the status is nothing that it must not do.
            asked.store(program.upgrade().is_some_and(|program| program.status().version > 1), Ordering::SeqCst);
            wait();
        }
    };
    let mut worker = program.worker("w", Some(Box::new(wake))).unwrap();
    let reloading = thread::spawn({
        let program = program.clone();
        move || program.reload(PATIENCE).unwrap()
    });
    arrived.recv_timeout(PATIENCE).expect("the worker is woken");
    assert!(asked.load(Ordering::SeqCst));
    assert!(worker.refresh(), "the worker gets on while it is being woken");
    assert_eq!(reloading.join().unwrap().workers[0].version, 2);
    assert_eq!(program.reload(BRIEFLY).unwrap().new, 3, "a wake that has not returned does not keep the next reload");
    open.send(()).unwrap();
}

#[test]
fn a_wake_function_that_waits_for_room_in_a_full_queue_stops_neither_worker_nor_reload() {
    enum Message {
        Work,
        Refresh,
    }
    let program = program(&Hooks::default());
    let (queue, messages) = sync_channel(1);
    let (ready, loaded) = channel();
    let worker = thread::spawn({
        let (program, queue) = (program.clone(), queue.clone());
        move || {
            let asked = Arc::downgrade(&program);
            let wake = move || {
                drop(asked.upgrade().map(|program| program.status()));
                queue.send(Message::Refresh).ok();
            };
            let mut worker = program.worker("w", Some(Box::new(wake))).unwrap();
            ready.send(()).unwrap();
            let (mut worked, mut refreshed) = (0, 0);
            while let Ok(message) = messages.recv_timeout(PATIENCE) {
                match message {
                    Message::Work => worked += 1,
                    Message::Refresh => refreshed += u32::from(worker.refresh()),
                }
                if refreshed == 20 {
                    break;
                }
            }
            (worked, refreshed)
        }
    });
    loaded.recv_timeout(PATIENCE).unwrap();
    let load = thread::spawn(move || while queue.send(Message::Work).is_ok() {});
    for version in 2..=21 {
        let reloaded = program.reload(PATIENCE).unwrap();
        assert_eq!(reloaded.new, version);
        // The worker ends with the last one.
        assert!(reloaded.workers.iter().all(|worker| worker.version == version), "{reloaded:?}");
    }
    let (worked, refreshed) = worker.join().unwrap();
    assert!(worked > 0 && refreshed == 20, "{worked} {refreshed}");
    load.join().unwrap();
}

#[test]
fn an_old_script_that_does_not_end_holds_up_its_own_worker_only() {
    let engine = Hooks::default();
    let program = program(&engine);
    let (wait, arrived, open) = gate();
    let mut second = program.worker("second", None).unwrap();
    let stuck = thread::spawn({
        let (program, engine) = (program.clone(), engine.clone());
        move || {
            let mut first = program.worker("first", None).unwrap();
            while program.status().version == 1 {
                thread::yield_now();
            }
            *engine.end.lock().unwrap() = Some(wait);
            first.refresh();
            *engine.end.lock().unwrap() = None;
        }
    });
    while program.status().workers.len() < 2 {
        thread::yield_now();
    }
    program.reload(BRIEFLY).unwrap();
    arrived.recv_timeout(PATIENCE).expect("the first worker is at the end of its old script");
    *engine.end.lock().unwrap() = None;
    assert!(second.refresh());
    let versions: Vec<u64> = program.status().workers.iter().map(|worker| worker.version).collect();
    assert_eq!(versions, [2, 2], "both run the new version");
    open.send(()).unwrap();
    stuck.join().unwrap();
}

#[test]
fn a_reload_during_another_that_does_not_end_is_refused_in_time() {
    let engine = Hooks::default();
    let program = program(&engine);
    let (wait, arrived, open) = gate();
    *engine.load.lock().unwrap() = Some(wait);
    let first = thread::spawn({
        let program = program.clone();
        move || program.reload(PATIENCE)
    });
    arrived.recv_timeout(PATIENCE).expect("the first reload loads the script");
    let refused = program.reload(BRIEFLY).unwrap_err();
    assert_eq!(refused.code, ErrorCode::ReloadUnderWay, "{refused}");
    *engine.load.lock().unwrap() = None;
    open.send(()).unwrap();
    assert_eq!(first.join().unwrap().unwrap().new, 2);
    assert_eq!(program.reload(BRIEFLY).unwrap().new, 3);
}

#[test]
fn a_reload_on_a_workers_own_thread_does_not_wait_for_that_worker() {
    let program = program(&Hooks::default());
    let mut worker = program.worker("own", None).unwrap();
    let done = program.reload(PATIENCE).unwrap();
    assert!(u128::from(done.took_ms) < PATIENCE.as_millis(), "it waits for nobody");
    assert_eq!(done.workers[0].version, 1);
    assert!(worker.refresh());
}

#[test]
fn the_sources_are_those_of_the_published_version_whatever_is_in_the_files() {
    let file = std::env::temp_dir().join(format!("kemi-sources-{}.txt", std::process::id()));
    let text = |program: &Program<()>| program.sources().iter().map(|s| s.read().unwrap()).collect::<Vec<_>>().concat();
    std::fs::write(&file, "first").unwrap();
    let registry = Registry::<()>::builder().root("app").build().unwrap();
    let program = Program::open(Arc::new(Hooks::default()), &registry, &[Source::File(file.clone())]).unwrap();
    std::fs::write(&file, "second").unwrap();
    assert_eq!(text(&program), b"first");
    program.reload(BRIEFLY).unwrap();
    assert_eq!(text(&program), b"second");
    std::fs::remove_file(file).unwrap();
    program.reload(BRIEFLY).unwrap_err();
    assert_eq!(text(&program), b"second", "a refused reload changes nothing");
}
