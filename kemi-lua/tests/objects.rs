//! Objects of the host in Lua: methods, properties, operators, and what becomes of them.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use kemi_core::{ErrorCode, Function, Handle, Instance, Owner, Registry, Script, ScriptError, Source, Value};
use kemi_lua::LuaEngine;
use kemi_macros::kemi_export;

#[derive(Default)]
struct Host {
    /// How many sessions there are.
    living: Arc<AtomicI64>,
    current: Option<Owner<Session>>,
    kept: Vec<Function>,
}

struct Session {
    caller: String,
    timeout: u32,
    living: Arc<AtomicI64>,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.living.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Session {
    fn new(caller: &str, living: &Arc<AtomicI64>) -> Session {
        living.fetch_add(1, Ordering::Relaxed);
        Session { caller: caller.to_owned(), timeout: 30, living: living.clone() }
    }
}

/// A call.
#[kemi_export(module = "call")]
impl Session {
    const LONGEST: u32 = 3600;

    fn dial(cx: &mut Host, to: &str) -> Self {
        Session::new(to, &cx.living)
    }

    #[kemi(get)]
    fn caller(&self) -> &str {
        &self.caller
    }

    #[kemi(get)]
    fn timeout(&self) -> u32 {
        self.timeout
    }

    #[kemi(set)]
    fn set_timeout(&mut self, seconds: u32) {
        self.timeout = seconds;
    }

    fn answer(&mut self, code: Option<u16>) -> String {
        self.timeout += 1;
        format!("{} {}", self.caller, code.unwrap_or(200))
    }

    /// Calls a function of the script, while the session is in use.
    fn each(&mut self, cx: &mut Host, script: &Script<'_>, f: Function) -> Result<(), ScriptError> {
        script.call_function(&f, cx, &[]).map(|_| ())
    }

    fn hang_up(cx: &mut Host) {
        cx.current = None;
    }

    #[kemi(equal)]
    fn same(&self, other: Handle<Self>) -> Result<bool, ScriptError> {
        other.with(|other| other.caller == self.caller)
    }

    #[kemi(length)]
    fn len(&self) -> usize {
        self.caller.len()
    }

    #[kemi(text)]
    fn to_text(&self) -> String {
        format!("call of {}", self.caller)
    }

    #[kemi(call)]
    fn run(&self, a: i64, b: i64) -> i64 {
        a * 10 + b
    }
}

/// Without properties and operators.
#[derive(Default)]
struct Plain(Vec<i64>);

#[kemi_export(module = "call")]
impl Plain {
    fn make() -> Self {
        Plain::default()
    }

    fn push(&mut self, item: i64) -> usize {
        self.0.push(item);
        self.0.len()
    }
}

/// A list that is counted from 1, as Lua does.
struct List(Vec<i64>);

#[kemi_export(module = "call")]
impl List {
    fn of(items: Vec<i64>) -> Self {
        List(items)
    }

    #[kemi(index)]
    fn at(&self, index: usize) -> Option<i64> {
        self.0.get(index.checked_sub(1)?).copied()
    }

    #[kemi(set_index)]
    fn put(&mut self, index: usize, value: i64) -> Result<(), String> {
        let slot = index.checked_sub(1).and_then(|index| self.0.get_mut(index));
        *slot.ok_or_else(|| format!("no element {index}"))? = value;
        Ok(())
    }

    fn sum(&self) -> i64 {
        self.0.iter().sum()
    }
}

#[kemi_export(module = "call")]
fn current(cx: &mut Host) -> Option<Handle<Session>> {
    cx.current.as_ref().map(|owner| owner.handle())
}

#[kemi_export(module = "call")]
fn keep(cx: &mut Host, f: Function) {
    cx.kept.push(f);
}

#[kemi_export(module = "call")]
fn both(cx: &mut Host, sessions: Vec<Handle<Session>>) -> Result<Vec<String>, ScriptError> {
    let _ = cx;
    sessions.iter().map(|session| session.with(|session| session.caller.clone())).collect()
}

struct Loaded(Instance<Host>, Host);

fn registry() -> Registry<Host> {
    Registry::<Host>::builder().root("app").module("call").build().expect("the exports are sound")
}

fn load(body: &str) -> Loaded {
    let script = format!("function main(s)\n{body}\nend");
    let instance = Instance::load(&LuaEngine, &registry(), &[Source::text("test.lua", script)]);
    Loaded(instance.expect("it loads"), Host::default())
}

impl Loaded {
    fn run(&mut self) -> Result<Value, ScriptError> {
        self.0.function::<(), Value>("main")?.call(&mut self.1, ())
    }
}

fn eval(body: &str) -> Value {
    load(body).run().unwrap_or_else(|error| panic!("{error:#}"))
}

fn error(body: &str) -> ScriptError {
    load(body).run().expect_err("it fails")
}

fn line(e: &ScriptError) -> Option<u32> {
    e.place.as_ref().map(|place| place.line)
}

#[test]
fn methods_properties_functions_and_constants() {
    let body = "local s = app.call.Session.dial('bob')
        s.timeout = s.timeout + app.call.Session.LONGEST
        return {s:answer(), s:answer(486), s.timeout, s.caller, app.call.Session.answer(s, 1)}";
    assert_eq!(eval(body).to_string(), r#"["bob 200", "bob 486", 3632, "bob", "bob 1"]"#);
    let body = "local p = app.call.Plain.make() p:push(7) return {p:push(8), type(p), getmetatable(p)}";
    assert_eq!(eval(body).to_string(), r#"[2, "userdata", false]"#);
}

#[test]
fn operators() {
    let body = "local a, b, c = app.call.Session.dial('bob'), app.call.Session.dial('bob'), app.call.Session.dial('eve')
        local p, q = app.call.Plain.make(), app.call.Plain.make()
        return {a == b, a == c, a ~= p, p == p, p == q, #a, tostring(a), a(4, 2), tostring(p):match('^Plain: 0x') ~= nil}";
    assert_eq!(eval(body).to_string(), r#"[true, false, true, true, false, 3, "call of bob", 42, true]"#);
    let body = "local l = app.call.List.of({1, 2, 3}) l[2] = 40 return {l[2], l[9] == nil, l:sum()}";
    assert_eq!(eval(body).to_string(), "[40, true, 44]");
    let e = error("local l = app.call.List.of({1})\nl[5] = 1");
    assert_eq!((e.message.as_str(), line(&e)), ("no element 5", Some(3)));
}

#[test]
fn mistakes_are_told_at_the_line() {
    let e = error("local s = app.call.Session.dial('bob')\ns:anwser()");
    assert_eq!(
        (e.code, e.message.as_str(), line(&e)),
        (ErrorCode::UnknownFunction, "a Session has no 'anwser'", Some(3))
    );
    assert_eq!(e.hint.as_deref(), Some("did you mean 'answer'?"));
    let e = error("local p = app.call.Plain.make()\np:pusch(1)");
    assert_eq!((e.code, e.message.as_str(), line(&e)), (ErrorCode::UnknownFunction, "a Plain has no 'pusch'", Some(3)));
    let e = error("local s = app.call.Session.dial('bob')\ns.caller = 'x'");
    assert_eq!((e.code, line(&e)), (ErrorCode::ReadOnly, Some(3)));
    let e = error("local s = app.call.Session.dial('bob')\ns.mine = 1");
    assert_eq!((e.code, line(&e)), (ErrorCode::UnknownFunction, Some(3)));
    let e = error("local s = app.call.Session.dial('bob')\ns.answer(200)");
    assert_eq!((e.code, line(&e)), (ErrorCode::BadArgument, Some(3)));
    assert_eq!(e.hint.as_deref(), Some("a function of an object is called with a colon: object:answer(…)"));
    assert!(e.message.contains("argument 1 'self': expected Session, got integer 200"), "{e}");
    let e = error("app.call.Session.answer(app.call.Plain.make())");
    assert!(e.message.contains("expected Session, got Plain"), "{e}");
    let e = error("app.call.both({app.call.Session.dial('a'), app.call.Plain.make()})");
    assert!(e.message.contains("[2]: expected Session, got Plain"), "{e}");
}

#[test]
fn objects_cross_in_lists_and_come_back() {
    assert_eq!(
        eval("return app.call.both({app.call.Session.dial('a'), app.call.Session.dial('b')})").to_string(),
        r#"["a", "b"]"#
    );
    let Value::Object(object) = eval("return app.call.Session.dial('zoe')") else { panic!("an object") };
    assert_eq!(object.class().name, "Session");
    let session = object.downcast::<Session>().expect("of that class");
    assert_eq!(session.with(|session| session.caller.clone()).ok().as_deref(), Some("zoe"));
    let mut script = load("return {s.caller, s == app.call.current()}");
    script.1.current = Some(Owner::new(Session::new("amy", &script.1.living)));
    let handle = script.1.current.as_ref().expect("it was set").handle();
    let main = script.0.function::<(&Handle<Session>,), Value>("main").expect("it is there");
    let result = main.call(&mut script.1, (&handle,)).expect("it runs");
    assert_eq!(result.to_string(), r#"["amy", true]"#);
}

#[test]
fn what_is_gone_or_in_use_is_an_error_at_the_line() {
    let mut script = load("local s = app.call.current()\napp.call.Session.hang_up()\nreturn s.caller");
    script.1.current = Some(Owner::new(Session::new("amy", &script.1.living)));
    let e = script.run().expect_err("the session is gone");
    assert_eq!((e.code, line(&e)), (ErrorCode::ObjectGone, Some(4)));
    assert_eq!(script.1.living.load(Ordering::Relaxed), 0);
    let e = error("local s = app.call.Session.dial('bob')\ns:each(function()\nlocal x = s.caller\nend)");
    assert_eq!(e.code, ErrorCode::ObjectBusy, "{e}");
    assert_eq!(line(&e), Some(4));
    let caught = eval(
        "local s = app.call.Session.dial('bob') s:each(function() pcall(function() return s.caller end) end) return s.caller",
    );
    assert_eq!(caught, Value::from("bob"));
    let mut script = load("kept = kept or s return kept.caller");
    let mut session = Session::new("lent", &script.1.living);
    let main = script.0.function::<(&Handle<Session>,), String>("main").expect("it is there");
    let first = Handle::lend(&mut session, |lent| main.call(&mut script.1, (lent,))).expect("it is lent");
    assert_eq!(first, "lent");
    let e = script.run().expect_err("the loan is over");
    assert_eq!(e.code, ErrorCode::ObjectGone);
}

#[test]
fn the_host_drops_what_the_script_lets_go_outside_of_finalizers() {
    let mut script = load("for i = 1, 10000 do app.call.Session.dial('x') end collectgarbage()");
    script.run().expect("it runs");
    let waiting = script.1.living.load(Ordering::Relaxed);
    assert!(waiting < 5_000, "{waiting} wait for the next call");
    let living = script.1.living.clone();
    drop(script.0);
    assert_eq!(living.load(Ordering::Relaxed), 0);

    // One that calls the instance when it is dropped.
    struct Nosy(Arc<Mutex<Option<String>>>);
    impl Drop for Nosy {
        fn drop(&mut self) {
            *self.0.lock().expect("nobody panics") = Some(format!("{:?}", std::thread::current().id()));
        }
    }
    #[kemi_export(module = "call")]
    impl Nosy {
        fn poke(&self) {}
    }
    let told = Arc::default();
    let mut script = load("s:poke() s = nil collectgarbage()");
    let main = script.0.function::<(&Handle<Nosy>,), ()>("main").expect("it is there");
    let nosy = Handle::new(Nosy(Arc::clone(&told)));
    main.call(&mut script.1, (&nosy,)).expect("it runs");
    drop(nosy);
    main.call(&mut script.1, (&Handle::new(Nosy(Arc::default())),)).expect("it runs");
    assert!(told.lock().expect("nobody panics").is_some());
}

#[test]
fn an_object_outlives_an_instance_and_is_shared_by_threads() {
    let session = Handle::new(Session::new("shared", &Arc::default()));
    let results: Vec<String> = std::thread::scope(|scope| {
        let run = || {
            let mut script = load(
                "local n = 0 for i = 1, 1000 do if pcall(s.answer, s) then n = n + 1 end end return s.caller .. (n > 0 and '!' or '?')",
            );
            let main = script.0.function::<(&Handle<Session>,), String>("main").expect("it is there");
            let result = main.call(&mut script.1, (&session,));
            result.or_else(
                |error| if error.code == ErrorCode::ObjectBusy { Ok("shared!".to_owned()) } else { Err(error) },
            )
        };
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(run)).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic").expect("it runs")).collect()
    });
    assert!(results.iter().all(|result| result == "shared!"), "{results:?}");
    assert!(session.with(|session| session.timeout > 30).expect("it lives on"));
}

#[test]
fn a_closure_keeps_its_object() {
    let mut script = load("local s = app.call.Session.dial('bob') app.call.keep(function() return s.caller end)");
    script.run().expect("it runs");
    let f = script.1.kept.pop().expect("it is kept");
    assert_eq!(f.call::<_, String>(&script.0, &mut script.1, ()).ok().as_deref(), Some("bob"));
    let living = script.1.living.clone();
    drop(f);
    drop(script);
    assert_eq!(living.load(Ordering::Relaxed), 0);
}

#[test]
fn a_class_whose_module_is_not_enabled_is_told() {
    let registry = Registry::<Host>::builder().root("app").build().expect("it is sound");
    let source = Source::text("test.lua", "function main(s) return s end");
    let instance = Instance::load(&LuaEngine, &registry, &[source]).expect("it loads");
    let main = instance.function::<(&Handle<Session>,), Value>("main").expect("it is there");
    let session = Handle::new(Session::new("bob", &Arc::default()));
    let e = main.call(&mut Host::default(), (&session,)).expect_err("there is no class");
    assert!(e.message.contains("app.call.Session is not enabled"), "{e}");
}
