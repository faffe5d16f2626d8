//! Functions of the script as values of the host.

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{Cx, Folder, Host, body, eval, load, load_limited, load_sources};
use kemi_core::{
    Arg, ArgumentPolicy, ErrorCode, Function, Instance, Limits, Outcome, Program, ScriptError, Source, Value,
};
use kemi_rhai::RhaiEngine;

/// Calls the function that the host has kept first.
fn first(host: &mut Host, args: &[Arg<'_>]) -> Result<Outcome, ScriptError> {
    let function = host.cx.functions.first().expect("a function").clone();
    function.call(&host.instance, &mut host.cx, args)
}

fn value(host: &mut Host, args: &[Arg<'_>]) -> Value {
    match first(host, args) {
        Ok(Outcome::Value(value)) => value,
        other => panic!("{other:?}"),
    }
}

/// Loads a script and has it pass a function in a call.
fn kept(text: &str) -> Host {
    let mut host = load(text).unwrap();
    host.call(&[]).unwrap();
    host
}

fn place(error: &ScriptError) -> String {
    error.place.as_ref().map_or_else(|| "nowhere".to_owned(), ToString::to_string)
}

#[test]
fn a_function_is_kept_over_calls_and_called_after_them() {
    for function in ["|x| x + 1", "Fn(\"more\")", "more", "Fn(\"sum\").curry(1)", "private_more"] {
        let text = format!(
            "fn run() {{ KSR.t.on({function}); }} fn more(x) {{ x + 1 }} fn sum(a, b) {{ a + b }} private fn private_more(x) {{ x + 1 }}"
        );
        let mut host = kept(&text);
        for n in [1, 5] {
            assert_eq!(value(&mut host, &[n.into()]), Value::Int(n + 1), "{function}");
        }
    }
}

#[test]
fn a_closure_keeps_what_it_has_captured() {
    let mut host = kept("fn run() { let n = 10; KSR.t.on(|x| { n += x; n }); n += 1; KSR.t.on(|| n); }");
    assert_eq!(value(&mut host, &[1.into()]), Value::Int(12));
    assert_eq!(value(&mut host, &[1.into()]), Value::Int(13));
    let second = host.cx.functions[1].clone();
    assert_eq!(
        second.call::<_, i64>(&host.instance, &mut host.cx, ()).ok(),
        Some(13),
        "both have captured one variable"
    );
}

#[test]
fn a_function_is_called_by_a_native_function_while_the_script_runs() {
    assert_eq!(eval("let n = 1; let r = KSR.t.run_now(|x| { n += x; n }, 4); [r, n]").to_string(), "[5, 5]");
    assert_eq!(eval("KSR.t.run_now(|f| KSR.t.run_now(f, 3), |x| x * 2)"), Value::Int(6));
    let mut host = load("fn run() { down(0) } fn down(n) { KSR.t.run_now(Fn(\"down\"), n + 1) }").unwrap();
    assert_eq!(host.error().code, ErrorCode::NestedTooDeep);
    assert_eq!(eval("KSR.t.run_now(Fn(\"len\"), \"abc\")"), Value::Int(3), "one of the library");
}

#[test]
fn a_variable_that_is_in_use_is_an_error_and_no_more() {
    for text in [
        "let a = [1, 2]; let f = |x| a.push(x); a.for_each(|i| KSR.t.run_now(f, 1));",
        "let a = [1, 2]; let f = |x| a.push(x); a.map(|i| KSR.t.run_now(f, i));",
        "let m = #{ a: 1 }; let f = |x| { m.b = x; m }; m.filter(|k, v| KSR.t.run_now(f, 1).len() > 0);",
        "let s = \"abc\"; let f = |x| { s += x; s.len() }; for c in s { KSR.t.run_now(f, s); } KSR.t.ssi(s, s, KSR.t.run_now(f, s));",
    ] {
        let mut host = load(&format!("fn run(n) {{ if n == 0 {{ {text} }} 7 }}")).unwrap();
        if let Err(error) = host.call(&[0.into()]) {
            assert!(error.code == ErrorCode::Runtime && !error.message.contains("panicked"), "{text}: {error}");
        }
        assert_eq!(host.call(&[1.into()]).unwrap(), Outcome::Value(Value::Int(7)));
    }
}

#[test]
fn the_top_level_passes_functions_with_a_context() {
    let (registry, ..) = common::registry(ArgumentPolicy::Strict);
    let mut cx = Cx::default();
    let text = "const TAX = 3;\nlet n = 5;\nKSR.t.on(|x| n + x);\nKSR.t.on(taxed);\nfn taxed(x) { x + TAX }";
    let source = Source::text("t", text);
    let instance = Instance::load_with(&RhaiEngine, &registry, &[source], &mut cx).unwrap();
    let functions = cx.functions.clone();
    let results: Vec<i64> = functions.iter().map(|f| f.call(&instance, &mut cx, (2,)).unwrap()).collect();
    assert_eq!(results, [7, 5]);
}

#[test]
fn surplus_arguments_are_left_out_and_missing_ones_are_an_error() {
    let mut host = kept("fn run() {\n KSR.t.on(|| 7);\n KSR.t.on(|a, b| a);\n KSR.t.on(Fn(\"none\")); }");
    assert_eq!(value(&mut host, &[1.into(), 2.into()]), Value::Int(7));
    host.cx.functions.remove(0);
    let error = first(&mut host, &[1.into()]).unwrap_err();
    assert_eq!(error.code, ErrorCode::ArgumentCount);
    assert_eq!(error.message, "the closure has 2 parameters, but the host passes 1");
    assert_eq!(place(&error), "test.rhai:3");
    host.cx.functions.remove(0);
    let error = first(&mut host, &[1.into()]).unwrap_err();
    assert_eq!((error.code, place(&error).as_str()), (ErrorCode::Runtime, "test.rhai:4"), "{error}");
    assert!(error.message.contains("none"), "{error}");
}

#[test]
fn an_error_has_the_line_of_the_author() {
    let mut host = kept("fn run() {\n KSR.t.on(|x| {\n  let y = x;\n  throw \"no \" + y;\n });\n}");
    let error = first(&mut host, &[1.into()]).unwrap_err();
    assert_eq!(
        (error.code, error.message.as_str(), place(&error).as_str()),
        (ErrorCode::Runtime, "no 1", "test.rhai:4")
    );
    assert_eq!(error.traceback.iter().map(|frame| frame.function.as_str()).collect::<Vec<_>>(), ["closure"]);
    let mut host =
        kept("fn run() {\n KSR.t.on(||\n  KSR.t.place());\n KSR.t.on(|| KSR.t.add(1)); KSR.t.on(|| 0..1)\n}");
    assert_eq!(value(&mut host, &[]), Value::from("test.rhai:3"));
    host.cx.functions.remove(0);
    let error = first(&mut host, &[]).unwrap_err();
    assert_eq!((error.code, place(&error).as_str()), (ErrorCode::ArgumentCount, "test.rhai:4"));
    host.cx.functions.remove(0);
    let error = first(&mut host, &[]).unwrap_err();
    assert_eq!((error.code, place(&error).as_str()), (ErrorCode::ValueNotConvertible, "test.rhai:4"));
    // One of a nested call travels through the script.
    let error = load("fn run() {\n KSR.t.run_now(|x| {\n throw \"in\"; }, 1); }").unwrap().error();
    assert_eq!((error.message.as_str(), place(&error).as_str()), ("in", "test.rhai:3"), "{error}");
}

#[test]
fn a_limit_ends_it() {
    let limits = Limits { max_time_ms: 60, ..Limits::NONE };
    let source = Source::text("test.rhai", "fn run() { KSR.t.on(|| { try { loop { } } catch { } }); KSR.t.on(|| 1) }");
    let mut host = load_limited(ArgumentPolicy::Strict, limits, &[source]).unwrap();
    host.call(&[]).unwrap();
    assert_eq!(first(&mut host, &[]).unwrap_err().code, ErrorCode::TimeLimit);
    host.cx.functions.remove(0);
    assert_eq!(value(&mut host, &[]), Value::Int(1));
    let error = body("let f = |g| g.call(g); KSR.t.run_now(f, f)").error();
    assert_eq!(error.code, ErrorCode::StackOverflow, "{error}");
}

#[test]
fn exit_and_drop_end_it_and_nothing_around_it() {
    for (end, outcome) in [("KSR.x.exit()", Outcome::Exit), ("KSR.x.drop()", Outcome::Drop), ("exit()", Outcome::Exit)]
    {
        let text = format!("fn run() {{ KSR.t.on(|| {{ try {{ {end}; }} catch {{ }} KSR.info(\"after\"); }}); }}");
        let mut host = kept(&text);
        assert_eq!(first(&mut host, &[]).ok(), Some(outcome.clone()), "{end}");
        assert!(host.cx.log.is_empty());
        let text = format!("let r = KSR.t.run_now(|| {{ {end}; }}, ()); KSR.info(\"went on\"); r");
        let mut host = body(&text);
        let word = if outcome == Outcome::Drop { "drop" } else { "exit" };
        assert_eq!((host.value(), host.cx.log.as_slice()), (Value::from(word), &["went on".to_owned()][..]), "{end}");
    }
}

#[test]
fn it_is_given_back_as_it_was() {
    let text = "let n = 1; let f = |x| { n += x; n }; KSR.t.on(f); let g = KSR.t.latest(); \
                [type_of(g), g.call(2), f.call(3), n, KSR.t.echo([f])[0].call(4)]";
    assert_eq!(eval(text).to_string(), r#"["Fn", 3, 6, 6, 10]"#);
    // To a function of the script as an argument, also within a list.
    let mut host =
        load("fn on_reply(f, fs) { let n = 5; [f.call(1), fs[0].call(2)] } fn run() { KSR.t.on(|x| x * 10); }")
            .unwrap();
    host.call(&[]).unwrap();
    let function = Value::Function(host.cx.functions[0].clone());
    let list = Value::Array(vec![function.clone()]);
    let outcome = host.instance.call(host.reply, &mut host.cx, &[Arg::from(&function), Arg::from(&list)]).unwrap();
    assert_eq!(outcome, Outcome::Value(Value::Array(vec![10.into(), 20.into()])));
}

#[test]
fn it_crosses_within_lists_and_maps_and_as_a_result() {
    let mut host = load("fn run() { let n = 2; [|x| x + n, #{ f: |x| x * n }] }").unwrap();
    let Value::Array(items) = host.value() else { panic!("no list") };
    let functions = [items[0].as_function(), items[1].get("f").and_then(Value::as_function)];
    let call = |f: Option<&Function>| f.unwrap().call::<_, i64>(&host.instance, &mut host.cx, (5,)).unwrap();
    assert_eq!(functions.map(call), [7, 10]);
    let mut host = body("KSR.t.echo([1, #{ f: |x| x }]); 1");
    host.value();
    let nested = host.cx.values[0].as_array().unwrap()[1].get("f").unwrap().as_function().unwrap().clone();
    assert_eq!(nested.call::<_, i64>(&host.instance, &mut host.cx, (3,)).ok(), Some(3));
}

#[test]
fn one_of_another_instance_or_of_one_that_is_gone_is_an_error() {
    let text = "fn run() {\n KSR.t.on(|x| x); }\nfn on_reply(f, _r) {\n 1 + KSR.t.latest().call(2) }";
    let (mut one, mut other) = (kept(text), kept(text));
    let function = other.cx.functions[0].clone();
    let call = |host: &mut Host, function: &Function| function.call::<_, i64>(&host.instance, &mut host.cx, (1,));
    assert_eq!(call(&mut one, &function).unwrap_err().code, ErrorCode::ForeignId);
    let pass = |host: &mut Host, function: &Function| {
        let list = Value::Array(vec![Value::Function(function.clone())]);
        host.instance.call(host.reply, &mut host.cx, &[Arg::from(&list), Arg::Nil])
    };
    let error = pass(&mut one, &function).unwrap_err();
    assert_eq!(error.code, ErrorCode::ForeignId, "{error}");
    one.cx.functions.push(function.clone());
    let error = one.instance.call(one.reply, &mut one.cx, &[Arg::Nil, Arg::Nil]).unwrap_err();
    assert_eq!((error.code, place(&error).as_str()), (ErrorCode::ForeignId, "test.rhai:4"), "{error}");
    assert_eq!(error.export.as_deref(), Some("KSR.t.latest"));
    other.cx.functions.clear();
    drop(other);
    assert_eq!(call(&mut one, &function).unwrap_err().code, ErrorCode::FunctionGone);
    assert_eq!(pass(&mut one, &function).unwrap_err().code, ErrorCode::FunctionGone);
    let error = one.instance.call(one.reply, &mut one.cx, &[Arg::Nil, Arg::Nil]).unwrap_err();
    assert_eq!((error.code, place(&error).as_str()), (ErrorCode::FunctionGone, "test.rhai:4"), "{error}");
    assert!(one.cx.functions.pop().is_some() && value(&mut one, &[1.into()]) == Value::Int(1));
}

#[test]
fn a_reload_ends_the_functions_of_the_former_version() {
    let folder = Folder::new("functions");
    let file = folder.file("s.rhai", "fn run() { KSR.t.on(|| 1); }");
    let (registry, run, _) = common::registry(ArgumentPolicy::Strict);
    let program = Program::open(Arc::new(RhaiEngine), &registry, &[Source::File(file)]).unwrap();
    let mut worker = program.worker("w", None).unwrap();
    let mut cx = Cx::default();
    worker.instance().call(run, &mut cx, &[]).unwrap();
    assert_eq!(cx.functions[0].clone().call::<_, i64>(worker.instance(), &mut cx, ()).ok(), Some(1));
    folder.file("s.rhai", "fn run() { KSR.t.on(|| 2); }");
    program.reload(Duration::from_millis(1)).unwrap();
    assert!(worker.refresh());
    let error = cx.functions[0].clone().call::<_, i64>(worker.instance(), &mut cx, ()).unwrap_err();
    assert_eq!(error.code, ErrorCode::FunctionGone);
    worker.instance().call(run, &mut cx, &[]).unwrap();
    assert_eq!(cx.functions[1].clone().call::<_, i64>(worker.instance(), &mut cx, ()).ok(), Some(2));
}

#[test]
fn another_thread_may_drop_it_while_the_script_runs() {
    let text = "let t = 0; for i in 0..100 { let n = i; KSR.t.on(|| n); KSR.t.forget(); KSR.t.on(|x| x + n); \
                t += KSR.t.run_now(KSR.t.latest(), 1); } t";
    let mut host = body(text);
    for _ in 0..3 {
        assert_eq!(host.value(), Value::Int(5050));
        assert_eq!(value(&mut host, &[1.into()]), Value::Int(100));
    }
}

#[test]
fn the_code_of_a_module_sees_its_own_functions() {
    let folder = Folder::new("function-modules");
    folder.file("m.rhai", "private fn helper(x) {\n x + 100 }\nfn register() {\n let n = 1;\n KSR.t.on(|x| helper(x) + n);\n KSR.t.on(Fn(\"helper\")); KSR.t.on(|x| {\n throw \"m\" }); }");
    let main = folder.file("main.rhai", "import \"m\" as m;\nfn helper(x) { x }\nfn run() { m::register(); }");
    let mut host = load_sources(ArgumentPolicy::Strict, &[Source::File(main)]).unwrap();
    host.call(&[]).unwrap();
    assert_eq!(value(&mut host, &[5.into()]), Value::Int(106));
    host.cx.functions.remove(0);
    assert_eq!(value(&mut host, &[5.into()]), Value::Int(105));
    host.cx.functions.remove(0);
    let error = first(&mut host, &[5.into()]).unwrap_err();
    assert!(place(&error).ends_with("m.rhai:7"), "{error}");
    // As a result it has no more than the script itself can call.
    folder.file("made.rhai", "fn make() { |x| x + 1 }");
    let main = folder.file("main3.rhai", "import \"made\" as made;\nfn run() { let f = made::make(); f.call(1) }");
    let error = load_sources(ArgumentPolicy::Strict, &[Source::File(main)]).unwrap().error();
    assert_eq!(error.code, ErrorCode::Runtime, "{error}");
    // At the module's top level.
    folder.file("top.rhai", "private fn helper(x) { x + 200 }\nKSR.t.on(|x| helper(x));\nexport const A = 1;");
    let main =
        folder.file("main2.rhai", "import \"top\" as top;\nfn helper(x) { x + top::A }\nKSR.t.on(|x| helper(x));");
    let (registry, ..) = common::registry(ArgumentPolicy::Strict);
    let mut cx = Cx::default();
    let instance = Instance::load_with(&RhaiEngine, &registry, &[Source::File(main)], &mut cx).unwrap();
    let functions = cx.functions.clone();
    let results: Vec<i64> = functions.iter().map(|f| f.call(&instance, &mut cx, (5,)).unwrap()).collect();
    assert_eq!(results, [205, 6]);
}
