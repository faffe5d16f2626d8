use std::time::{Duration, Instant};

use kemi_core::{ErrorCode, Limits, Outcome, ScriptError, Value};

use crate::host::{Loaded, text, try_load_limited};

pub(crate) const TIME: Limits = Limits { max_time_ms: 60, ..Limits::NONE };
pub(crate) const MEMORY: Limits = Limits { max_memory: 4 << 20, max_time_ms: 20_000, ..Limits::NONE };
/// On LuaJIT it leaves the compiler on, and then some errors have no place.
pub(crate) const ONLY_MEMORY: Limits = Limits { max_time_ms: 0, ..MEMORY };
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

pub(crate) fn script(limits: Limits, body: &str) -> Loaded {
    try_script(limits, body).unwrap_or_else(|error| panic!("{error:#}"))
}

pub(crate) fn check(limits: Limits, code: ErrorCode, name: &str, body: &str) {
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
