//! Functions of a script that the host keeps.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use kemi_core::{
    Arg, CallbackId, Callbacks, ErrorCode, Function, Instance, Limits, Map, NativeExit, Outcome, Program, Registry,
    Script, ScriptError, Source, Value,
};
use kemi_macros::kemi_export;
use kemi_python::PythonEngine;

#[derive(Default)]
struct Cx {
    kept: Vec<Function>,
    value: Value,
    notes: Vec<String>,
}

impl Cx {
    fn first(&self) -> Function {
        self.kept[0].clone()
    }
}

/// Keeps a function.
#[kemi_export(module = "f")]
fn keep(cx: &mut Cx, function: Function) {
    cx.kept.push(function);
}

#[kemi_export(module = "f")]
fn keep_any(cx: &mut Cx, value: Value) {
    cx.value = value;
}

#[kemi_export(module = "f")]
fn kept(cx: &mut Cx, index: usize) -> Result<Function, String> {
    cx.kept.get(index).cloned().ok_or_else(|| "there is none".to_owned())
}

#[kemi_export(module = "f")]
fn kept_any(cx: &mut Cx) -> Value {
    cx.value.clone()
}

#[kemi_export(module = "f")]
fn forget(cx: &mut Cx) {
    cx.kept.clear();
    cx.value = Value::Nil;
}

/// Calls a function at once and tells how that ended.
#[kemi_export(module = "f")]
fn call(cx: &mut Cx, script: &Script<'_>, function: Function, value: Value) -> Result<String, ScriptError> {
    Ok(match script.call_function(&function, cx, &[Arg::from(&value)])? {
        Outcome::Value(value) => value.to_string(),
        Outcome::Exit => "exit".to_owned(),
        Outcome::Drop => "drop".to_owned(),
    })
}

#[kemi_export(module = "f")]
fn call_all(cx: &mut Cx, script: &Script<'_>, functions: Vec<Function>) -> Result<i64, ScriptError> {
    let mut sum = 0;
    for function in &functions {
        if let Outcome::Value(value) = script.call_function(function, cx, &[])? {
            sum += value.as_i64().unwrap_or(0);
        }
    }
    Ok(sum)
}

#[kemi_export(module = "f")]
fn end(_cx: &mut Cx) -> Result<(), NativeExit> {
    Err(NativeExit::Drop)
}

#[kemi_export(module = "f")]
fn note(cx: &mut Cx, text: &str) {
    cx.notes.push(text.to_owned());
}

#[kemi_export(module = "f")]
fn take_text(_cx: &mut Cx, text: &str) -> usize {
    text.len()
}

struct Host {
    registry: Registry<Cx>,
    main: CallbackId,
    pass: CallbackId,
}

impl Host {
    fn new() -> Host {
        Host::limited(Limits::default())
    }

    fn limited(limits: Limits) -> Host {
        kemi_python::link();
        let mut callbacks = Callbacks::new();
        let main = callbacks.optional("main", "main", &[]);
        let pass = callbacks.optional("pass", "give", &["value"]);
        let registry = Registry::builder().root("app").module("f").limits(limits).callbacks(callbacks);
        Host { registry: registry.build().expect("the test's registry"), main, pass }
    }

    #[track_caller]
    fn load(&self, text: &str) -> (Instance<Cx>, Cx) {
        let mut cx = Cx::default();
        let source = Source::text("test.py", text);
        let instance = Instance::load_with(&PythonEngine, &self.registry, &[source], &mut cx);
        (instance.unwrap_or_else(|error| panic!("{error:#}")), cx)
    }

    /// Loads a script and calls its `main`, whose lines are the body.
    #[track_caller]
    fn run(&self, body: &str) -> (Instance<Cx>, Cx, Result<Outcome, ScriptError>) {
        let lines: String = body.lines().map(|line| format!("    {line}\n")).collect();
        let (instance, mut cx) = self.load(&format!("def main():\n{lines}"));
        let result = instance.call(self.main, &mut cx, &[]);
        (instance, cx, result)
    }
}

fn place(error: &ScriptError) -> String {
    error.place.as_ref().map(ToString::to_string).unwrap_or_default()
}

#[test]
fn a_function_that_the_host_keeps_is_called_later_with_its_own_state() {
    let host = Host::new();
    let text = "
def counter():
    n = 0
    def count(by, text='x'):
        nonlocal n
        n += by
        return n
    return count
app.f.keep(counter())
app.f.keep(lambda: 'plain')
class Order:
    price = 3
    def total(self, count): return self.price * count
app.f.keep(Order().total)
app.f.keep(len)
import functools
app.f.keep(functools.partial(max, 5))
class Callable:
    def __call__(self): return 'called'
app.f.keep(Callable())
app.f.keep(app.f.take_text)
";
    let (instance, mut cx) = host.load(text);
    let kept = cx.kept.clone();
    assert_eq!(kept.len(), 7);
    for n in 1..=3i64 {
        let result: i64 = kept[0].call(&instance, &mut cx, (2i64,)).unwrap_or_else(|error| panic!("{error:#}"));
        assert_eq!(result, 2 * n);
    }
    assert_eq!(kept[1].call::<_, String>(&instance, &mut cx, ()).unwrap(), "plain");
    assert_eq!(kept[2].call::<_, i64>(&instance, &mut cx, (4i64,)).unwrap(), 12);
    assert_eq!(kept[3].call::<_, i64>(&instance, &mut cx, ("four",)).unwrap(), 4);
    assert_eq!(kept[4].call::<_, i64>(&instance, &mut cx, (9i64,)).unwrap(), 9);
    assert_eq!(kept[5].call::<_, String>(&instance, &mut cx, ()).unwrap(), "called");
    assert_eq!(kept[6].call::<_, i64>(&instance, &mut cx, ("abc",)).unwrap(), 3);
}

#[test]
fn a_native_function_calls_what_it_was_given_while_the_script_runs() {
    let host = Host::new();
    let (_, cx, result) = host.run(
        "seen = []
def inner(value):
    seen.append(value)
    app.f.note('inner')
    return app.f.call(lambda v: v + [1], value)
assert app.f.call(inner, [5]) == '\"[5, 1]\"', app.f.call(inner, [5])
assert app.f.call_all([lambda: 1, lambda: 2, lambda: 3]) == 6
return seen",
    );
    let seen = Value::Array(vec![Value::Array(vec![5.into()])]);
    assert_eq!(result.unwrap_or_else(|error| panic!("{error:#}")), Outcome::Value(seen));
    assert_eq!(cx.notes, ["inner"]);
}

#[test]
fn a_function_given_back_is_the_very_same() {
    let host = Host::new();
    let (instance, mut cx) = host.load(
        "def f(): pass
def give(value):
    if type(value) is list: value = value[0]['f']
    return value is f
def main():
    app.f.keep(f)
    app.f.keep(f)
    assert app.f.kept(0) is f and app.f.kept(1) is f
    app.f.keep_any([1, {'f': f}, b'x'])
    got = app.f.kept_any()
    assert got[1]['f'] is f and got[2] == b'x', got
    return [f, {'f': f}]
",
    );
    let result = instance.call(host.main, &mut cx, &[]).unwrap_or_else(|error| panic!("{error:#}"));
    let Outcome::Value(result) = result else { panic!("{result:?}") };
    let f = result.as_array().and_then(|items| items[0].as_function()).cloned().expect("a function");
    assert!(result.as_array().and_then(|items| items[1].get("f")?.as_function()).is_some());
    let alone = Value::Function(f.clone());
    let nested = Value::Array(vec![Value::Map(Map::from([("f".into(), f.into())]))]);
    for value in [alone, nested] {
        assert_eq!(instance.call(host.pass, &mut cx, &[Arg::from(&value)]).unwrap(), Outcome::Value(true.into()));
    }
}

#[test]
fn its_errors_have_the_authors_line() {
    let host = Host::new();
    let (instance, mut cx) =
        host.load("def fails(value):\n    x = 1\n    return x / 0\napp.f.keep(fails)\napp.f.keep(lambda: object())\n");
    let f = cx.first();
    let error = f.call::<_, Value>(&instance, &mut cx, (1i64,)).unwrap_err();
    assert_eq!((error.code, place(&error).as_str()), (ErrorCode::Runtime, "test.py:3"), "{error:#}");
    assert_eq!(error.traceback.len(), 1, "{error:#}");
    let error = f.call::<_, Value>(&instance, &mut cx, ()).unwrap_err();
    assert!(error.message.contains("missing 1 required positional argument"), "{error:#}");
    let f = cx.kept[1].clone();
    let error = f.call::<_, Value>(&instance, &mut cx, ()).unwrap_err();
    assert_eq!((error.code, place(&error).as_str()), (ErrorCode::ValueNotConvertible, "test.py:5"), "{error:#}");
    assert_eq!(error.message, "the result is an object, which has no counterpart outside the script");
    let (_, _, result) = host.run("def fails(value):\n    return value / 0\napp.f.call(fails, 1)");
    let error = result.unwrap_err();
    assert_eq!((error.code, place(&error).as_str()), (ErrorCode::Runtime, "test.py:3"), "{error:#}");
}

#[test]
fn an_exit_and_a_drop_end_the_function_and_not_its_caller() {
    let host = Host::new();
    let (instance, mut cx, result) = host.run(
        "def leave(value):
    try: app.x.exit()
    except: pass
    app.f.note('after')
def lose(value):
    try: app.f.end()
    finally: app.f.note('finally')
app.f.keep(leave)
return [app.f.call(leave, 1), app.f.call(lose, 1), app.f.call(exit, None)]",
    );
    let expected = ["exit", "drop", "exit"].map(Value::from).to_vec();
    assert_eq!(result.unwrap_or_else(|error| panic!("{error:#}")), Outcome::Value(Value::Array(expected)));
    assert!(cx.notes.is_empty(), "{:?}", cx.notes);
    let f = cx.first();
    assert_eq!(f.call::<_, Outcome>(&instance, &mut cx, (1i64,)).unwrap(), Outcome::Exit);
}

#[test]
fn its_time_is_limited() {
    let host = Host::limited(Limits { max_time_ms: 50, ..Limits::default() });
    let forever =
        "def forever(value=None):\n    while True:\n        try:\n            while True: pass\n        except: pass";
    let (instance, mut cx, result) = host.run(&format!("{forever}\napp.f.keep(forever)"));
    result.unwrap();
    let f = cx.first();
    let error = f.call::<_, Value>(&instance, &mut cx, ()).unwrap_err();
    assert_eq!(error.code, ErrorCode::TimeLimit, "{error:#}");
    let (_, cx, result) =
        host.run(&format!("{forever}\ntry: app.f.call(forever, 1)\nexcept: pass\napp.f.note('after')"));
    let error = result.unwrap_err();
    assert_eq!(error.code, ErrorCode::TimeLimit, "{error:#}");
    assert!(cx.notes.is_empty());
}

#[test]
fn functions_of_a_script_that_is_gone_or_of_another_are_refused() {
    let host = Host::new();
    let script = "
app.f.keep(lambda: 7)
def give(value): return value()
def main():
    got = app.f.kept(0)
    return got()
";
    let (first, mut cx) = host.load(script);
    let (second, mut other) = host.load(script);
    let f = cx.first();
    let argument = Value::Array(vec![Value::Function(f.clone())]);
    // Of another instance.
    let error = f.call::<_, Value>(&second, &mut other, ()).unwrap_err();
    assert_eq!(error.code, ErrorCode::ForeignId, "{error:#}");
    let error = second.call(host.pass, &mut other, &[Arg::from(&argument)]).unwrap_err();
    assert_eq!(error.code, ErrorCode::ForeignId, "{error:#}");
    other.kept.insert(0, f.clone());
    let error = second.call(host.main, &mut other, &[]).unwrap_err();
    let expected = (ErrorCode::ForeignId, "test.py:5", Some("app.f.kept"));
    assert_eq!((error.code, place(&error).as_str(), error.export.as_deref()), expected, "{error:#}");
    // Of one that is gone.
    assert_eq!(f.call::<_, i64>(&first, &mut cx, ()).unwrap(), 7);
    drop(first);
    assert!(f.is_gone());
    let error = f.call::<_, Value>(&second, &mut other, ()).unwrap_err();
    assert_eq!(error.code, ErrorCode::FunctionGone, "{error:#}");
    let error = second.call(host.pass, &mut other, &[Arg::from(&argument)]).unwrap_err();
    assert_eq!(error.code, ErrorCode::FunctionGone, "{error:#}");
    let error = second.call(host.main, &mut other, &[]).unwrap_err();
    assert_eq!((error.code, place(&error).as_str()), (ErrorCode::FunctionGone, "test.py:5"), "{error:#}");
    // The script can catch it.
    let (_, _, result) = host.run("app.f.keep_any(main)\nreturn app.f.kept_any() is main");
    assert_eq!(result.unwrap(), Outcome::Value(true.into()));
}

#[test]
fn after_a_reload_the_functions_of_the_old_version_are_gone() {
    let host = Host::new();
    let path = std::env::temp_dir().join(format!("kemi-functions-{}.py", std::process::id()));
    let write = |n: i64| std::fs::write(&path, format!("def main():\n    app.f.keep(lambda: {n})\n")).unwrap();
    write(1);
    let program = Program::open(Arc::new(PythonEngine), &host.registry, &[Source::File(path.clone())]).unwrap();
    let mut worker = program.worker("w", None).unwrap();
    let mut cx = Cx::default();
    worker.instance().call(host.main, &mut cx, &[]).unwrap();
    let old = cx.first();
    assert_eq!(old.call::<_, i64>(worker.instance(), &mut cx, ()).unwrap(), 1);
    write(2);
    program.reload(Duration::ZERO).unwrap();
    assert!(worker.refresh());
    let _ = std::fs::remove_file(&path);
    let error = old.call::<_, Value>(worker.instance(), &mut cx, ()).unwrap_err();
    assert_eq!(error.code, ErrorCode::FunctionGone, "{error:#}");
    cx.kept.clear();
    worker.instance().call(host.main, &mut cx, &[]).unwrap();
    assert_eq!(cx.first().call::<_, i64>(worker.instance(), &mut cx, ()).unwrap(), 2);
}

#[test]
fn another_thread_may_drop_it_while_the_script_runs() {
    let host = Host::new();
    let (instance, mut cx, result) = host.run("app.f.keep(main)\nreturn None");
    result.unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let (send, receive) = std::sync::mpsc::channel::<Function>();
    let dropper = std::thread::spawn({
        let done = done.clone();
        move || {
            for function in receive {
                drop(function);
            }
            done.store(true, Ordering::Release);
        }
    });
    for _ in 0..200 {
        instance.call(host.main, &mut cx, &[]).unwrap();
        cx.kept.drain(..).for_each(|function| send.send(function).unwrap());
    }
    drop(send);
    dropper.join().unwrap();
    assert!(done.load(Ordering::Acquire));
    instance.call(host.main, &mut cx, &[]).unwrap();
    let f = cx.first();
    assert_eq!(f.call::<_, Outcome>(&instance, &mut cx, ()).unwrap(), Outcome::Value(Value::Nil));
}

#[test]
fn what_is_dropped_is_released_before_the_next_call() {
    let host = Host::new();
    let text = "
import weakref
alive = weakref.WeakSet()
def main():
    def f(): return 1
    alive.add(f)
    app.f.keep(f)
    app.f.keep_any([f, f])
def give(value):
    return len(alive)
";
    let (instance, mut cx) = host.load(text);
    let alive = |cx: &mut Cx| instance.call(host.pass, cx, &[Arg::Nil]).unwrap();
    for _ in 0..100 {
        instance.call(host.main, &mut cx, &[]).unwrap();
        assert_eq!(alive(&mut cx), Outcome::Value(1.into()));
        (cx.kept, cx.value) = (Vec::new(), Value::Nil);
        assert_eq!(alive(&mut cx), Outcome::Value(0.into()));
    }
    instance.call(host.main, &mut cx, &[]).unwrap();
    assert!(format!("{:?}", cx.first()).len() <= "function 99".len(), "slots are not used again: {:?}", cx.first());
}

#[test]
fn the_finalizer_of_a_released_function_has_the_time_of_a_call() {
    let host = Host::limited(Limits { max_time_ms: 50, ..Limits::default() });
    let text = "
class Endless:
    def __call__(self): pass
    def __del__(self):
        while True:
            try:
                while True: pass
            except: pass
def main():
    app.f.keep(Endless())
def give(value):
    return value
";
    let (instance, mut cx) = host.load(text);
    instance.call(host.main, &mut cx, &[]).unwrap();
    cx.kept.clear();
    let begin = Instant::now();
    assert_eq!(instance.call(host.pass, &mut cx, &[Arg::Int(3)]).unwrap(), Outcome::Value(3.into()));
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
}

#[test]
fn the_finalizer_of_a_released_function_may_do_anything() {
    let host = Host::new();
    let text = "
seen = []
class Meddler:
    def __call__(self): pass
    def __del__(self):
        try:
            app.f.note('x')
        except app.Error as e:
            seen.append(str(e))
        try:
            app.f.keep(main)
        except app.Error as e:
            seen.append(str(e))
def main():
    app.f.keep(Meddler())
def give(value):
    return seen
";
    let (instance, mut cx) = host.load(text);
    instance.call(host.main, &mut cx, &[]).unwrap();
    cx.kept.clear();
    let Outcome::Value(seen) = instance.call(host.pass, &mut cx, &[Arg::Nil]).unwrap() else { panic!() };
    let seen: Vec<&str> = seen.as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    assert_eq!(seen.len(), 2, "{seen:?}");
    assert!(seen.iter().all(|text| text.contains("needs the host's context")), "{seen:?}");
}

#[test]
fn what_is_no_function_is_refused_by_its_name() {
    let host = Host::new();
    for (expression, name) in [
        ("int", "class"),
        ("object()", "object"),
        ("(n for n in ())", "generator"),
        ("app.f", "module"),
        ("{1}", "set"),
        ("__import__('datetime').datetime(2020, 1, 1)", "datetime"),
        ("5", "integer 5"),
    ] {
        let (_, _, result) = host.run(&format!("app.f.keep({expression})"));
        let error = result.unwrap_err();
        assert_eq!(error.code, ErrorCode::BadArgument, "{error:#}");
        assert!(error.message.contains(&format!("expected function, got {name}")), "{error:#}");
    }
    let (_, _, result) = host.run("async def f(): pass\nc = f()\ntry: app.f.keep_any([c])\nfinally: c.close()");
    let error = result.unwrap_err();
    assert_eq!(error.message, "argument 1: a coroutine has no counterpart outside the script", "{error:#}");
}
