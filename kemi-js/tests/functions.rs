//! Functions of the script that the host keeps.

mod common;

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use common::{Host, Loaded, error, limited, load, load_limited, registry, text};
use kemi_core::limits::held_bytes;
use kemi_core::{
    Arg, ArgumentPolicy, CountingAllocator, ErrorCode, Function, Instance, Limits, Outcome, Program, ScriptError,
    Source, Value,
};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator::system();

/// Loads a script, calls its `f`, and gives what the host has kept.
fn kept(code: &str) -> (Loaded, Vec<Function>) {
    let mut loaded = load(code);
    loaded.value(&[]);
    let functions = std::mem::take(&mut loaded.host.functions);
    (loaded, functions)
}

fn call(loaded: &mut Loaded, function: &Function, arg: impl Into<Value>) -> Result<Outcome, ScriptError> {
    let arg = arg.into();
    function.call(&loaded.instance, &mut loaded.host, (&arg,))
}

fn value(loaded: &mut Loaded, function: &Function, arg: impl Into<Value>) -> Value {
    match call(loaded, function, arg) {
        Ok(Outcome::Value(value)) => value,
        other => panic!("no value: {other:?}"),
    }
}

#[test]
fn a_closure_keeps_its_state_over_calls_and_collections() {
    let code = "function f() { let n = 40; KSR.t.on(m => { n += m; return n; }); }";
    let (mut loaded, functions) = kept(code);
    assert_eq!(value(&mut loaded, &functions[0], 1), Value::Int(41));
    boa_gc::force_collect();
    loaded.value(&[]);
    boa_gc::force_collect();
    assert_eq!(value(&mut loaded, &functions[0], 1), Value::Int(42));
    let fresh = loaded.host.functions.remove(0);
    assert_eq!(value(&mut loaded, &fresh, 1), Value::Int(41));
}

#[test]
fn functions_of_every_kind_can_be_called() {
    let code = "const o = { n: 1, method(m) { return m + 1; } };
        function f() {
            KSR.t.on_all([function (m) { return m + 1; }, o.method, (m => m + 1).bind(null), async m => m + 1,
                new Proxy(m => m + 1, {}), KSR.t.add.bind(null, 1)]);
            KSR.t.on(Math.abs);
        }";
    let (mut loaded, functions) = kept(code);
    assert_eq!(functions.len(), 7);
    for function in &functions[..6] {
        assert_eq!(value(&mut loaded, function, 41), Value::Int(42));
    }
    assert_eq!(value(&mut loaded, &functions[6], -42), Value::Int(42));
}

#[test]
fn a_class_is_no_function_and_a_frozen_function_is_one() {
    let failed = error("function f() {\n KSR.t.on(class Order {}); }");
    assert_eq!(failed.code, ErrorCode::BadArgument, "{failed}");
    assert!(failed.message.contains("expected function, got class"), "{failed}");
    let (mut loaded, functions) =
        kept("function f() { KSR.t.on(Object.freeze(function (n) { return n; })); KSR.t.on(Object.freeze(n => n)); }");
    for function in &functions {
        assert_eq!(value(&mut loaded, function, 42), Value::Int(42));
    }
}

#[test]
fn a_native_function_calls_it_while_the_script_runs() {
    let code = "function f() { let seen = 0; const g = n => { seen += n; return KSR.t.add(seen, 1); };
        return [KSR.t.run(g, 20), KSR.t.run(n => KSR.t.run(g, n), 20), seen]; }";
    assert_eq!(load(code).value(&[]), Value::Array(vec![21.into(), 41.into(), 40.into()]));
}

#[test]
fn an_error_in_it_has_the_line_of_its_author() {
    let code = "function f() {\n  KSR.t.on(name => {\n    const o = {};\n    o[name]();\n  });\n}";
    let (mut loaded, functions) = kept(code);
    let failed = call(&mut loaded, &functions[0], "x").unwrap_err();
    assert_eq!(failed.place.as_ref().map(ToString::to_string).as_deref(), Some("t.js:4"), "{failed:#}");
    assert_eq!((failed.code, failed.engine), (ErrorCode::Runtime, "js"), "{failed:#}");
    let code = "function f() {\n  try {\n    KSR.t.run(() => {\n      throw new Error('mine');\n    }, 1);\n  } catch (e) {\n    \
                return e.message;\n  }\n}";
    assert_eq!(load(code).value(&[]), text("Error: mine"));
    let code = "function f() {\n  KSR.t.run(() => {\n    throw new Error('mine');\n  }, 1);\n}";
    let failed = error(code);
    assert_eq!(failed.place.as_ref().map(|place| place.line), Some(3), "{failed:#}");
}

#[test]
fn limits_end_it() {
    let limits = Limits { max_time_ms: 100, ..Limits::NONE };
    for limits in [limits, Limits { max_instructions: 1_000_000, ..limits }] {
        let sources = [Source::text("t.js", "function f() { KSR.t.on(n => { while (n); return 42; }); }")];
        let mut loaded = load_limited(&sources, ArgumentPolicy::Strict, limits).unwrap();
        loaded.value(&[]);
        let function = loaded.host.functions.remove(0);
        let failed = call(&mut loaded, &function, 1).unwrap_err();
        assert!(matches!(failed.code, ErrorCode::TimeLimit | ErrorCode::InstructionLimit), "{failed}");
        assert_eq!(value(&mut loaded, &function, 0), Value::Int(42), "works on");
    }
    let (mut loaded, functions) = kept("function f() { const g = () => g() + 1; KSR.t.on(g); }");
    assert_eq!(call(&mut loaded, &functions[0], 0).unwrap_err().code, ErrorCode::StackOverflow);
}

#[test]
fn an_exit_and_a_drop_end_it_and_nothing_else() {
    let code = "function f() { KSR.t.on(how => { try { KSR.x[how](); } finally { KSR.t.note('finally'); } }); }";
    let (mut loaded, functions) = kept(code);
    assert_eq!(call(&mut loaded, &functions[0], "exit").unwrap(), Outcome::Exit);
    assert_eq!(call(&mut loaded, &functions[0], "drop").unwrap(), Outcome::Drop);
    let code = "function f() { return KSR.t.run(() => { KSR.x.exit(); }, 0) + KSR.t.run(() => { KSR.x.drop(); }, 0); }";
    assert_eq!(load(code).value(&[]), text("exitdrop"));
    assert!(loaded.host.notes.is_empty());
    let (mut loaded, functions) = kept("function f() { KSR.t.on(KSR.x.exit); }");
    assert_eq!(functions[0].call::<_, Outcome>(&loaded.instance, &mut loaded.host, ()).unwrap(), Outcome::Exit);
}

#[test]
fn it_comes_back_as_the_very_same_function() {
    let code = "const g = () => 1; let given;
        function f(back) {
            if (back === undefined) { KSR.t.on(g); KSR.t.on_all([g, g]); return; }
            return [back[0] === g, back[1].h === g, KSR.t.kept(0) === g, KSR.t.kept(1) === g, KSR.t.echo([g])[0] === g,
                KSR.t.run(x => x === g, g)];
        }";
    let (mut loaded, functions) = kept(code);
    loaded.host.functions = functions.clone();
    let map = kemi_core::Map::from([("h".into(), Value::Function(functions[2].clone()))]);
    let back = Value::Array(vec![functions[0].clone().into(), map.into()]);
    assert_eq!(loaded.value(&[(&back).into()]), Value::Array(vec![true.into(); 6]));
}

#[test]
fn the_result_may_be_a_function() {
    let mut loaded = load("function f(n) { return [m => n + m]; }");
    let Value::Array(items) = loaded.value(&[40.into()]) else { panic!("no list") };
    let function = items[0].as_function().expect("a function").clone();
    assert_eq!(value(&mut loaded, &function, 2), Value::Int(42));
}

#[test]
fn the_top_level_may_pass_one() {
    let (registry, _) = registry(ArgumentPolicy::Strict);
    let mut host = Host::default();
    let script = Source::text("t.js", "let n = 41; KSR.t.on(() => ++n);");
    let instance = Instance::load_with(&kemi_js::JsEngine, &registry, &[script], &mut host).expect("loads");
    let function = host.functions.remove(0);
    assert_eq!(function.call::<_, i64>(&instance, &mut host, ()).expect("runs"), 42);
}

#[test]
fn one_of_another_interpreter_is_an_error() {
    let code = "function f(x) { if (x) return x; KSR.t.on(() => 1); }\nfunction back() {\n  return KSR.t.kept(0);\n}";
    let (mut other, functions) = kept(code);
    let mut loaded = load(&code.replace("if (x) return x;", "if (x) return back();"));
    let foreign = Value::Function(functions[0].clone());
    assert_eq!(loaded.call(&[(&foreign).into()]).unwrap_err().code, ErrorCode::ForeignId);
    assert_eq!(call(&mut loaded, &functions[0], 1).unwrap_err().code, ErrorCode::ForeignId);
    loaded.host.functions = functions.clone();
    let failed = loaded.call(&[Arg::Bool(true)]).unwrap_err();
    assert_eq!(failed.code, ErrorCode::ForeignId, "{failed}");
    assert_eq!(failed.place.as_ref().map(|place| place.line), Some(3), "{failed:#}");
    assert_eq!(failed.export.as_deref(), Some("KSR.t.kept"));
    assert_eq!(value(&mut other, &functions[0], 1), Value::Int(1));
    drop(other);
    let failed = loaded.call(&[Arg::Bool(true)]).unwrap_err();
    assert_eq!(failed.code, ErrorCode::FunctionGone, "{failed}");
    assert_eq!(loaded.call(&[(&foreign).into()]).unwrap_err().code, ErrorCode::FunctionGone);
}

#[test]
fn after_a_reload_and_after_the_end_it_is_gone() {
    kemi_js::link();
    let (registry, f) = registry(ArgumentPolicy::Strict);
    let script = Source::text("t.js", "function f() { KSR.t.on(() => 42); }");
    let engine = Arc::new(kemi_js::JsEngine);
    let program = Arc::new(Program::open(engine, &registry, &[script]).expect("opens"));
    let mut worker = program.worker("w", None).expect("loads");
    let mut host = Host::default();
    worker.instance().call(f, &mut host, &[]).expect("runs");
    let function = host.functions.remove(0);
    assert_eq!(function.call::<_, i64>(worker.instance(), &mut host, ()).expect("runs"), 42);
    let reloading = std::thread::spawn({
        let program = program.clone();
        move || program.reload(Duration::from_secs(60)).map(drop)
    });
    while !worker.refresh() {
        std::thread::sleep(Duration::from_millis(5));
    }
    reloading.join().expect("no panic").expect("reloads");
    let failed = function.call::<_, i64>(worker.instance(), &mut host, ()).unwrap_err();
    assert_eq!(failed.code, ErrorCode::FunctionGone, "{failed}");
    assert!(function.is_gone());
    drop(worker);
    assert!(function.is_gone());
}

#[test]
fn one_may_be_dropped_on_another_thread_while_the_script_runs() {
    let (sender, receiver) = channel::<Function>();
    let dropping = std::thread::spawn(move || receiver.into_iter().for_each(drop));
    let mut loaded = load("function f() { for (let i = 0; i < 50; i++) KSR.t.on(() => i); return 1; }");
    for _ in 0..20 {
        loaded.value(&[]);
        loaded.host.functions.drain(..).for_each(|function| sender.send(function).expect("it listens"));
    }
    drop(sender);
    dropping.join().expect("no panic");
    loaded.value(&[]);
    // All that has been dropped is free again.
    let names: Vec<String> = loaded.host.functions.iter().map(|function| format!("{function:?}")).collect();
    assert!(names.iter().all(|name| name.len() < "function 10000".len()), "{names:?}");
    let function = loaded.host.functions.swap_remove(7);
    assert_eq!(value(&mut loaded, &function, 0), Value::Int(7));
}

#[test]
fn one_that_its_own_call_lets_go_of_runs_on() {
    let code = "function f() { let n = 41; KSR.t.on(() => { KSR.t.off(); KSR.t.run(() => 0, 0); n++; return n; }); }";
    let (mut loaded, mut functions) = kept(code);
    loaded.host.functions = functions.clone();
    let function = functions.remove(0);
    assert_eq!(value(&mut loaded, &function, 0), Value::Int(42));
    drop(function);
    loaded.value(&[]);
    boa_gc::force_collect();
    let function = loaded.host.functions.remove(0);
    assert_eq!(value(&mut loaded, &function, 0), Value::Int(42));
}

#[test]
fn those_that_nobody_keeps_take_no_memory_from_call_to_call() {
    let limits = Limits { max_memory: 32 << 20, ..Limits::NONE };
    let code =
        "function f(keep) { for (let i = 0; i < 100; i++) { const big = 'x'.repeat(10000) + i; KSR.t.echo(() => big); }
        if (keep) { KSR.t.off(); const big = 'y'.repeat(1e5); KSR.t.on(() => big.length); } return 1; }";
    let mut loaded = load_limited(&[Source::text("t.js", code)], ArgumentPolicy::Strict, limits).unwrap();
    for i in 0..100 {
        loaded.value(&[Arg::Bool(i % 2 == 0)]);
    }
    let function = loaded.host.functions.remove(0);
    assert_eq!(value(&mut loaded, &function, 0), Value::Int(100_000));
}

#[test]
fn a_kept_function_does_not_keep_its_interpreter() {
    const CODE: &str = "const all = { big: 'x'.repeat(1e5) }; all.self = all; all.root = KSR; globalThis.all = all;
        function f() { const g = () => [all, f, g, globalThis]; all.g = g; KSR.t.on(g); KSR.t.on_all([g, f]); }";
    let (sender, receiver) = channel::<Vec<Function>>();
    let dropping = std::thread::spawn(move || receiver.into_iter().for_each(drop));
    let (registry, f) = limited(ArgumentPolicy::Strict, Limits::NONE);
    let mut left = Vec::new();
    let mut held = 0;
    for i in 0..1000 {
        let mut host = Host::default();
        let script = Source::text("t.js", CODE);
        let instance = Instance::load(&kemi_js::JsEngine, &registry, &[script]).expect("loads");
        instance.call(f, &mut host, &[]).expect("runs");
        assert_eq!(host.functions.len(), 3);
        match i % 3 {
            0 => drop(host),
            1 => sender.send(host.functions).expect("it listens"),
            _ => left.extend(host.functions),
        }
        drop(instance);
        assert!(left.iter().all(Function::is_gone));
        left.clear();
        if i == 99 {
            held = held_bytes();
        }
    }
    let grown = held_bytes() - held;
    assert!(grown < 4 << 20, "900 instances have left {grown} bytes");
    drop(sender);
    dropping.join().expect("no panic");
}
