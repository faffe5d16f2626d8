use kemi_core::{ErrorCode, Value};

use crate::host::{load, try_load_limited};
use crate::limits::{MEMORY, ONLY_MEMORY, check};

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
    ("functions for the host", "while true do KSR.t.any(function() end) end"),
    ("functions for the host in pcall", "while true do pcall(KSR.t.any, {function() end, {function() end}}) end"),
    ("functions as results", "while true do pcall(KSR.t.run, 'maker') end"),
    ("xpcall", "while true do xpcall(string.rep, function(e) return e .. e end, 'x', 1000000000) end"),
    ("nested callback", "while true do pcall(KSR.t.run, 'hog') end"),
];

#[test]
fn memory_ends_every_hog() {
    for (name, body) in HOGS {
        let define = "rawset(_G, 'hog', function() local t = {} while true do t = {t} end end)
            rawset(_G, 'maker', function() return {function() end, function() end} end)";
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
fn memory_is_given_back() {
    let mut script = load(
        "function main()
            for i = 1, 2000 do
                pcall(KSR.t.fail, 'x') pcall(KSR.t.boom_) KSR.t.owned('abc') KSR.t.any({1, {2}}) KSR.t.pair()
                coroutine.wrap(function() pcall(error, 'x') end)()
            end
            collectgarbage() collectgarbage()
            return math.floor(collectgarbage('count'))
        end",
    );
    let kilobytes = |value: Value| match value {
        Value::Int(n) => n,
        other => panic!("{other:?}"),
    };
    let first = kilobytes(script.value(&[]));
    for _ in 0..3 {
        let later = kilobytes(script.value(&[]));
        assert!(later <= first + 20, "{first} kB, then {later} kB");
    }
}
