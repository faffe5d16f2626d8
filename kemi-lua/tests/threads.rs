//! Pools and actors with Lua: reloads under load, calls that are ended from outside, what an actor keeps.

use std::fs;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::task::{Context, Waker};
use std::thread;
use std::time::Duration;

use kemi_core::{Actor, Callbacks, Limits, Outcome, Pool, Profile, Program, Registry, Source, Value};
use kemi_lua::LuaEngine;
use kemi_macros::kemi_export;

/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Default)]
struct Cx {
    number: u64,
    here: Option<Sender<()>>,
}

#[kemi_export(module = "call")]
fn number(cx: &mut Cx) -> u64 {
    if let Some(here) = cx.here.take() {
        here.send(()).unwrap();
    }
    cx.number
}

fn registry(limits: Limits) -> (kemi_core::CallbackId, Registry<Cx>) {
    let mut callbacks = Callbacks::new();
    let main = callbacks.required("request", "main", &["text"]);
    let registry = Registry::<Cx>::builder().root("app").all_modules().callbacks(callbacks).limits(limits);
    // A script makes a file, by which the next one knows that it comes second.
    (main, registry.profile(Profile::open()).build().unwrap())
}

/// A script file that is gone when the test ends.
struct Script(PathBuf);

impl Script {
    fn new(name: &str) -> Script {
        Script(std::env::temp_dir().join(format!("kemi-{name}-{}.lua", std::process::id())))
    }

    fn write(&self, text: &str) {
        fs::write(&self.0, text).unwrap();
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn reloads_under_load_lose_no_call_and_refuse_what_is_broken() {
    let script = Script::new("pool-reload");
    let version = |n: u64| format!("function main(text) return text .. app.call.number() .. ' by {n}' end");
    script.write(&version(1));
    let (main, registry) = registry(Limits::default());
    let program = Program::open(Arc::new(LuaEngine), &registry, &[Source::File(script.0.clone())]).unwrap();
    let pool = Pool::builder(program).threads(2).queue(4).build().unwrap();
    let (stop, made) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let callers: Vec<_> = (0..3u64)
        .map(|caller| {
            let (pool, stop, made) = (pool.clone(), stop.clone(), made.clone());
            thread::spawn(move || {
                let mut cx = Cx { number: caller, here: None };
                let mut last = 0;
                while !stop.load(Ordering::Relaxed) {
                    let (back, outcome) = pool.call_blocking(main, cx, ("no ",));
                    cx = back;
                    let Outcome::Value(Value::Str(text)) = outcome.unwrap() else { panic!("it returns a text") };
                    let text = text.to_string();
                    let by = text.strip_prefix(&format!("no {caller} by ")).expect(&text);
                    last = by.parse::<u64>().unwrap().max(last);
                    made.fetch_add(1, Ordering::Relaxed);
                }
                last
            })
        })
        .collect();
    let mut published = 1;
    for round in 0..12 {
        // Calls are made between two reloads.
        let before = made.load(Ordering::Relaxed);
        while made.load(Ordering::Relaxed) < before + 3 {
            thread::sleep(Duration::from_millis(1));
        }
        if round % 3 == 2 {
            script.write("function main(text) return app.call.nubmer() end");
            let refused = pool.reload_blocking(PATIENCE).unwrap_err().to_string();
            assert!(refused.contains("did you mean app.call.number?"), "{refused}");
        } else {
            published += 1;
            script.write(&version(published));
            let reloaded = pool.reload_blocking(PATIENCE).unwrap();
            assert!(reloaded.workers.iter().all(|worker| worker.version == published), "{reloaded:?}");
        }
    }
    stop.store(true, Ordering::Relaxed);
    for caller in callers {
        assert!(caller.join().unwrap() <= published);
    }
    let (_, text) = pool.call_as_blocking::<String>(main, Cx::default(), ("",));
    assert_eq!(text.unwrap(), format!("0 by {published}"));
    let (_, number) = pool.call_as_blocking::<i64>(main, Cx::default(), ("",));
    assert!(number.unwrap_err().to_string().ends_with("[bad-result]"));
    assert_eq!(pool.status().program.version, published);
}

#[test]
fn a_call_whose_future_is_dropped_ends_and_nothing_catches_that() {
    // Only the cancellation can end it in the time of this test.
    let (main, registry) = registry(Limits { max_time_ms: 3_600_000, ..Limits::NONE });
    let script = "function main(text)
        app.call.number()
        while text == 'for ever' do pcall(function() while true do end end) end
        return text
    end";
    let program = Program::open(Arc::new(LuaEngine), &registry, &[Source::text("loop.lua", script)]).unwrap();
    let pool = Pool::builder(program).threads(1).build().unwrap();
    let (here, arrived) = channel();
    let cx = Cx { number: 0, here: Some(here) };
    let mut endless = Box::pin(pool.call(main, cx, ("for ever",)));
    assert!(endless.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    arrived.recv_timeout(PATIENCE).unwrap();
    drop(endless);
    let (_, outcome) = pool.call_blocking(main, Cx::default(), ("once",));
    assert_eq!(outcome.unwrap(), Outcome::Value("once".into()));
    let errors = &registry.data().metrics().callbacks[0].errors;
    assert_eq!(errors.get("cancelled"), Some(&1), "{errors:?}");
}

#[test]
fn a_script_that_does_not_load_on_a_thread_is_an_error_of_the_start() {
    let script = Script::new("pool-start");
    // It loads once, when it is checked.
    let text = format!(
        "local name = '{}.seen'
        local seen = io.open(name)
        if seen then seen:close() os.remove(name) error('not again') end
        io.open(name, 'w'):close()
        function main(text) end",
        script.0.display()
    );
    let (_, registry) = registry(Limits::default());
    let program = Program::open(Arc::new(LuaEngine), &registry, &[Source::text("once.lua", text)]).unwrap();
    let error = Pool::builder(program.clone()).threads(1).build().unwrap_err().to_string();
    assert!(error.contains("not again"), "{error}");
    assert!(program.status().workers.is_empty());
}

#[derive(Default)]
struct Room {
    guests: Vec<String>,
}

#[kemi_export(module = "room")]
fn enter(room: &mut Room, guest: &str) -> usize {
    room.guests.push(guest.to_owned());
    room.guests.len()
}

#[test]
fn an_actor_lends_its_context_to_the_top_level_of_each_version() {
    let mut callbacks = Callbacks::new();
    let count = callbacks.required("count", "count", &[]);
    let registry = Registry::<Room>::builder().root("app").all_modules().callbacks(callbacks).build().unwrap();
    let script = Source::text("room.lua", "local guests = app.room.enter('Ada'); function count() return guests end");
    let program = Program::open_with(Arc::new(LuaEngine), &registry, &[script], Room::default).unwrap();
    let actor = Actor::builder(program).build(Room::default).unwrap();
    assert_eq!(actor.call_as_blocking::<i64>(count, ()).unwrap(), 1);
    actor.reload_blocking(PATIENCE).unwrap();
    assert_eq!(actor.call_as_blocking::<i64>(count, ()).unwrap(), 2);
    assert_eq!(actor.with_blocking(|room, _| room.guests.clone()).unwrap(), ["Ada", "Ada"]);
}
