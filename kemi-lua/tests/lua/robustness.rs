use std::sync::{Arc, Mutex};

use kemi_core::{Engine, ErrorCode, Outcome, Value, find_engine};
use kemi_lua::LuaEngine;

use crate::host::{error, eval, load, text};

#[test]
fn the_engine_is_found_by_its_names() {
    kemi_lua::link();
    for name in ["lua", "LUA", "luajit"] {
        assert_eq!(find_engine(name).map(Engine::name), Ok("lua"));
    }
    assert!(LuaEngine.language().starts_with("Lua"));
}

#[test]
fn instances_do_not_see_each_other() {
    let mut a = load("n = 1 string.extra = 1 function main() n = n + 1 return n end");
    let mut b = load("function main() return tostring(n) .. tostring(string.extra) end");
    assert_eq!(a.value(&[]), Value::Int(2));
    assert_eq!(b.value(&[]), text("nilnil"));
    drop(b);
    assert_eq!(a.value(&[]), Value::Int(3));
}

#[test]
fn functions_of_the_script_are_found_and_suggested() {
    let script = load("function main() end function on_event() end local function hidden() end x = 1");
    assert_eq!(script.instance.defined(), ["main", "on_event"]);
    let e = load("function my_route() end function main() KSR.t.run('my_rout') end").call(&[]).expect_err("misspelt");
    assert_eq!(e.code, ErrorCode::MissingCallback);
    assert_eq!(e.hint.as_deref(), Some("did you mean 'my_route'?"));
}

#[test]
fn a_script_works_on_after_anything() {
    let mut script = load(
        "function main(what)
            if what == 'error' then error('x') end
            if what == 'panic' then KSR.t.boom() end
            if what == 'exit' then pcall(KSR.x.exit) end
            if what == 'deep' then return main(what) + 1 end
            return what
         end",
    );
    for _ in 0..50 {
        for what in ["error", "panic", "exit"] {
            let outcome = script.call(&[what.into()]);
            assert!(matches!(outcome, Err(_) | Ok(Outcome::Exit)), "{outcome:?}");
            assert_eq!(script.value(&["fine".into()]), text("fine"));
        }
    }
    assert_eq!(script.call(&["deep".into()]).map_err(|e| e.code), Err(ErrorCode::StackOverflow));
    assert_eq!(script.value(&["fine".into()]), text("fine"));
}

#[test]
fn what_could_end_the_process_is_not_there() {
    let body = "return {package.loadlib == nil, os.setlocale == nil, debug.sethook == nil, package.cpath == '',
        pcall(require, 'ffi') == false, load(string.dump(function() end)) == nil, load('return 1')() == 1,
        load('return x', 'c', 't', {x = 2})() == 2}";
    assert_eq!(eval(body).to_string(), format!("[{}]", ["true"; 8].join(", ")));
    assert_eq!(
        eval("local co = coroutine.wrap(function() xpcall(coroutine.yield, print, 5) end) return co()"),
        Value::Int(5)
    );
}

#[test]
fn protected_calls_and_handlers_work_as_ever() {
    assert_eq!(eval("local ok, e = xpcall(error, function(e) return e .. '!' end, 'x') return e"), text("x!"));
    assert_eq!(
        eval("return select(2, xpcall(function(...) return select('#', ...) end, print, 1, nil))"),
        Value::Int(2)
    );
    assert!(eval("local _, t = xpcall(error, debug.traceback, 'x') return t").to_string().contains("traceback"));
    assert_eq!(
        eval(
            "local co = coroutine.create(function(a) return coroutine.yield(a) end)
        local _, a = coroutine.resume(co, 1) local _, b = coroutine.resume(co, 2) return a + b"
        ),
        Value::Int(3)
    );
    let caught = eval("local ok, e = pcall(coroutine.wrap(function() error('in') end)) return e");
    assert!(caught.to_string().contains("in"), "{caught}");
    assert_eq!(error("coroutine.wrap(function() KSR.t.port('x') end)()").code, ErrorCode::BadArgument);
}

#[test]
fn finalizers_may_call_natives_when_the_instance_is_dropped() {
    if cfg!(luajit) {
        return;
    }
    let mut script = load(
        "keep = setmetatable({}, {__gc = function() KSR.t.note('x') end})
         other = setmetatable({}, {__gc = function() KSR.x.exit() end})
         function main() return 1 end",
    );
    assert_eq!(script.value(&[]), Value::Int(1));
    drop(script);
}

#[test]
fn print_and_warn_go_to_the_log() {
    let log = Log::default();
    tracing::subscriber::with_default(log.clone(), || {
        let mut script =
            load("function main()\n print('a', 1, nil, {} ~= nil)\n if warn then warn('b', 'c') end print() end");
        script.value(&[]);
    });
    let lines = log.lines();
    assert_eq!(lines.first().map(String::as_str), Some("script INFO test.lua:2: a\t1\tnil\ttrue"));
    if cfg!(not(luajit)) {
        assert_eq!(lines.get(1).map(String::as_str), Some("script WARN bc"));
    }
    assert_eq!(lines.last().map(String::as_str), Some("script INFO test.lua:3: "));
}

/// Collects what is logged.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.lock().expect("no panic").clone()
    }
}

impl tracing::Subscriber for Log {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        struct Message(String);
        impl tracing::field::Visit for Message {
            fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
                if field.name() == "message" {
                    self.0 = format!("{value:?}");
                }
            }
        }
        let mut message = Message(String::new());
        event.record(&mut message);
        let (target, level) = (event.metadata().target(), event.metadata().level());
        self.0.lock().expect("no panic").push(format!("{target} {level} {}", message.0));
    }
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}
