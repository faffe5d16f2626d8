use kemi_core::{Arg, ArgumentPolicy, Outcome, Source, Value};

use crate::host::{Loaded, eval, load, try_load};

/// Every place in which an exit could be swallowed; `E` ends the callback, and so does the native function `X`.
const HIDING_PLACES: &[(&str, &str)] = &[
    ("plainly", "E()"),
    ("pcall", "pcall(E)"),
    ("pcall of the native function", "pcall(X)"),
    ("xpcall of the native function", "xpcall(X, print)"),
    ("coroutine of the native function", "while true do coroutine.resume(coroutine.create(X)) end"),
    ("wrapped native function", "while true do pcall(coroutine.wrap(X)) end"),
    ("nested pcall", "pcall(function() pcall(function() pcall(E) end) KSR.t.note('1') end)"),
    ("pcall in a loop", "while true do pcall(E) end"),
    ("goto-like loop", "repeat pcall(E) until false"),
    ("xpcall", "xpcall(E, function(e) KSR.t.note('handler') return e end)"),
    ("xpcall whose handler loops", "xpcall(E, function(e) while true do pcall(E) end end)"),
    ("xpcall whose handler fails", "xpcall(E, function(e) error('x') end)"),
    ("sort comparator", "table.sort({3, 1, 2}, function(a, b) pcall(E) return a < b end)"),
    ("sort in pcall", "pcall(table.sort, {3, 1, 2}, function(a, b) E() end)"),
    ("coroutine.resume", "coroutine.resume(coroutine.create(E))"),
    ("resume in a loop", "while true do coroutine.resume(coroutine.create(E)) end"),
    ("resume in pcall", "pcall(coroutine.resume, coroutine.create(function() pcall(E) end))"),
    ("coroutine.wrap", "coroutine.wrap(E)()"),
    ("wrap in pcall", "pcall(coroutine.wrap(function() pcall(E) KSR.t.note('1') end))"),
    (
        "three coroutines deep",
        "local co = coroutine
         co.wrap(function() pcall(co.wrap(function() pcall(co.wrap(function() pcall(E) end)) KSR.t.note('1') end))
           KSR.t.note('2') end)() KSR.t.note('3')",
    ),
    (
        "a generator that yields first",
        "local g = coroutine.wrap(function() coroutine.yield(1) pcall(E) coroutine.yield(2) end)
         for v in g do if v == 2 then KSR.t.note('2') end end",
    ),
    ("__index", "local t = setmetatable({}, {__index = function() pcall(E) end}) local x = t.a"),
    ("__index in pcall", "pcall(function() local x = setmetatable({}, {__index = E}).a end)"),
    ("__add", "local t = setmetatable({}, {__add = function() E() end}) local x = t + 1"),
    ("__eq", "local m = {__eq = function() pcall(E) end} local x = setmetatable({}, m) == setmetatable({}, m)"),
    ("__tostring", "pcall(tostring, setmetatable({}, {__tostring = E}))"),
    ("__tostring in print", "pcall(print, setmetatable({}, {__tostring = E}))"),
    ("gsub callback", "pcall(string.gsub, 'abc', '.', function() pcall(E) end)"),
    ("for iterator", "for _ in function() pcall(E) end do end"),
    ("loaded chunk", "pcall(load('pcall(...)'), E)"),
    ("reader of load", "load(function() pcall(E) E() end)"),
    ("reader of load in a loop", "while true do load(function() E() end) end"),
    ("tail call", "do return pcall(function() return E() end) end"),
    ("error handler swaps the error", "xpcall(function() error('a') end, function() pcall(E) return 'b' end)"),
    (
        "resume as getinfo finds it on the stack",
        "local found
         local main = coroutine.running()
         coroutine.resume(coroutine.create(function()
            for level = 0, 9 do
                for _, what in ipairs {'f', 'nf'} do
                    local info = main and debug.getinfo(main, level, what)
                    if info and info.func and info.func ~= E and not debug.getinfo(info.func, 'S').what:find('[LM]') then found = info.func end
                end
            end
         end))
         for i = 1, 3 do local _ = (found or coroutine.resume)(coroutine.create(E)) KSR.t.note('swallowed') end",
    ),
    (
        "load's reader finds who calls it",
        "local found
         load(function() for level = 0, 9 do
            local info = debug.getinfo(level, 'f') or {}
            if info.func and debug.getinfo(info.func, 'S').what == 'C' and not pcall(info.func) then found = found or info.func end
         end end)
         for i = 1, 3 do pcall(found or load, E) pcall(E) KSR.t.note('swallowed') end",
    ),
    ("a native function's own way", "pcall(KSR.t.finish, true)"),
];

fn script(ending: &str, body: &str) -> Loaded {
    load(&format!(
        "local X = {ending}
         local function E() X() end
         function main(mode)
            if mode then KSR.t.note('back') return 'fine' end
            {body}
            KSR.t.note('after')
            return 'not ended'
         end"
    ))
}

fn check(ending: &str, expected: &Outcome, name: &str, body: &str) {
    let mut script = script(ending, body);
    for round in 0..3 {
        let outcome = script.call(&[]);
        assert_eq!(outcome.as_ref().ok(), Some(expected), "{name}, round {round}: {outcome:?}");
        assert_eq!(script.host.notes, Vec::<String>::new(), "{name}");
        assert_eq!(script.value(&[Arg::Bool(true)]), Value::from("fine"), "{name} works on");
        assert_eq!(script.host.notes, ["back"], "{name}");
        script.host.notes.clear();
    }
}

#[test]
fn nothing_swallows_an_exit() {
    for (name, body) in HIDING_PLACES {
        check("KSR.x.exit", &Outcome::Exit, name, body);
    }
}

#[test]
fn nothing_swallows_a_drop() {
    for (name, body) in HIDING_PLACES.iter().filter(|(name, _)| !name.contains("own way")) {
        check("KSR.x.drop", &Outcome::Drop, name, body);
    }
}

#[test]
fn os_exit_ends_the_callback_only() {
    check("os.exit", &Outcome::Exit, "os.exit", "pcall(E, 1)");
    check("os.exit", &Outcome::Exit, "os.exit in a coroutine", "coroutine.resume(coroutine.create(E))");
}

#[test]
fn getinfo_gives_no_c_function_but_those_it_gets() {
    let body = "local found = {}
        local function look(...)
            for level = 0, 12 do
                local info = debug.getinfo(level) or {}
                if info.func and info.what == 'C' then found[#found + 1] = tostring(info.name) end
                info = debug.getinfo(level, 'fS') or {}
                if info.func and info.what == 'C' then found[#found + 1] = 'fS' end
            end
        end
        local main = coroutine.running()
        coroutine.wrap(function() look() local _ = main and look() end)()
        local co = coroutine.create(function() coroutine.yield() end)
        coroutine.resume(co)
        for level = 0, 3 do
            local info = debug.getinfo(co, level, 'fS') or {}
            if info.func and info.what == 'C' then found[#found + 1] = 'in a coroutine' end
        end
        table.sort({3, 1, 2}, function(a, b) look() return a < b end)
        string.gsub('x', 'x', look)
        pcall(look) xpcall(look, print)
        load(function() look() end)
        local own = debug.getinfo(1, 'fl')
        local given = debug.getinfo(print, 'f').func == print and debug.getinfo(look, 'f').func == look
        return {found, type(own.func), own.currentline > 0, given, debug.getinfo(100) == nil, debug.getinfo(0, 'n').name}";
    assert_eq!(eval(body).to_string(), r#"[{}, "function", true, true, true, "getinfo"]"#.replace("{}", "[]"));
}

#[cfg(not(luajit))]
#[test]
fn constructs_of_lua_54_do_not_swallow_it_either() {
    let places = [
        ("goto", "::again:: pcall(E) goto again"),
        ("to-be-closed variable", "do local c <close> = setmetatable({}, {__close = function() pcall(E) end}) end"),
        ("closing while it ends", "local c <close> = setmetatable({}, {__close = function() KSR.t.note('x') end}) E()"),
        (
            "coroutine.close",
            "local co = coroutine.create(function()
                local c <close> = setmetatable({}, {__close = function() pcall(E) end}) coroutine.yield() end)
             coroutine.resume(co) coroutine.close(co)",
        ),
        ("finalizer", "setmetatable({}, {__gc = E}) collectgarbage() collectgarbage() for i = 1, 10 do pcall(E) end"),
    ];
    for (name, body) in places {
        check("KSR.x.exit", &Outcome::Exit, name, body);
    }
}

#[cfg(luajit)]
#[test]
fn compiled_code_does_not_swallow_it_either() {
    let places = [
        ("hot pcall", "local function f(i) if i > 400 then E() end end for i = 1, 1e18 do pcall(f, i) end"),
        (
            "hot resume",
            "local co = coroutine local function f(i) if i > 400 then E() end end
             for i = 1, 1e18 do co.resume(co.create(f), i) end",
        ),
        ("hot load", "local n = 0 while true do n = n + 1 load(function() if n > 400 then E() end end) end"),
        (
            "hot metamethod",
            "local t = setmetatable({}, {__index = function(_, i) if i > 400 then E() end end})
             for i = 1, 1e18 do pcall(function() return t[i] end) end",
        ),
    ];
    for (name, body) in places {
        check("KSR.x.exit", &Outcome::Exit, name, body);
    }
}

#[test]
fn a_coroutine_that_died_of_an_exit_stays_dead_and_others_live() {
    let mut script = load(
        "local live = coroutine.wrap(function() local n = 0 while true do n = n + 1 coroutine.yield(n) end end)
         local dead
         function main(mode)
            if mode then return {live(), coroutine.status(dead), (coroutine.resume(dead))} end
            live()
            dead = coroutine.create(function() live() KSR.x.exit() end)
            coroutine.resume(dead)
         end",
    );
    assert_eq!(script.call(&[]).ok(), Some(Outcome::Exit));
    assert_eq!(script.value(&[Arg::Bool(true)]).to_string(), r#"[3, "dead", false]"#);
}

#[test]
fn an_exit_at_the_top_level_ends_loading_quietly() {
    let sources = [
        Source::text("a.lua", "function main() return 1 end pcall(KSR.x.exit) error('not reached')"),
        Source::text("b.lua", "error('not reached')"),
    ];
    let mut script = try_load(ArgumentPolicy::Strict, &sources).expect("the exit is no error");
    assert_eq!(script.value(&[]), Value::Int(1));
}

#[test]
fn the_end_cannot_be_raised_by_hand_or_unhooked() {
    let mut script = load(
        "local kept
         function main(mode)
            if mode then return {debug.sethook == nil, debug.getregistry == nil, debug.setmetatable == nil} end
            xpcall(KSR.x.exit, function(e) kept = e end)
         end",
    );
    assert_eq!(script.call(&[]).ok(), Some(Outcome::Exit));
    assert_eq!(script.value(&[Arg::Bool(true)]).to_string(), "[true, true, true]");
}
