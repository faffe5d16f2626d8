use std::time::{Duration, Instant};

use kemi_core::{ErrorCode, Limits, Outcome, ScriptError, Value};

use crate::host::{Loaded, text, try_load_limited};

const TIME: Limits = Limits { max_time_ms: 60, ..Limits::NONE };
const MEMORY: Limits = Limits { max_memory: 4 << 20, max_time_ms: 20_000, ..Limits::NONE };
/// On LuaJIT it leaves the compiler on, and then some errors have no place.
const ONLY_MEMORY: Limits = Limits { max_time_ms: 0, ..MEMORY };
const INSTRUCTIONS: Limits = Limits { max_instructions: 100_000, ..Limits::NONE };

/// Endless loops; `W` is one instruction or call of work.
const LOOPS: &[(&str, &str)] = &[
    ("while", "while true do end"),
    ("for", "for i = 1, math.huge do end"),
    ("repeat", "repeat local x = 1 until false"),
    ("pcall around it", "while true do pcall(function() while true do end end) end"),
    ("pcall in it", "while true do pcall(error, 'x') end"),
    ("xpcall", "while true do xpcall(function() while true do end end, function(e) return e end) end"),
    ("xpcall handler", "xpcall(error, function() while true do end end)"),
    ("coroutine", "coroutine.resume(coroutine.create(function() while true do end end))"),
    ("wrapped coroutine", "while true do pcall(coroutine.wrap(function() while true do pcall(error) end end)) end"),
    ("generator", "for _ in coroutine.wrap(function() while true do coroutine.yield(1) end end) do end"),
    (
        "three coroutines deep",
        "local w = coroutine.wrap
         while true do pcall(w(function() pcall(w(function() pcall(w(function() while true do end end)) end)) end)) end",
    ),
    (
        "a coroutine after a failed one",
        "pcall(coroutine.wrap(error), 'x')
         local c = coroutine.create(error) coroutine.resume(c) c = nil collectgarbage()
         coroutine.wrap(function() while true do end end)()",
    ),
    ("main after a failed coroutine", "pcall(coroutine.wrap(error), 'x') collectgarbage() while true do end"),
    ("sort comparator", "table.sort({3, 1, 2}, function(a, b) while true do end end)"),
    ("gsub callback", "string.gsub('abc', '.', function() while true do end end)"),
    ("metamethod", "local x = setmetatable({}, {__index = function() while true do end end}).a"),
    ("iterator", "for _ in function() return 1 end do end"),
    ("tail calls", "local function f() return f() end f()"),
    ("reader of load", "load(function() while true do end end)"),
    ("loaded chunk", "load('while true do end')()"),
    ("__tostring of an error", "error(setmetatable({}, {__tostring = function() while true do end end}))"),
    ("native calls", "while true do KSR.t.count() end"),
    ("native calls in pcall", "while true do pcall(KSR.t.fail, 'x') end"),
    ("nested callback", "while true do pcall(KSR.t.run, 'endless') end"),
    ("nested callback in a coroutine", "while true do pcall(coroutine.wrap(KSR.t.run), 'endless') end"),
    ("nested callback's coroutine", "while true do pcall(KSR.t.run, 'endless_wrapped') end"),
];

fn try_script(limits: Limits, body: &str) -> Result<Loaded, ScriptError> {
    try_load_limited(
        limits,
        &format!(
            "function endless() while true do pcall(function() while true do end end) end end
             function endless_wrapped() coroutine.wrap(endless)() end
             kept = nil
             local rounds = 0
             function main()
                rounds = rounds + 1
                if rounds % 2 == 0 then return 'fine' end
                {body}
                KSR.t.note('after')
             end"
        ),
    )
}

fn script(limits: Limits, body: &str) -> Loaded {
    try_script(limits, body).unwrap_or_else(|error| panic!("{error:#}"))
}

fn check(limits: Limits, code: ErrorCode, name: &str, body: &str) {
    let mut script = script(limits, body);
    for _ in 0..2 {
        let start = Instant::now();
        let error = script.call(&[]).expect_err(name);
        assert!(start.elapsed() < Duration::from_secs(10), "{name} took {:?}", start.elapsed());
        assert_eq!(error.code, code, "{name}: {error:#}");
        if limits != ONLY_MEMORY || cfg!(not(luajit)) {
            let place = error.place.clone().unwrap_or_else(|| panic!("{name}: no place"));
            let file = if name == "loaded chunk" { "[string \"while true do end\"]" } else { "test.lua" };
            assert_eq!(place.file, file, "{name}");
            assert!(place.line > 0, "{name}");
        }
        assert_eq!(script.host.notes, Vec::<String>::new(), "{name}");
        assert_eq!(script.value(&[]), text("fine"), "{name} works on");
    }
}

#[test]
fn time_ends_every_loop() {
    for (name, body) in LOOPS {
        check(TIME, ErrorCode::TimeLimit, name, body);
    }
}

#[test]
fn instructions_end_every_loop() {
    for (name, body) in LOOPS {
        check(INSTRUCTIONS, ErrorCode::InstructionLimit, name, body);
    }
}

#[test]
fn the_line_is_the_loop_s() {
    for (limits, code) in [(TIME, ErrorCode::TimeLimit), (INSTRUCTIONS, ErrorCode::InstructionLimit)] {
        let mut script = try_load_limited(
            limits,
            "function main()
                local x = 1
                local spin = coroutine.wrap(function()
                    while true do x = x + 1 end
                end)
                spin()
             end",
        )
        .expect("it loads");
        let error = script.call(&[]).expect_err("endless");
        assert_eq!((error.code, error.place.as_ref().map(|place| place.line)), (code, Some(4)));
    }
}

#[test]
fn loops_at_the_top_level_end() {
    for (limits, code) in [
        (Limits { max_load_time_ms: 60, ..Limits::NONE }, ErrorCode::TimeLimit),
        (INSTRUCTIONS, ErrorCode::InstructionLimit),
        (MEMORY, ErrorCode::MemoryLimit),
    ] {
        let error = try_load_limited(limits, "local t = {}\nwhile true do\n pcall(function() t[#t + 1] = {} end)\nend");
        let error = error.expect_err("it does not load");
        assert_eq!(error.code, code, "{error:#}");
        let place = error.place.clone().expect("a place");
        assert_eq!((place.file.as_str(), place.line), ("test.lua", place.line.clamp(2, 3)));
    }
}

#[test]
fn what_is_within_its_limits_is_not_disturbed() {
    let limits = Limits { max_time_ms: 5_000, max_instructions: 10_000_000, max_memory: 8 << 20, ..Limits::default() };
    let mut script = try_load_limited(
        limits,
        "function main()
            local n = 0
            for i = 1, 20000 do
                local c = coroutine.wrap(function(a) local b = coroutine.yield(a + 1) return b end)
                n = n + c(i) - i + c(1)
                n = n + #(('x'):rep(1000) .. i) * 0
                if i % 100 == 0 then pcall(error, 'x') end
            end
            return n
         end",
    )
    .expect("it loads");
    for _ in 0..3 {
        assert_eq!(script.value(&[]).to_string().trim_end_matches(".0"), "40000");
    }
}

#[test]
fn the_budget_is_each_call_s_own() {
    let mut script = try_load_limited(
        Limits { max_instructions: 50_000, ..Limits::NONE },
        "function main() for i = 1, 4000 do local x = i * 2 end return 1 end",
    )
    .expect("it loads");
    for _ in 0..50 {
        assert_eq!(script.value(&[]), Value::Int(1));
    }
}

/// Ways to use up memory.
const HOGS: &[(&str, &str)] = &[
    ("doubling a string", "local s = 'x' while true do s = s .. s end"),
    ("doubling in pcall", "local s = 'x' while true do pcall(function() s = s .. s end) end"),
    ("string.rep", "local s = ('x'):rep(1000000000)"),
    ("string.rep in pcall", "while true do pcall(string.rep, 'x', 1000000000) end"),
    ("string.rep in a coroutine", "while true do coroutine.resume(coroutine.create(string.rep), 'x', 1e9) end"),
    ("string.rep in a wrapped coroutine", "local s = coroutine.wrap(function() return ('x'):rep(1e9) end)()"),
    ("growing an array", "local t = {} for i = 1, math.huge do t[i] = i end"),
    ("growing an array in pcall", "local t = {} for i = 1, math.huge do pcall(function() t[i] = i end) end"),
    ("growing a map", "local t = {} for i = 1, math.huge do t['k' .. i] = i end"),
    ("nesting tables", "local t = {} while true do t = {t} end"),
    ("a global", "kept = {} while true do kept[#kept + 1] = {} end"),
    ("growing a table in a coroutine", "coroutine.wrap(function() local t = {} while true do t = {t} end end)()"),
    (
        "a generator's table",
        "local t = {} for i in coroutine.wrap(function() while true do coroutine.yield({}) end end)
        do t[#t + 1] = i end",
    ),
    ("coroutines", "local t = {} while true do t[#t + 1] = coroutine.create(print) end"),
    ("closures", "local t = {} while true do t[#t + 1] = function() return t end end"),
    (
        "concat",
        "local t = {} for i = 1, 1000 do t[i] = ('x'):rep(1000) end
        while true do t[#t + 1] = table.concat(t) end",
    ),
    ("format", "local s = ('x'):rep(1000) while true do s = string.format('%s%s', s, s) end"),
    ("gsub", "local s = 'xx' while true do s = s:gsub('x', 'xx') end"),
    ("results of native functions", "local t = {} while true do t[#t + 1] = KSR.t.again('0123456789', 100) end"),
    ("values of native functions", "local t = {} while true do t[#t + 1] = KSR.t.any({1, {2}}) end"),
    ("xpcall", "while true do xpcall(string.rep, function(e) return e .. e end, 'x', 1000000000) end"),
    ("nested callback", "while true do pcall(KSR.t.run, 'hog') end"),
];

#[test]
fn memory_ends_every_hog() {
    for (name, body) in HOGS {
        let define = "rawset(_G, 'hog', function() local t = {} while true do t = {t} end end)";
        for limits in [MEMORY, ONLY_MEMORY] {
            check(limits, ErrorCode::MemoryLimit, name, &format!("kept = nil {define} {body}"));
        }
    }
}

#[test]
fn memory_is_given_back_after_the_limit() {
    let mut script = try_load_limited(
        ONLY_MEMORY,
        "function main(held)
            if held then return math.floor(collectgarbage('count')) end
            local t = {} while true do t[#t + 1] = {} end
         end",
    )
    .expect("it loads");
    for _ in 0..5 {
        assert_eq!(script.call(&[]).map_err(|error| error.code), Err(ErrorCode::MemoryLimit));
        match script.value(&[kemi_core::Arg::Bool(true)]) {
            Value::Int(kilobytes) => assert!(kilobytes < 1024, "{kilobytes} kB"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn garbage_does_not_count_when_the_limit_is_near() {
    let mut script = try_load_limited(
        MEMORY,
        "function main()
            collectgarbage('stop')
            local n = 0
            for i = 1, 200 do n = n + #{('x'):rep(50000) .. i, {}} end
            for i = 1, 300000 do n = n + #{i} end
            return n
         end",
    )
    .expect("it loads");
    assert_eq!(script.value(&[]), Value::Int(300_400));
}

#[test]
fn a_source_too_large_for_the_memory_does_not_load() {
    let source = format!("x = '{}'", "y".repeat(40 << 20));
    let error = try_load_limited(MEMORY, &source).expect_err("too large");
    assert_eq!(error.code, ErrorCode::MemoryLimit, "{error:#}");
}

#[test]
fn endless_recursion_is_a_stack_overflow_within_the_limits_too() {
    let body = "local function f() return 1 + f() end f()";
    for limits in [Limits::NONE, Limits { max_time_ms: 20_000, ..Limits::default() }] {
        let mut script = script(limits, body);
        assert_eq!(script.call(&[]).map_err(|error| error.code), Err(ErrorCode::StackOverflow));
        assert_eq!(script.value(&[]), text("fine"));
    }
    let caught = script(Limits::default(), &format!("pcall(function() {body} end)")).call(&[]);
    assert_eq!(caught.ok(), Some(Outcome::Value(Value::Nil)));
}

#[test]
#[cfg(not(luajit))]
fn recursion_is_a_stack_overflow_between_64_times_its_limit_and_twice_that() {
    let limits = Limits { max_depth: 10, ..Limits::NONE };
    let wide = "local a, b, c, d, e, g, h, i = n, n, n, n, n, n, n, n";
    for (name, body) in [
        ("small frames", "local function f(n) if n > 1 then return 1 + f(n - 1) end return 1 end"),
        ("large frames", &format!("local function f(n) {wide} if n > 1 then return 1 + f(n - 1) end return 1 end")),
        (
            "in a coroutine",
            "local function g(n) if n > 1 then return 1 + g(n - 1) end return 1 end local f = coroutine.wrap(g)",
        ),
    ] {
        let run = |call: &str| script(limits, &format!("{body} {call}")).call(&[]).map_err(|error| error.code);
        assert_eq!(run("f(600)"), Ok(Outcome::Value(Value::Nil)), "{name}");
        assert_eq!(run("f(1400)"), Err(ErrorCode::StackOverflow), "{name}");
        assert_eq!(run("pcall(f, 1400)"), Ok(Outcome::Value(Value::Nil)), "{name}");
    }
}

/// Setting the hook on so many calls takes about as long as the watchdog waits from one signal to the next.
#[test]
#[cfg(not(luajit))]
fn a_loop_at_the_bottom_of_a_deep_recursion_ends() {
    let body = "local function deep(n) if n > 0 then return 1 + deep(n - 1) end while true do end end deep(190000)";
    for _ in 0..5 {
        check(TIME, ErrorCode::TimeLimit, "a deep loop", body);
    }
}

#[test]
fn instances_are_interrupted_on_their_own_threads() {
    let workers: Vec<_> = (0..4)
        .map(|_| {
            std::thread::spawn(|| {
                let mut other = script(TIME, "");
                let mut script = script(TIME, "while true do end");
                for _ in 0..6 {
                    let ended = script.call(&[]).map_err(|error| error.code);
                    assert!(
                        matches!(ended, Err(ErrorCode::TimeLimit) | Ok(Outcome::Value(Value::Str(_)))),
                        "{ended:?}"
                    );
                    assert!(other.call(&[]).is_ok());
                }
            })
        })
        .collect();
    for worker in workers {
        worker.join().expect("no panic");
    }
}

#[test]
fn a_signal_that_is_not_ours_disturbs_nothing() {
    let mut script = script(TIME, "for i = 1, 300000 do local x = i end");
    // SAFETY: the engine handles the signal.
    let main = unsafe { libc::pthread_self() };
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                // SAFETY: the thread waits for this one.
                unsafe { libc::pthread_kill(main, libc::SIGURG) };
                std::thread::sleep(Duration::from_micros(50));
            }
        });
        for _ in 0..20 {
            let outcome = script.call(&[]);
            assert!(outcome.is_ok() || outcome.is_err_and(|error| error.code == ErrorCode::TimeLimit));
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

/// Hooks are set and taken away at every instant: none may be left in a state that no later signal mends.
#[test]
fn a_signal_ends_a_call_whenever_it_comes() {
    let bodies = [
        "while true do end",
        "while true do pcall(error) end",
        "while true do KSR.t.run('short') end",
        "while true do pcall(coroutine.wrap(function() error() end)) end",
        "while true do string.find('aaaaaaaa', '.-.-b') end",
        "while true do if jit then jit.off() jit.flush() end end",
    ];
    let limits = Limits { max_time_ms: 2, ..Limits::NONE };
    for body in bodies {
        let source = format!("function short() end function main() {body} end");
        let mut script = try_load_limited(limits, &source).expect("it loads");
        for _ in 0..60 {
            let start = Instant::now();
            let ended = script.call(&[]).map_err(|error| error.code);
            assert_eq!(ended, Err(ErrorCode::TimeLimit), "{body}");
            assert!(start.elapsed() < Duration::from_secs(10), "{body} took {:?}", start.elapsed());
        }
    }
}

#[test]
fn resuming_what_runs_already_is_an_ordinary_error() {
    let body = "local co = coroutine
        co.wrap(function()
            local outer = co.running()
            co.wrap(function()
                local inner = co.running()
                assert(not co.resume(inner)) assert(not co.resume(outer))
                co.wrap(function() assert(not co.resume(inner)) assert(not co.resume(outer)) end)()
                KSR.x.exit()
            end)()
        end)()";
    let mut script = script(Limits::default(), body);
    assert_eq!(script.call(&[]).ok(), Some(Outcome::Exit));
    assert_eq!(script.value(&[]), text("fine"));
}

#[cfg(luajit)]
#[test]
fn a_script_cannot_switch_the_compiler_on_while_its_time_is_limited() {
    check(TIME, ErrorCode::TimeLimit, "jit.on", "jit.on() jit.on(true, true) while true do end");
    let mut free = script(Limits::NONE, "if not jit.status() then error('off') end jit.off() jit.on()");
    assert_eq!(free.value(&[]), Value::Nil);
}
