use std::sync::Arc;
use std::time::Duration;

use kemi_core::{Arg, ArgumentPolicy, ErrorCode, Function, Instance, Limits, Map, Outcome, Program, Source, Value};
use kemi_lua::LuaEngine;

use crate::host::{Host, Loaded, error, eval, list, load, text, try_load_limited};

/// Loads a script whose `main` passes functions to the host, and calls it.
fn kept(script: &str) -> Loaded {
    let mut loaded = load(script);
    loaded.call(&[]).unwrap_or_else(|error| panic!("{error:#}"));
    loaded
}

impl Loaded {
    fn function(&self, at: usize) -> Function {
        self.host.kept.get(at).cloned().expect("the script has passed it")
    }
}

#[test]
fn a_kept_function_is_called_later_and_keeps_its_state() {
    let mut script = kept("function main() local n = 0 KSR.t.keep(function(by) n = n + by return n end) end");
    let add = script.function(0);
    let called: Vec<i64> =
        [5, 6, 7].map(|by| add.call(&script.instance, &mut script.host, (by,)).expect("it adds")).into();
    assert_eq!(called, [5, 11, 18]);
    assert_eq!(script.instance.calls().0, 0);
    script.value(&[]);
    assert_eq!(
        script.function(1).call::<_, i64>(&script.instance, &mut script.host, (1,)).ok(),
        Some(1),
        "its own state"
    );
    assert_eq!(add.call::<_, i64>(&script.instance, &mut script.host, (1,)).ok(), Some(19));
}

#[test]
fn a_native_function_calls_it_while_the_script_runs() {
    let body = "local seen = {}
        KSR.t.keep(function(x) seen[#seen + 1] = x KSR.t.note('in it') return x * 2 end)
        local results = {KSR.t.call_kept(0, 1), coroutine.wrap(KSR.t.call_kept)(0, 2), KSR.t.call_kept(0, 3)}
        return {results, seen, KSR.t.count()}";
    assert_eq!(eval(body).to_string(), "[[2, 4, 6], [1, 2, 3], 3]");
    let recursive = "KSR.t.keep(function(n) if n == 0 then return 'end' end return KSR.t.call_kept(0, n - 1) end)";
    assert_eq!(eval(&format!("{recursive} return KSR.t.call_kept(0, 10)")), text("end"));
    assert_eq!(error(&format!("{recursive} return KSR.t.call_kept(0, 100)")).code, ErrorCode::NestedTooDeep);
}

#[test]
fn its_error_has_the_line_of_the_script_and_can_be_caught_there() {
    let mut script = kept("function main()\n  KSR.t.keep(function()\n    local t = nil\n    return t.x\n  end)\nend");
    let function = script.function(0);
    let e = function.call::<_, Value>(&script.instance, &mut script.host, ()).expect_err("it indexes nil");
    assert_eq!((e.code, e.engine), (ErrorCode::Runtime, "lua"));
    assert_eq!(e.place.as_ref().map(|place| (place.file.as_str(), place.line)), Some(("test.lua", 4)), "{e}");
    assert_eq!(e.traceback.first().map(|frame| frame.function.as_str()), Some("function at line 2"));
    let caught = eval(
        "KSR.t.keep(function()\n error('mine')\nend)\n local ok, e = pcall(KSR.t.call_kept, 0, 1) return tostring(e)",
    );
    assert!(caught.as_str().is_some_and(|text| text.contains("mine")), "{caught}");
}

#[test]
fn limits_exits_and_drops_end_it_alone() {
    let limits = Limits { max_time_ms: 60, ..Limits::NONE };
    let script = "function main()
        KSR.t.keep(function() while true do pcall(function() while true do end end) end end)
        KSR.t.keep(function() pcall(KSR.x.exit) return 1 end)
        KSR.t.keep(function() pcall(KSR.x.drop) return 1 end)
        KSR.t.keep(function() return 7 end)
    end";
    let mut script = try_load_limited(limits, script).expect("it loads");
    script.value(&[]);
    let call = |script: &mut Loaded, at: usize| {
        let function = script.function(at);
        function.call::<_, Outcome>(&script.instance, &mut script.host, ()).map_err(|error| error.code)
    };
    for _ in 0..2 {
        assert_eq!(call(&mut script, 0), Err(ErrorCode::TimeLimit));
        assert_eq!(call(&mut script, 1), Ok(Outcome::Exit));
        assert_eq!(call(&mut script, 2), Ok(Outcome::Drop));
        assert_eq!(call(&mut script, 3), Ok(Outcome::Value(Value::Int(7))));
    }
    let nested = "KSR.t.keep(function() KSR.x.exit() end) KSR.t.keep(function() KSR.x.drop() end)
        return {KSR.t.call_kept(0, 1), KSR.t.call_kept(1, 1), 'on'}";
    assert_eq!(eval(nested).to_string(), r#"["exit", "drop", "on"]"#);
}

#[test]
fn it_is_gone_with_its_instance_and_foreign_to_others() {
    let script = "function main(f) if f then return f end KSR.t.keep(function() end) end";
    let (mut first, mut second) = (kept(script), kept(script));
    let (own, other) = (second.function(0), first.function(0));
    assert_eq!(second.host.kept[0], own);
    let foreign = other.call::<_, Value>(&second.instance, &mut second.host, ()).expect_err("of another instance");
    assert_eq!(foreign.code, ErrorCode::ForeignId);
    let value = Value::Function(other.clone());
    assert_eq!(second.call(&[Arg::Value(&value)]).map_err(|error| error.code), Err(ErrorCode::ForeignId));
    first.host.kept.clear();
    drop(first);
    assert!(other.is_gone());
    let gone = other.call::<_, Value>(&second.instance, &mut second.host, ()).expect_err("its instance is gone");
    assert_eq!(gone.code, ErrorCode::FunctionGone);
    assert_eq!(second.call(&[Arg::Value(&list([value]))]).map_err(|error| error.code), Err(ErrorCode::FunctionGone));

    let mut third = load("function main()\n\n  local f = KSR.t.kept(0)\n  return f\nend");
    third.host.kept.push(other);
    let e = third.call(&[]).expect_err("the result is of a version that is gone");
    assert_eq!((e.code, e.place.as_ref().map(|place| place.line)), (ErrorCode::FunctionGone, Some(3)));
    third.host.kept[0] = own;
    let e = third.call(&[]).expect_err("the result is of another instance");
    assert_eq!((e.code, e.place.as_ref().map(|place| place.line)), (ErrorCode::ForeignId, Some(3)));
}

#[test]
fn it_is_gone_after_a_reload() {
    let (registry, main) = crate::host::registry(ArgumentPolicy::Strict);
    let source = Source::text("test.lua", "function main() KSR.t.keep(function() return 1 end) end");
    let program = Program::open(Arc::new(LuaEngine), &registry, &[source]).expect("it loads");
    let mut worker = program.worker("w", None).expect("it loads");
    let mut host = Host::default();
    worker.instance().call(main, &mut host, &[]).expect("it keeps one");
    let old = host.kept[0].clone();
    assert_eq!(old.call::<_, i64>(worker.instance(), &mut host, ()).ok(), Some(1));
    program.reload(Duration::ZERO).expect("it is published");
    assert!(!old.is_gone(), "the worker has it still");
    assert!(worker.refresh());
    assert!(old.is_gone());
    let gone = old.call::<_, i64>(worker.instance(), &mut host, ()).expect_err("it is of the old version");
    assert_eq!(gone.code, ErrorCode::FunctionGone);
}

#[test]
fn the_top_level_registers_functions_with_a_context() {
    let (registry, _) = crate::host::registry(ArgumentPolicy::Strict);
    let mut host = Host::default();
    let source = Source::text("test.lua", "KSR.t.keep(function(name) return 'hello ' .. name end)");
    let instance = Instance::load_with(&LuaEngine, &registry, &[source], &mut host).expect("it loads");
    let greet = host.kept[0].clone();
    assert_eq!(greet.call::<_, String>(&instance, &mut host, ("you",)).ok().as_deref(), Some("hello you"));
}

#[test]
fn what_the_host_gives_back_is_the_very_function() {
    for body in [
        "local f = function() end KSR.t.keep(f) return KSR.t.kept(0) == f",
        "local f = function() end return KSR.t.any(f) == f",
        "local f = function() end local t = KSR.t.any({f, {x = f}}) return t[1] == f and t[2].x == f",
        "local f = function() end KSR.t.keep(f) KSR.t.keep(f) return KSR.t.kept(0) == KSR.t.kept(1)",
        "KSR.t.keep(print) return KSR.t.kept(0) == print",
    ] {
        assert_eq!(eval(body), Value::Bool(true), "{body}");
    }
    let mut script = load("local own = function() return 'own' end function main(f) return f and f() or own end");
    let own = script.value(&[]);
    assert!(own.as_function().is_some(), "{own}");
    assert_eq!(script.value(&[Arg::Value(&own)]), text("own"));
    let map = Value::Map(Map::from([("f".into(), own.clone())]));
    let mut same = load("function main(t) return t end");
    assert_eq!(same.call(&[Arg::Value(&map)]).map_err(|error| error.code), Err(ErrorCode::ForeignId));
}

#[test]
fn functions_cross_within_lists_and_maps() {
    let mut script = load(
        "function main() return {list = {function() return 'a' end, function() return 'b' end}, f = function() return 'c' end} end",
    );
    let result = script.value(&[]);
    let items = result.get("list").and_then(Value::as_array).expect("a list").iter().chain(result.get("f"));
    let functions: Vec<Function> = items.filter_map(Value::as_function).cloned().collect();
    let names = functions.iter().map(|f| f.call::<_, String>(&script.instance, &mut script.host, ()).expect("a name"));
    assert_eq!(names.collect::<Vec<_>>(), ["a", "b", "c"]);
    assert_eq!(error("KSR.t.int(print)").argument.as_ref().map(|a| a.got.clone()), Some("function".into()));
    assert_eq!(error("KSR.t.keep(1)").argument.as_ref().map(|a| a.expected.clone()), Some("function".into()));
}

#[test]
fn a_function_is_dropped_by_another_thread_while_the_script_runs() {
    let mut script = load(
        "local weak = setmetatable({}, {__mode = 'k'})
        function main()
            local f = function() return weak end
            weak[f] = true KSR.t.keep(f) KSR.t.drop_elsewhere() f = nil
            collectgarbage() collectgarbage()
            local n = 0 for _ in pairs(weak) do n = n + 1 end return n
        end",
    );
    for _ in 0..20 {
        // Those of earlier calls are let go when the next one begins.
        assert_eq!(script.value(&[]), Value::Int(1));
    }
}

#[test]
fn functions_that_the_host_drops_leave_nothing_behind() {
    let mut script = load(
        "function main()
            for i = 1, 1000 do KSR.t.any(function() return i end) KSR.t.any({{function() return i end}}) end
            collectgarbage() collectgarbage()
            return math.floor(collectgarbage('count'))
        end",
    );
    let kilobytes = |value: Value| value.as_i64().expect("a number");
    script.value(&[]);
    let first = kilobytes(script.value(&[]));
    for _ in 0..5 {
        let later = kilobytes(script.value(&[]));
        assert!(later <= first + 20, "{first} kB, then {later} kB");
    }
}

#[test]
fn a_script_deep_in_itself_passes_functions_or_gets_an_error() {
    for body in [
        "local function f() KSR.t.any(f) return 1 + f() end f()",
        "local function f(s) KSR.t.any({f}) return (s:gsub('.', f)) end f('x')",
        "local function f() KSR.t.any({{f}}) coroutine.wrap(f)() end f()",
    ] {
        assert_eq!(error(body).code, ErrorCode::StackOverflow, "{body}");
        assert_eq!(
            eval(&format!("local f = function() {body} end pcall(f) return KSR.t.any(f) == f")),
            Value::Bool(true)
        );
    }
}

#[test]
fn a_function_in_an_error_is_described_and_not_kept() {
    assert!(error("error(print)").message.contains("the script raised a function"));
    assert!(error("error({f = print})").message.contains("the script raised a table"));
}
