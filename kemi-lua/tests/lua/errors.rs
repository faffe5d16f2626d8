use kemi_core::{ArgumentPolicy, ErrorCode, Source};

use crate::host::{error, eval, load, text, try_load};

fn place(error: &kemi_core::ScriptError) -> (&str, u32) {
    error.place.as_ref().map_or(("", 0), |place| (place.file.as_str(), place.line))
}

#[test]
fn a_bad_argument_tells_all() {
    let e = error("\n\nKSR.t.port('x')");
    assert_eq!(e.code, ErrorCode::BadArgument);
    assert_eq!(place(&e), ("test.lua", 3));
    assert_eq!((e.engine, e.callback.as_deref(), e.export.as_deref()), ("lua", Some("main"), Some("KSR.t.port")));
    let argument = e.argument.as_ref().map(|a| (a.position, a.name.as_str(), a.expected.as_str(), a.got.as_str()));
    assert_eq!(argument, Some((1, "n", "int(0..65535)", "string \"x\"")));
    assert!(
        e.traceback.iter().any(|f| f.function == "function 'main'" && f.place.as_ref().is_some_and(|p| p.line == 3))
    );
    assert!(e.traceback.iter().any(|f| f.function.contains("native function 'port'")), "{e:#}");
}

#[test]
fn natives_fail_panic_and_refuse_as_catchable_errors() {
    let rows = [
        ("KSR.t.fail('x')", ErrorCode::NativeError, "failed because of x"),
        ("KSR.t.boom()", ErrorCode::NativePanic, "out of cheese"),
        ("KSR.t.event_only()", ErrorCode::NotAllowedHere, "route 'main'"),
        ("KSR.t.add(1)", ErrorCode::ArgumentCount, "takes 2"),
        ("KSR.t.add(1, 2, 3)", ErrorCode::ArgumentCount, "got 3"),
        ("KSR.t.port(70000)", ErrorCode::BadArgument, "70000"),
        ("KSR.t.owned('\\xff')", ErrorCode::BadArgument, "UTF-8"),
    ];
    for (call, code, part) in rows {
        let e = error(call);
        assert_eq!(e.code, code, "{call}: {e}");
        assert!(e.message.contains(part), "{call}: {e}");
        assert_eq!(place(&e), ("test.lua", 1), "{call}");
        let caught = eval(&format!("local ok, e = pcall(function() {call} end) return (not ok and e)")).to_string();
        assert!(caught.contains(&part.replace('\'', "\\'")) && caught.contains("test.lua:1: KSR.t."), "{caught}");
    }
}

#[test]
fn a_native_error_that_is_raised_again_keeps_its_fields() {
    for raise in ["error(e)", "error(e, 0)", "error(e, 2)", "assert(ok, e)", "coroutine.wrap(error)(e)"] {
        let e = error(&format!("local ok, e = pcall(KSR.t.port, 'x')\n KSR.t.note('x') {raise}"));
        assert_eq!((e.code, e.export.as_deref()), (ErrorCode::BadArgument, Some("KSR.t.port")), "{raise}");
        assert_eq!(place(&e), ("test.lua", 1), "{raise}: where the native function was called");
        assert!(e.argument.is_some() && e.cause.is_none(), "{raise}");
    }
    let e = error("pcall(KSR.t.port, 'x')\n error('unrelated')");
    assert_eq!((e.code, place(&e), e.message.as_str()), (ErrorCode::Runtime, ("test.lua", 2), "unrelated"));
}

#[test]
fn what_a_script_puts_around_a_native_error_is_told_and_the_error_is_its_cause() {
    for wrap in [
        "error('while saving: ' .. e)",
        "error('while saving: ' .. e .. '!')",
        "error('while ' .. 'saving: ' .. e .. ' ' .. 5)",
        "local f = 'while saving: ' .. e f = f .. '' error(f)",
        "local ok, f = pcall(error, 'while saving: ' .. e) error(f)",
        "local _, f = xpcall(error, function(e) return 'while saving: ' .. e end, e) error(f)",
        "error(debug.traceback('while saving: ' .. e))",
    ] {
        let e = error(&format!("local ok, e = pcall(KSR.t.fail, 'a full disk')\n {wrap}"));
        assert_eq!((e.code, e.export.as_deref()), (ErrorCode::Runtime, None), "{wrap}");
        assert!(e.message.starts_with("while saving: "), "{wrap}: {e}");
        assert!(e.message.contains("KSR.t.fail: failed because of a full disk"), "{wrap}: {e}");
        assert_eq!(place(&e), ("test.lua", 2), "{wrap}");
        let cause = e.cause.as_deref().unwrap_or_else(|| panic!("{wrap}: no cause"));
        assert_eq!((cause.code, cause.export.as_deref()), (ErrorCode::NativeError, Some("KSR.t.fail")), "{wrap}");
        assert_eq!(place(cause).1, 1, "{wrap}");
        assert_eq!(cause.message, "failed because of a full disk", "{wrap}");
        let source = std::error::Error::source(&e).map(ToString::to_string).unwrap_or_default();
        assert!(source.contains("a full disk"), "{wrap}: {source}");
    }
}

#[test]
fn an_error_that_was_swallowed_is_not_taken_for_a_later_one() {
    for body in [
        "pcall(KSR.t.fail, 'x') error('KSR.t.fail: failed because of x')",
        "pcall(KSR.t.fail, 'x') error('test.lua:1: KSR.t.fail: failed because of x', 0)",
        "local _, e = pcall(KSR.t.fail, 'x') error(tostring(e), 0)",
        "local _, e = pcall(KSR.t.fail, 'x') error({tostring(e)})",
        "local _, e = pcall(KSR.t.fail, 'x') pcall(KSR.t.fail, 'y') error(string.format('%s', e), 0)",
    ] {
        let e = error(body);
        assert_eq!((e.code, e.export.as_deref(), e.cause.is_none()), (ErrorCode::Runtime, None, true), "{body}: {e}");
    }
    let e = error("local _, e = pcall(KSR.t.fail, 'first') pcall(KSR.t.fail, 'second') error(e)");
    assert_eq!(e.message, "failed because of first");
    let mut script =
        load("function main(again) if again then error(kept) end local ok, e = pcall(KSR.t.fail, 'x') kept = e end");
    script.value(&[]);
    let e = script.call(&[kemi_core::Arg::Bool(true)]).expect_err("it was kept");
    assert_eq!((e.code, e.message.as_str()), (ErrorCode::NativeError, "failed because of x"), "over calls as well");
}

#[test]
fn a_native_error_can_be_used_like_its_text() {
    let rows = [
        ("tostring(e)", "test.lua:1: KSR.t.fail: failed because of x"),
        ("e .. '!'", "test.lua:1: KSR.t.fail: failed because of x!"),
        ("'a' .. 1 .. e", "a1test.lua:1: KSR.t.fail: failed because of x"),
        ("#e", "43"),
        ("e:match('because of (.*)')", "x"),
        ("e:find('failed', 1, true)", "25"),
        ("e:gsub('.*: ', '')", "failed because of x"),
        ("e:sub(1, 8)", "test.lua"),
        ("e:upper():sub(1, 4)", "TEST"),
        ("e:len() .. e:byte()", "43116"),
        ("string.match(e, 'because of (.*)')", "x"),
        ("string.find(e, 'failed')", "25"),
        ("string.gsub(e, '^.*: ', '')", "failed because of x"),
        ("string.gsub('<e>', 'e', e)", "<test.lua:1: KSR.t.fail: failed because of x>"),
        ("string.gmatch(e, 'because of (.*)')()", "x"),
        ("string.rep(e, 2):sub(-1)", "x"),
        ("string.format('%s|%5.4s', e, e)", "test.lua:1: KSR.t.fail: failed because of x| test"),
        ("table.concat({'<', e, '>'})", "<test.lua:1: KSR.t.fail: failed because of x>"),
        ("KSR.t.owned(e):sub(-1)", "X"),
        ("KSR.t.owned('a: ' .. e):sub(1, 1)", "A"),
        ("KSR.t.any(e)", "test.lua:1: KSR.t.fail: failed because of x"),
        ("KSR.t.any({e})[1]", "test.lua:1: KSR.t.fail: failed because of x"),
        ("tostring(e == f('x'))", "true"),
        ("tostring(e == f('y'))", "false"),
        ("debug.traceback(e):match('^%C*')", "test.lua:1: KSR.t.fail: failed because of x"),
        ("tostring(e.nothing)", "nil"),
        ("tostring(pcall(function() return e .. {} end))", "false"),
        ("tostring(pcall(function() e.x = 1 end))", "false"),
        ("tostring(getmetatable(e))", "false"),
        ("tostring(pcall(setmetatable, e, {}))", "false"),
    ];
    for (expression, expected) in rows {
        let shown = eval(&format!(
            "local function f(x) return select(2, pcall(function() KSR.t.fail(x) end)) end local e = f('x') return tostring(({expression}))"
        ));
        assert_eq!(shown, text(expected), "{expression}");
    }
    if cfg!(not(luajit)) {
        for (expression, expected) in [
            ("tostring(e < 'zzz') .. tostring(e <= 'a')", "truefalse"),
            ("string.sub(e, 1, 4)", "test"),
            ("string.upper(e):sub(-1)", "X"),
            ("string.lower(e):sub(1, 4)", "test"),
            ("string.len(e)", "43"),
            ("string.byte(e)", "116"),
            ("string.reverse(e):sub(1, 1)", "x"),
        ] {
            let shown = eval(&format!(
                "local function f(x) return select(2, pcall(function() KSR.t.fail(x) end)) end local e = f('x') return tostring(({expression}))"
            ));
            assert_eq!(shown, text(expected), "{expression}");
        }
    }
}

#[test]
fn native_errors_that_a_script_keeps_count_as_its_memory() {
    let limits = kemi_core::Limits { max_memory: 4 << 20, max_time_ms: 20_000, ..kemi_core::Limits::NONE };
    let mut script = crate::host::try_load_limited(
        limits,
        "function main(fine)
            if fine then
                for i = 1, 3000 do pcall(KSR.t.fail, ('x'):rep(10000)) end
                return 'fine'
            end
            local kept = {} while true do kept[#kept + 1] = select(2, pcall(KSR.t.fail, ('x'):rep(10000))) end
         end",
    )
    .expect("it loads");
    for _ in 0..3 {
        assert_eq!(script.call(&[]).map_err(|error| error.code), Err(ErrorCode::MemoryLimit));
        assert_eq!(script.value(&[kemi_core::Arg::Bool(true)]), text("fine"), "what is garbage does not count");
    }
}

#[test]
fn errors_of_the_script_have_place_message_and_traceback() {
    let mut script = load(
        "local function inner()\n  local t = nil\n  return t.x\nend\nlocal function outer()\n  inner()\n  return 1\nend\nfunction main()\n  outer()\n  return 1\nend",
    );
    let e = script.call(&[]).expect_err("it indexes nil");
    assert_eq!((e.code, place(&e)), (ErrorCode::Runtime, ("test.lua", 3)));
    assert!(e.message.starts_with("attempt to index"), "{e}");
    let lines: Vec<u32> = e.traceback.iter().filter_map(|f| f.place.as_ref()).map(|p| p.line).collect();
    assert_eq!(lines, [3, 6, 10]);
    assert!(script.call(&[]).is_err(), "works on");
}

#[test]
fn any_value_can_be_raised_and_is_described() {
    let rows = [
        ("error('plain', 0)", "plain"),
        ("error({code = 5})", "the script raised a table: {\"code\": 5}"),
        ("error(setmetatable({}, {__tostring = function() return 'mine' end}))", "mine"),
        ("error(setmetatable({}, {__tostring = function() error('again') end}))", "the script raised a table"),
        ("error(print)", "the script raised a function"),
        ("error(coroutine.create(print))", "the script raised a thread"),
        ("error(true)", "true"),
        ("error(42)", "42"),
        ("error()", "nil"),
        ("error(nil)", "nil"),
        ("error(('x'):rep(3000))", "xxx"),
    ];
    for (raise, part) in rows {
        let e = error(raise);
        assert_eq!(e.code, ErrorCode::Runtime, "{raise}");
        assert!(e.message.contains(part), "{raise}: {e}");
    }
    let blame = error("local function f() error('told', 2) end\nf()\nreturn 1");
    assert_eq!(place(&blame), ("test.lua", 2), "the level that `error` was given");
}

#[test]
fn syntax_errors_have_file_and_line() {
    let load =
        |name: &str, script: &str| try_load(ArgumentPolicy::Strict, &[Source::text(name, script)]).expect_err("syntax");
    let e = load("bad.lua", "x = 1\nlocal = 2\n");
    assert_eq!((e.code, place(&e), e.engine), (ErrorCode::Syntax, ("bad.lua", 2), "lua"));
    let long = format!("/{}/bad.lua", "folder/".repeat(30));
    let e = load(&long, "\n\nend");
    assert_eq!((e.code, place(&e)), (ErrorCode::Syntax, (long.as_str(), 3)));
    assert!(!e.message.contains("bad.lua"), "{e}");
    let e = load("binary.lua", "\u{1b}Lua");
    assert_eq!(e.code, ErrorCode::Syntax, "{e}");
}

#[test]
fn errors_at_the_top_level_have_file_and_line() {
    let sources = [Source::text("a.lua", "x = 1"), Source::text("b.lua", "\nlocal y = x.z.w\n")];
    let e = try_load(ArgumentPolicy::Strict, &sources).expect_err("x is a number");
    assert_eq!((e.code, place(&e)), (ErrorCode::Runtime, ("b.lua", 2)));
    let e =
        try_load(ArgumentPolicy::Strict, &[Source::text("c.lua", "KSR.t.note('x')")]).expect_err("there is no context");
    assert_eq!((e.code, place(&e)), (ErrorCode::NoContext, ("c.lua", 1)));
}

#[test]
fn endless_recursion_is_a_stack_overflow() {
    let rows = [
        "local function f() return 1 + f() end f()",
        "local function f(s) return (s:gsub('.', f)) end f('x')",
        "local t = setmetatable({}, {}) getmetatable(t).__index = function(t, k) return t[k .. 'x'] end return t.a",
        "local function f() coroutine.wrap(f)() end f()",
        "local function f() table.sort({3, 2, 1}, function(a, b) f() return a < b end) end f()",
        "local t = setmetatable({}, {}) getmetatable(t).__tostring = function(t) local s = tostring(t) return s end return tostring(t)",
        "local t = setmetatable({}, {}) getmetatable(t).__tostring = function(t) local s = ('%s'):format(t) return s end return ('%s'):format(t)",
    ];
    for body in rows {
        let e = error(body);
        assert_eq!(e.code, ErrorCode::StackOverflow, "{body}: {e}");
        assert!(e.traceback.len() <= 50);
    }
    assert_eq!(eval("local function f() return pcall(f) end f() return 'still here'"), text("still here"));
    assert_eq!(eval("local function f() return 1 + f() end pcall(f) return KSR.t.owned('ok')"), text("OK"));
}

#[test]
fn a_missing_callback_is_told_by_name() {
    let e = load("function man() end").call(&[]).expect_err("there is no main");
    assert_eq!(e.code, ErrorCode::MissingCallback);
    assert!(e.message.contains("'main'"), "{e}");
}
