use kemi_core::{Arg, ErrorCode, Outcome, Value};

use crate::host::{eval, load, text};

#[test]
fn an_exit_or_drop_ends_only_the_innermost_callback() {
    let mut script = load(
        "function exits(name) KSR.t.note(name) pcall(KSR.x.exit) KSR.t.note('no') end
         function drops() coroutine.wrap(KSR.x.drop)() end
         function value(name) return name .. '!' end
         function main()
            local a, b, c = KSR.t.run('exits'), KSR.t.run('drops'), KSR.t.run('value')
            KSR.t.note('outer')
            return {a, b, c, KSR.t.run('exits')}
         end",
    );
    assert_eq!(script.value(&[]).to_string(), r#"["exit", "drop", "\"value!\"", "exit"]"#);
    assert_eq!(script.host.notes, ["exits", "outer", "exits"]);
}

#[test]
fn callbacks_run_inside_coroutines_and_end_there() {
    let mut script = load(
        "function exits() local co = coroutine.wrap(function() pcall(KSR.x.exit) KSR.t.note('no') end)
            pcall(co) KSR.t.note('no') end
         function main()
            local co = coroutine.wrap(function()
                local how = KSR.t.run('exits')
                coroutine.yield(how)
                pcall(KSR.t.run, 'exits')
                KSR.t.note('still in the coroutine')
                KSR.x.exit()
            end)
            local how = co()
            KSR.t.note(how)
            while true do pcall(co) end
         end",
    );
    assert_eq!(script.call(&[]).ok(), Some(Outcome::Exit));
    assert_eq!(script.host.notes, ["exit", "still in the coroutine"]);
}

#[test]
fn errors_of_a_nested_callback_come_out_with_their_own_place() {
    let mut script =
        load("function inner()\n  KSR.t.port('x')\nend\nfunction main()\n  KSR.t.run('inner')\n  return 1\nend");
    let e = script.call(&[]).expect_err("the inner one fails");
    assert_eq!((e.code, e.export.as_deref()), (ErrorCode::BadArgument, Some("KSR.t.port")));
    assert_eq!(e.place.as_ref().map(|p| p.line), Some(2));
    assert_eq!(e.callback.as_deref(), Some("inner"));
    let lines: Vec<u32> = e.traceback.iter().filter_map(|f| f.place.as_ref()).map(|p| p.line).collect();
    assert_eq!(lines, [2, 5], "the frames of the native caller follow");
    assert_eq!(e.traceback.iter().filter(|f| f.function == "function 'inner'").count(), 1, "{e:#}");
}

#[test]
fn an_inner_error_can_be_caught_outside() {
    let body = "function inner() error('in') end
        function main() local ok, e = pcall(KSR.t.run, 'inner') return {ok, e, KSR.t.count()} end";
    assert!(load(body).value(&[]).to_string().starts_with("[false, "));
    assert_eq!(eval("local ok = pcall(KSR.t.run, 'nowhere') return ok"), Value::Bool(false));
}

#[test]
fn endless_nesting_is_an_error_and_the_script_works_on() {
    let mut script = load(
        "function again() return KSR.t.run('again') end
         function main(mode) if mode then return 'fine' end return KSR.t.run('again') end",
    );
    for _ in 0..3 {
        let e = script.call(&[]).expect_err("it nests without end");
        assert_eq!(e.code, ErrorCode::NestedTooDeep);
        assert_eq!(script.value(&[kemi_core::Arg::Bool(true)]), Value::from("fine"));
    }
}

#[test]
fn natives_know_the_line_they_are_called_from() {
    assert_eq!(eval("\n\n local n = KSR.t.line()\n return n"), Value::Int(3));
    assert_eq!(eval("\n local n = coroutine.wrap(function()\n return (KSR.t.line()) end)()\n return n"), Value::Int(3));
}

#[test]
fn many_callback_arguments_fit() {
    let mut script = load("function main(...) return select('#', ...) .. select(-1, ...) end");
    let args: Vec<Arg<'_>> = (0..200).map(|_| "x".into()).collect();
    assert_eq!(script.value(&args), text("200x"));
    assert_eq!(script.value(&[Arg::Int(1), Arg::Nil, Arg::Bool(true), Arg::Int(9)]), text("49"));
    let foreign = script.call(&[Arg::Foreign("function")]);
    assert_eq!(foreign.map_err(|e| e.code), Err(ErrorCode::ValueNotConvertible));
}
