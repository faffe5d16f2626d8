//! Finalizers of a script's tables. LuaJIT has none that a script can set.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use kemi_core::{Arg, ErrorCode, Limits, Outcome, Value};

use crate::host::{Loaded, eval, load, try_load_limited};
use crate::robustness::Log;

const TIME: Limits = Limits { max_time_ms: 100, max_load_time_ms: 5_000, ..Limits::NONE };

/// Ways to give an object an endless finalizer, `F`.
const WAYS: &[(&str, &str)] = &[
    ("plainly", "setmetatable({}, {__gc = F})"),
    ("set afterwards", "local m = {__gc = true} setmetatable({}, m) m.__gc = F"),
    ("set afterwards without metamethods", "local m = {__gc = 1} setmetatable({}, m) rawset(m, '__gc', F)"),
    ("replaced afterwards", "local m = {__gc = print} setmetatable({}, m) m.__gc = F"),
    ("in a protected metatable", "setmetatable({}, {__gc = F, __metatable = 'none'})"),
    ("in a metatable that is finalized itself", "do local m = {__gc = F} setmetatable(m, m) end"),
    (
        "on a table that a finalizer makes",
        "setmetatable({}, {__gc = function() setmetatable({}, {__gc = F}) collectgarbage() end})",
    ),
    (
        "on a table that finalizes itself again",
        "local m = {} m.__gc = function(t) setmetatable(t, m) end setmetatable({}, m) setmetatable({}, {__gc = F})",
    ),
    ("many", "for i = 1, 100 do setmetatable({}, {__gc = F}) end"),
    ("in a coroutine", "coroutine.wrap(function() setmetatable({}, {__gc = F}) end)()"),
    ("that is a coroutine", "setmetatable({}, {__gc = coroutine.wrap(F)})"),
    ("that catches", "setmetatable({}, {__gc = function() while true do pcall(F) end end})"),
    ("that is a callable table", "setmetatable({}, {__gc = setmetatable({}, {__call = F})})"),
    ("that matches", "setmetatable({}, {__gc = function() (('a'):rep(99999)):find('.-.-.-.-b') end})"),
    ("of what a weak table has", "do local weak = setmetatable({}, {__mode = 'kv', __gc = F}) weak[{}] = {} end"),
];

fn script(way: &str) -> Loaded {
    try_load_limited(
        TIME,
        &format!(
            "local function F() while true do end end
             function main(what)
                if what == 'fine' then return 'fine' end
                {way}
                if what == 'collect' then collectgarbage() collectgarbage() local x = 1 KSR.t.note('after') end
             end"
        ),
    )
    .unwrap_or_else(|error| panic!("{error:#}"))
}

#[test]
fn an_endless_finalizer_ends_with_the_call() {
    for (name, way) in WAYS {
        let mut script = script(way);
        for _ in 0..2 {
            let start = Instant::now();
            let ended = script.call(&["collect".into()]);
            assert!(start.elapsed() < Duration::from_secs(20), "{name} took {:?}", start.elapsed());
            assert_eq!(ended.map_err(|error| error.code), Err(ErrorCode::TimeLimit), "{name}");
            assert_eq!(script.host.notes, Vec::<String>::new(), "{name}");
            assert_eq!(script.value(&["fine".into()]), Value::from("fine"), "{name} works on");
        }
    }
}

#[test]
fn an_endless_finalizer_does_not_keep_the_instance_from_being_dropped() {
    for (name, way) in WAYS {
        let mut script = script(way);
        // Some is garbage already, and found in this call.
        let _ = script.call(&["leave".into()]);
        let start = Instant::now();
        drop(script);
        assert!(start.elapsed() < Duration::from_secs(20), "{name} took {:?}", start.elapsed());
    }
}

#[test]
fn a_script_that_does_not_load_ends_with_its_finalizers() {
    let start = Instant::now();
    let script = "keep = setmetatable({}, {__gc = function() while true do end end}) error('no')";
    let limits = Limits { max_load_time_ms: 100, ..Limits::NONE };
    let error = try_load_limited(limits, script).expect_err("it does not load");
    // Its end is a part of loading.
    assert_eq!(error.code, ErrorCode::TimeLimit, "{error:#}");
    assert!(start.elapsed() < Duration::from_secs(20));
}

#[test]
fn instructions_and_memory_of_finalizers_count() {
    let limits = Limits { max_instructions: 200_000, max_memory: 8 << 20, ..Limits::NONE };
    for (body, code) in [
        ("while true do end", ErrorCode::InstructionLimit),
        ("local t = {} for i = 1, 1e4 do t[i] = ('x'):rep(1e4) .. i end", ErrorCode::MemoryLimit),
    ] {
        let source = format!(
            "function main(fine) if fine then return 'fine' end
             setmetatable({{}}, {{__gc = function() {body} end}}) collectgarbage() end"
        );
        let mut script = try_load_limited(limits, &source).expect("it loads");
        assert_eq!(script.call(&[]).map_err(|error| error.code), Err(code), "{body}");
        assert_eq!(script.value(&[Arg::Bool(true)]), Value::from("fine"));
        drop(script);
    }
}

#[test]
fn the_error_names_the_line_of_the_finalizer() {
    let mut script = try_load_limited(
        TIME,
        "local function endless()\n  while true do end\nend
         function main() setmetatable({}, {__gc = endless}) collectgarbage() end",
    )
    .expect("it loads");
    let error = script.call(&[]).expect_err("endless");
    assert_eq!(error.place.as_ref().map(|place| place.line), Some(2));
}

#[test]
fn an_exit_in_a_finalizer_ends_the_callback() {
    let mut script = load(
        "function main(fine) if fine then return 'fine' end
         setmetatable({}, {__gc = function() pcall(KSR.x.exit) KSR.t.note('x') end}) collectgarbage()
         local x = 1 KSR.t.note('after') end",
    );
    assert_eq!(script.call(&[]).ok(), Some(Outcome::Exit));
    assert_eq!(script.value(&[Arg::Bool(true)]), Value::from("fine"));
    assert_eq!(script.host.notes, Vec::<String>::new());
}

#[test]
fn finalizers_run_as_lua_s_own_do() {
    let order = "local t = {} for i = 1, 5 do setmetatable({i}, {__gc = function(o) t[#t + 1] = o[1] end}) end
        collectgarbage() collectgarbage() return t";
    assert_eq!(eval(order).to_string(), "[5, 4, 3, 2, 1]", "what was marked last comes first");
    let once = "local n = 0 for i = 1, 3 do setmetatable({}, {__gc = function() n = n + 1 end}) end
        for i = 1, 5 do collectgarbage() end return n";
    assert_eq!(eval(once), Value::Int(3));
    let again = "local n, m = 0, {} m.__gc = function(o) n = n + 1 if n < 4 then setmetatable(o, m) end end
        setmetatable({}, m) for i = 1, 9 do collectgarbage() end return n";
    assert_eq!(eval(again), Value::Int(4), "marked anew it is finalized anew");
    let whole = "local saved local inner = {7}
        setmetatable({inner = inner}, {__gc = function(o) saved = o.inner[1] end}) inner = nil
        collectgarbage() collectgarbage() return saved";
    assert_eq!(eval(whole), Value::Int(7), "what the object refers to is still there");
    let alive = "local o = setmetatable({}, {__gc = function() KSR.t.note('dead') end})
        for i = 1, 5 do collectgarbage() end return {KSR.t.count(), type(o)}";
    assert_eq!(eval(alive).to_string(), r#"[0, "table"]"#);
    let seen = "local f = function() end local m = {__gc = f} local o = {}
        return {setmetatable(o, m) == o, getmetatable(o) == m, m.__gc == f, rawget(m, '__gc') == f}";
    assert_eq!(eval(seen).to_string(), "[true, true, true, true]");
    let failing = "local n = 0 for i = 1, 3 do setmetatable({}, {__gc = function() n = n + 1 error('x') end}) end
        setmetatable({}, {__gc = 5}) collectgarbage() collectgarbage() return n";
    assert_eq!(eval(failing), Value::Int(3));
    let yielding = "local n = 0 setmetatable({}, {__gc = function() n = 1 coroutine.yield() n = 2 end})
        coroutine.wrap(function() collectgarbage() collectgarbage() end)() return n";
    assert_eq!(eval(yielding), Value::Int(1));
    let natives = "setmetatable({}, {__gc = function() KSR.t.note('here') end}) collectgarbage() collectgarbage()
        return KSR.t.count()";
    assert_eq!(eval(natives), Value::Int(1));
}

#[test]
fn what_is_left_is_finalized_at_the_end_without_a_context() {
    let log = Log::default();
    let lines = tracing::subscriber::with_default(log.clone(), || {
        let mut script = load(
            "local function say(o) print(o.name, pcall(KSR.t.count)) end
             a = setmetatable({name = 'a'}, {__gc = say})
             b = setmetatable({name = 'b'}, {__gc = function() error('in b') end})
             c = setmetatable({name = 'c'}, {__gc = say})
             local co = coroutine.wrap(function()
                local d <close> = setmetatable({}, {__close = function() print('closed') end}) coroutine.yield() end)
             co() kept = co
             function main() return 1 end",
        );
        script.value(&[]);
        drop(script);
        log.lines()
    });
    let [c, b, a] = lines.as_slice() else { panic!("{lines:?}") };
    assert!(c.contains("c\tfalse") && c.contains("context") && c.contains("being ended"), "{c}");
    assert!(b.contains("error in __gc") && b.contains("in b"), "{b}");
    assert!(a.contains("a\tfalse"), "{a}");
}

#[test]
fn finalizers_that_are_left_out_are_told() {
    let log = Log::default();
    tracing::subscriber::with_default(log.clone(), || {
        let script = "for i = 1, 5 do _G[i] = setmetatable({}, {__gc = function() while true do end end}) end";
        drop(try_load_limited(TIME, script).expect("it loads"));
    });
    let lines = log.lines();
    assert!(lines.iter().any(|line| line.contains("4 were left out")), "{lines:?}");
}

#[test]
fn the_metatable_of_files_cannot_be_given_a_finalizer() {
    let body = "local m = getmetatable(io.stdout) m.__gc = function() while true do end end
        m.__index.shout = function() return 'x' end
        local f = io.tmpfile() local said = f:shout() f = nil collectgarbage() collectgarbage()
        return {said, pcall(setmetatable, io.stdout, {})}";
    assert!(eval(body).to_string().starts_with(r#"["x", false"#));
}

#[test]
fn a_coroutine_that_a_limit_has_ended_closes_nothing_that_does_not_end() {
    let mut script = try_load_limited(
        TIME,
        "function main(what)
            local function endless() while true do end end
            if what == 'begin' then
                dead = coroutine.create(function()
                    local c <close> = setmetatable({}, {__close = endless}) endless() end)
                coroutine.resume(dead)
            end
            return {coroutine.close(dead)}
         end",
    )
    .expect("it loads");
    assert_eq!(script.call(&["begin".into()]).map_err(|error| error.code), Err(ErrorCode::TimeLimit));
    assert_eq!(script.value(&["close".into()]).to_string(), r#"[false, "the coroutine was ended"]"#);
    assert_eq!(script.value(&["close".into()]).to_string(), r#"[false, "the coroutine was ended"]"#);
}

#[test]
fn what_follows_a_stack_overflow_ends_in_time_too() {
    for body in [
        "xpcall(deep, endless) endless()",
        "coroutine.wrap(function() xpcall(deep, endless) end)() endless()",
        "pcall(coroutine.wrap(function() local c <close> = closing deep() end)) endless()",
        "local co = coroutine.create(function() local c <close> = closing deep() end)
         coroutine.resume(co) coroutine.close(co) endless()",
        "pcall(function() local c <close> = closing deep() end) endless()",
        "pcall(deep) setmetatable({}, {__gc = endless}) collectgarbage() endless()",
    ] {
        let limits = Limits { max_time_ms: 300, max_depth: 50, ..Limits::NONE };
        let source = format!(
            "local function endless() while true do end end
             local function deep(n) return 1 + deep() end
             local closing = setmetatable({{}}, {{__close = endless}})
             function main(fine) if fine then return 'fine' end {body} end"
        );
        let mut script = try_load_limited(limits, &source).unwrap_or_else(|error| panic!("{body}: {error:#}"));
        let start = Instant::now();
        let ended = script.call(&[]).map_err(|error| error.code);
        assert!(start.elapsed() < Duration::from_secs(20), "{body} took {:?}", start.elapsed());
        assert_eq!(ended, Err(ErrorCode::TimeLimit), "{body}");
        assert_eq!(script.value(&[Arg::Bool(true)]), Value::from("fine"), "{body}");
    }
    let body = "local function deep() return 1 + deep() end local ok, t = xpcall(deep, debug.traceback) return t";
    let mut script = try_load_limited(Limits { max_depth: 50, ..Limits::NONE }, &format!("function main() {body} end"))
        .expect("it loads");
    assert!(script.value(&[]).to_string().contains("stack traceback"));
}

#[test]
fn finalizers_survive_errors_of_memory() {
    let limits = Limits { max_memory: 4 << 20, max_time_ms: 20_000, ..Limits::NONE };
    let mut script = try_load_limited(
        limits,
        "local n = 0
         function main(fine)
            if fine then return n end
            for i = 1, 1000 do setmetatable({}, {__gc = function() n = n + 1 end}) end
            local t = {} while true do t[#t + 1] = setmetatable({}, {__gc = function() n = n + 1 end}) end
         end",
    )
    .expect("it loads");
    for _ in 0..3 {
        assert_eq!(script.call(&[]).map_err(|error| error.code), Err(ErrorCode::MemoryLimit));
        assert!(matches!(script.value(&[Arg::Bool(true)]), Value::Int(n) if n >= 1000));
    }
}

#[test]
fn many_threads_may_drop_what_is_endless() {
    let done = Arc::new(Mutex::new(0));
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let done = done.clone();
            std::thread::spawn(move || {
                for (_, way) in &WAYS[..4] {
                    let mut script = script(way);
                    let _ = script.call(&["leave".into()]);
                    drop(script);
                    *done.lock().expect("no panic") += 1;
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("no panic");
    }
    assert_eq!(*done.lock().expect("no panic"), 16);
}
