//! Objects of the host in scripts: classes, members, errors, and how long they live.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kemi_core::export::NoContext;
use kemi_core::registry::RegistryBuilder;
use kemi_core::{
    Arg, ByteString, CallbackId, Callbacks, CountingAllocator, ErrorCode, Function, Handle, Instance, Limits, Map,
    Object, Outcome, Owner, Program, Registry, Script, ScriptError, Source, Value,
};
use kemi_macros::kemi_export;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator::system();

#[derive(Debug, Default)]
struct Host {
    told: Vec<String>,
    sessions: Vec<Handle<Session>>,
    owner: Option<Owner<Session>>,
    functions: Vec<Function>,
    /// Told of each session that ends, with whether a call of a script ran then.
    ended: Ended,
}

#[derive(Clone, Debug, Default)]
struct Ended(Arc<Mutex<Vec<String>>>);

impl Ended {
    fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

#[derive(Debug)]
struct Session {
    caller: String,
    timeout: u32,
    ended: Ended,
}

impl Drop for Session {
    fn drop(&mut self) {
        // What a host may do here: take a lock, and call a script.
        self.ended.0.lock().unwrap().push(self.caller.clone());
        AT_END.with_borrow(|at_end| at_end.iter().for_each(|at_end| at_end()));
    }
}

thread_local! {
    static AT_END: RefCell<Vec<Box<dyn Fn()>>> = const { RefCell::new(Vec::new()) };
}

/// A call of somebody.
#[kemi_export(module = "call")]
impl Session {
    /// The most seconds.
    const LONGEST: u32 = 3600;

    /// Calls somebody.
    fn dial(cx: &mut Host, to: &str) -> Self {
        Session { caller: to.to_owned(), timeout: 30, ended: cx.ended.clone() }
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
        self.timeout = seconds.min(Session::LONGEST);
    }

    #[kemi(set)]
    fn set_secret(&mut self, secret: &str) {
        self.caller.push_str(secret);
    }

    fn answer(&mut self, cx: &mut Host, code: Option<u16>) -> String {
        cx.told.push(format!("{} {code:?}", self.caller));
        format!("answered {}", code.unwrap_or(200))
    }

    fn transfer(&self, to: Handle<Self>) -> Result<String, ScriptError> {
        to.with_mut(|other| {
            other.caller.push_str(&self.caller);
            other.caller.clone()
        })
    }

    fn hang_up(&self, cx: &mut Host) {
        cx.owner = None;
    }

    /// Calls a function while the object is looked at.
    fn within(&self, cx: &mut Host, script: &Script<'_>, f: Function) -> Result<Value, ScriptError> {
        match script.call_function(&f, cx, &[])? {
            Outcome::Value(value) => Ok(value),
            other => Ok(Value::from(format!("{other:?}"))),
        }
    }

    fn keep(&self, cx: &mut Host, this: Handle<Self>) {
        cx.sessions.push(this);
    }

    #[kemi(deprecated(since = "2.0.0", use = "call.Session.answer"))]
    fn old(&self) -> i64 {
        1
    }
}

/// Headers of a message.
#[derive(Debug)]
struct Headers(Vec<(String, String)>);

#[kemi_export(module = "call")]
impl Headers {
    fn make() -> Self {
        Headers(vec![("To".to_owned(), "bob".to_owned()), ("7".to_owned(), "seven".to_owned())])
    }

    #[kemi(length)]
    fn len(&self) -> usize {
        self.0.len()
    }

    #[kemi(index)]
    fn value(&self, name: &str) -> Option<String> {
        self.0.iter().find(|header| header.0 == name).map(|header| header.1.clone())
    }

    #[kemi(set_index)]
    fn set(&mut self, name: &str, value: &str) {
        self.0.push((name.to_owned(), value.to_owned()));
    }

    #[kemi(equal)]
    fn same(&self, other: Handle<Self>) -> bool {
        other.with(|other| other.0 == self.0).unwrap_or(true)
    }

    #[kemi(text)]
    fn text(&self) -> String {
        let all: Vec<String> = self.0.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        all.join(", ")
    }

    #[kemi(call)]
    fn run(&self) -> i64 {
        1
    }
}

#[derive(Debug)]
struct Squares;

#[kemi_export(module = "call")]
impl Squares {
    fn make() -> Self {
        Squares
    }

    #[kemi(index)]
    fn of(&self, i: i64) -> i64 {
        i * i
    }

    #[kemi(get)]
    fn length(&self) -> usize {
        3
    }

    /// A name that the language asks for.
    #[kemi(name = "toJSON")]
    fn to_json(&self) -> Vec<i64> {
        vec![0, 1, 4]
    }
}

/// A class of a module that is not switched on.
#[derive(Debug)]
struct Hidden;

#[kemi_export(module = "hidden")]
impl Hidden {
    fn number(&self) -> i64 {
        7
    }
}

#[kemi_export(module = "host")]
fn kept(cx: &mut Host, i: usize) -> Option<Handle<Session>> {
    cx.sessions.get(i).cloned()
}

#[kemi_export(module = "host")]
fn all(cx: &mut Host) -> Vec<Handle<Session>> {
    cx.sessions.clone()
}

#[kemi_export(module = "host")]
fn by_name(cx: &mut Host) -> Map {
    let value = |session: &Handle<Session>| Value::Object(session.clone().into_object());
    cx.sessions
        .iter()
        .map(|session| (ByteString::from(session.with(|s| s.caller.clone()).unwrap()), value(session)))
        .collect()
}

#[kemi_export(module = "host")]
fn owned(cx: &mut Host) -> Handle<Session> {
    let owner = Owner::new(Session { caller: "owned".to_owned(), timeout: 1, ended: cx.ended.clone() });
    cx.owner.insert(owner).handle()
}

#[kemi_export(module = "host")]
fn end(cx: &mut Host) {
    cx.owner = None;
}

#[kemi_export(module = "host")]
fn hidden() -> Value {
    Value::Object(Handle::new(Hidden).into_object())
}

#[kemi_export(module = "host")]
fn echo(value: Value) -> Value {
    value
}

#[kemi_export(module = "host")]
fn kind(value: Value) -> String {
    value.type_name().to_owned()
}

#[kemi_export(module = "host")]
fn take(cx: &mut Host, session: Handle<Session>) -> usize {
    cx.sessions.push(session);
    cx.sessions.len()
}

#[kemi_export(module = "host")]
fn number(_cx: &mut Host, i: i64) -> i64 {
    i
}

#[kemi_export(module = "host")]
fn on(cx: &mut Host, f: Function) {
    cx.functions.push(f);
}

#[kemi_export(module = "host")]
fn ended(cx: &mut Host) -> usize {
    cx.ended.count()
}

fn builder() -> (RegistryBuilder<Host>, CallbackId) {
    kemi_js::link();
    let mut callbacks = Callbacks::new();
    let f = callbacks.optional("main", "f", &[]);
    (Registry::builder().root("app").module("call").module("host").callbacks(callbacks), f)
}

struct Loaded {
    instance: Rc<Instance<Host>>,
    f: CallbackId,
    host: Host,
}

impl Loaded {
    fn of(registry: &Registry<Host>, f: CallbackId, code: &str) -> Loaded {
        let instance = Instance::load(&kemi_js::JsEngine, registry, &[Source::text("t.js", code)]);
        Loaded { instance: Rc::new(instance.unwrap_or_else(|error| panic!("{error:#}"))), f, host: Host::default() }
    }

    fn call(&mut self, args: &[Arg<'_>]) -> Result<Outcome, ScriptError> {
        self.instance.call(self.f, &mut self.host, args)
    }

    fn value(&mut self, args: &[Arg<'_>]) -> Value {
        match self.call(args) {
            Ok(Outcome::Value(value)) => value,
            Ok(other) => panic!("no value: {other:?}"),
            Err(error) => panic!("{error:#}"),
        }
    }

    fn session(&self, caller: &str) -> Handle<Session> {
        Handle::new(Session { caller: caller.to_owned(), timeout: 30, ended: self.host.ended.clone() })
    }
}

fn load(code: &str) -> Loaded {
    let (builder, f) = builder();
    // The tests share the processors with each other.
    Loaded::of(&builder.limits(Limits { max_time_ms: 60_000, ..Limits::default() }).build().unwrap(), f, code)
}

/// Runs the body of `f`, in which `s` is a session of bob's.
fn body(code: &str) -> Value {
    load(&format!("function f() {{ const s = app.call.Session.dial('bob'); {code} }}")).value(&[])
}

/// The error of such a body, whose line is the second one of the script.
fn error(code: &str) -> ScriptError {
    let code = format!("function f() {{ const s = app.call.Session.dial('bob');\n{code}\n}}");
    match load(&code).call(&[]) {
        Err(error) => {
            assert_eq!(error.place.as_ref().map(ToString::to_string).as_deref(), Some("t.js:2"), "{code}: {error:#}");
            error
        }
        Ok(outcome) => panic!("{code}: no error but {outcome:?}"),
    }
}

fn list(items: impl IntoIterator<Item = impl Into<Value>>) -> Value {
    Value::Array(items.into_iter().map(Into::into).collect())
}

#[test]
fn members_are_used_as_the_language_does() {
    let code = "s.timeout = 5; s['timeout'] += 1; const C = app.call.Session;
        return [s.caller, s.timeout, s.answer(), s.answer(486), C.answer(s, 300), C.LONGEST, s.transfer(C.dial('eve')),
            typeof s, typeof s.answer, s.answer.name, s.answer.length, C.timeout === undefined, (s.timeout = 9999, s.timeout)];";
    let mut loaded = load(&format!("function f() {{ const s = app.call.Session.dial('bob'); {code} }}"));
    let expected = [
        "bob".into(),
        6.into(),
        "answered 200".into(),
        "answered 486".into(),
        "answered 300".into(),
        3600.into(),
        "evebob".into(),
        "object".into(),
        "function".into(),
        "answer".into(),
        0.into(),
        true.into(),
        Value::Int(3600),
    ];
    assert_eq!(loaded.value(&[]), list(expected));
    assert_eq!(loaded.host.told, ["bob None", "bob Some(486)", "bob Some(300)"]);
}

#[test]
fn an_object_crosses_both_ways_and_stays_the_same_one() {
    let code = "let first; function f(s, list) {
        first ??= s;
        const all = app.host.all(), map = app.host.by_name();
        return [first === s, list[0] === s, list[1].it === s, all[0] === s, map.a === s, all[1] === map.b, all[1] === s,
            app.host.kept(0) === s, app.host.kept(5) === null, app.host.echo([s])[0] === s, app.host.echo({ s }).s === s,
            app.host.kind(s) === 'Session', app.host.take(s) > 2];
    }";
    let mut loaded = load(code);
    loaded.host.sessions = vec![loaded.session("a"), loaded.session("b")];
    let object = loaded.host.sessions[0].as_object().clone();
    let map = Map::from([("it".into(), Value::Object(object.clone()))]);
    let given = Value::Array(vec![Value::Object(object.clone()), map.into()]);
    for _ in 0..3 {
        let expected = list([true, true, true, true, true, true, false, true, true, true, true, true, true]);
        assert_eq!(loaded.value(&[Arg::Object(&object), (&given).into()]), expected);
        boa_gc::force_collect();
    }
    assert!(loaded.host.sessions[2..].iter().all(|session| *session == loaded.host.sessions[0]));
    let mut loaded = load("function f(s) { return [s, { s }]; }");
    let Value::Array(items) = loaded.value(&[Arg::Object(&object)]) else { panic!("no list") };
    assert_eq!(items[0].as_object(), Some(&object));
    assert_eq!(items[1], Map::from([("s".into(), Value::Object(object))]).into());
}

#[test]
fn operators_are_those_that_the_language_has() {
    let code = "const h = app.call.Headers.make(), q = app.call.Squares.make();
        h.From = 'eve'; h['8'] = 'eight'; h[9] = 'nine';
        return [h.length, h.To, h['7'], h[7], h[8], h['9'], h.Nothing === null, String(h), `${h}`, q[3], q[-2], q['4'],
            Array.from(q).join(), q.length, JSON.stringify({ q }), h == app.call.Headers.make(), h === h, 'To' in h];";
    let text = "To: bob, 7: seven, From: eve, 8: eight, 9: nine";
    let expected = [
        5.into(),
        "bob".into(),
        "seven".into(),
        "seven".into(),
        "eight".into(),
        "nine".into(),
        true.into(),
        text.into(),
        text.into(),
        9.into(),
        4.into(),
        16.into(),
        "0,1,4".into(),
        3.into(),
        "{\"q\":[0,1,4]}".into(),
        false.into(),
        true.into(),
        Value::Bool(false),
    ];
    assert_eq!(body(code), list(expected));
    assert!(error("app.call.Headers.make()();").message.contains("not a callable"));
    let failed = error("app.call.Squares.make().x;");
    assert_eq!(failed.code, ErrorCode::UnknownFunction, "a text is no key of it: {failed}");
    assert_eq!(error("app.call.Headers.make().To = 5;").code, ErrorCode::BadArgument);
    assert_eq!(error("app.call.Headers.make().length = 5;").code, ErrorCode::UnknownFunction);
    assert_eq!(error("app.call.Headers.make().constructor = 5;").code, ErrorCode::UnknownFunction);
    assert_eq!(error("app.call.Squares.make()[1] = 5;").code, ErrorCode::UnknownFunction);
}

#[test]
fn what_the_class_does_not_have_is_an_error() {
    for (code, expected, message, hint) in [
        ("s.anwser(200);", ErrorCode::UnknownFunction, "a Session has no 'anwser'", Some("did you mean 'answer'?")),
        ("return s.anwser;", ErrorCode::UnknownFunction, "a Session has no 'anwser'", Some("did you mean 'answer'?")),
        ("return s[0];", ErrorCode::UnknownFunction, "a Session has no '0'", None),
        ("const { nothing_like } = s;", ErrorCode::UnknownFunction, "a Session has no 'nothing_like'", None),
        ("s.timout = 5;", ErrorCode::UnknownFunction, "a Session has no 'timout'", Some("did you mean 'timeout'?")),
        ("s[3] = 5;", ErrorCode::UnknownFunction, "a Session has no '3'", None),
        ("s.caller = 'x';", ErrorCode::ReadOnly, "'caller' of a Session can only be read", None),
        ("s.answer = 5;", ErrorCode::ReadOnly, "'answer' of a Session can only be read", None),
        ("s.caller += 'x';", ErrorCode::ReadOnly, "'caller' of a Session can only be read", None),
        ("s.secret;", ErrorCode::UnknownFunction, "'secret' of a Session can only be set", None),
        ("s.toString = 5;", ErrorCode::UnknownFunction, "a Session has no 'toString'", None),
        ("s.__proto__ = {};", ErrorCode::UnknownFunction, "a Session has no '__proto__'", None),
        ("s[Symbol.iterator] = 5;", ErrorCode::UnknownFunction, "a Session has no 'Symbol(Symbol.iterator)'", None),
    ] {
        for strict in ["", "'use strict';"] {
            let failed = error(&format!("(() => {{ {strict} {code} }})();"));
            assert_eq!((failed.code, failed.message.as_str()), (expected, message), "{code}");
            assert_eq!((failed.hint.as_deref(), failed.engine), (hint, "js"), "{code}");
        }
    }
    let code = "function f() {\n const s = app.call.Session.dial('bob');\n // s.nothing();\n s.answer();\n return s.nothing(s.nothing);\n}";
    let failed = load(code).call(&[]).unwrap_err();
    assert_eq!(failed.place.as_ref().map(|place| place.line), Some(5), "{failed:#}");
    assert_eq!(failed.traceback[0].place, failed.place, "{failed:#}");
    let caught = body("try { s.nothing; } catch (e) { return [e instanceof Error, e.message]; }");
    assert_eq!(caught, list([true.into(), Value::from("a Session has no 'nothing'")]));
}

#[test]
fn what_the_language_asks_every_object_for_is_no_error() {
    let code = "return [s.then === undefined, s.constructor === Object, s.hasOwnProperty('caller'), s.valueOf() === s,
        s.__proto__ === Object.getPrototypeOf(s), s[Symbol.iterator] === undefined, 'caller' in s, 'nothing' in s,
        Object.prototype.toString.call(s), s instanceof app.call.Session, s instanceof app.call.Headers,
        ({}) instanceof app.call.Session, Object.keys(s).length, JSON.stringify({ ...s }), s.toLocaleString() === String(s),
        Array.isArray(s), isNaN(+s), s?.caller];";
    let expected = [
        true.into(),
        true.into(),
        false.into(),
        true.into(),
        true.into(),
        true.into(),
        true.into(),
        false.into(),
        "[object Session]".into(),
        true.into(),
        false.into(),
        false.into(),
        0.into(),
        "{}".into(),
        true.into(),
        false.into(),
        true.into(),
        Value::from("bob"),
    ];
    assert_eq!(body(code), list(expected));
    let text = body("let names = ''; for (const name in s) names += name; return names + s;");
    assert!(matches!(&text, Value::Str(text) if text.starts_with(b"Session(0x") && text.ends_with(b")")), "{text}");
    assert_eq!(body("return String(s) !== String(app.call.Session.dial('bob'));"), true.into());
    let awaited = "return (async () => [await s === s, await Promise.resolve(s) === s])();";
    assert_eq!(body(awaited), list([true, true]));
    for code in ["JSON.stringify(s);", "JSON.stringify({ list: [s] });"] {
        let failed = error(code);
        assert_eq!(failed.code, ErrorCode::ValueNotConvertible, "{failed}");
        assert_eq!(failed.message, "a Session is an object of the host, not data for JSON");
    }
    assert!(error("(() => { for (const x of s) {} })()").message.contains("TypeError"));
    let thrown = error("throw s;");
    assert!(thrown.message.starts_with("the script threw Session(0x"), "{thrown}");
}

#[test]
fn a_method_without_its_object_is_a_bad_argument() {
    let failed = error("const { answer } = s; answer(200);");
    assert_eq!((failed.code, failed.export.as_deref()), (ErrorCode::BadArgument, Some("app.call.Session.answer")));
    assert_eq!(failed.message, "argument 1 'self': expected Session, got undefined");
    assert_eq!(failed.hint.as_deref(), Some("'answer' was taken off its object: write `object.answer(…)`"));
    assert_eq!(error("s.answer.call({}, 200);").message, "argument 1 'self': expected Session, got object");
    assert_eq!(error("Object.create(s).answer(200);").code, ErrorCode::BadArgument);
    assert_eq!(error("new Proxy(s, {}).answer(200);").code, ErrorCode::BadArgument);
    assert_eq!(error("Object.getPrototypeOf(s).caller;").code, ErrorCode::BadArgument);
    assert_eq!(error("Reflect.set(s, 'timeout', 5, {});").code, ErrorCode::BadArgument);
    let other = error("s.answer.call(app.call.Squares.make(), 200);");
    assert_eq!(other.message, "argument 1 'self': expected Session, got Squares");
    assert_eq!(error("s.transfer(5);").message, "argument 2 'to': expected Session, got integer 5");
    assert_eq!(error("s.transfer();").code, ErrorCode::ArgumentCount);
    assert_eq!(error("s.answer(-1);").code, ErrorCode::BadArgument);
    assert_eq!(error("s.timeout = 'x';").code, ErrorCode::BadArgument);
    assert_eq!(error("app.host.take({});").code, ErrorCode::BadArgument);
    assert_eq!(error("app.host.number(s);").message, "argument 1 'i': expected int, got Session");
    assert_eq!(
        body("const { answer } = s; return answer.call(s, 1) + answer.bind(s)(2);"),
        "answered 1answered 2".into()
    );
}

#[test]
fn a_script_cannot_change_an_object_or_its_class() {
    let code = "return (() => { 'use strict';
        const failed = [], proto = Object.getPrototypeOf(s), behind = Object.getPrototypeOf(proto);
        const tries = [
            () => Object.defineProperty(s, 'x', { value: 1 }), () => Object.defineProperty(s, 'answer', { value: 1 }),
            () => Object.setPrototypeOf(s, {}), () => Object.defineProperty(proto, 'answer', { value: 1 }),
            () => { proto.x = 1; }, () => { delete proto.answer; }, () => Object.setPrototypeOf(proto, {}),
            () => Object.defineProperty(behind, 'x', { value: 1 }), () => { behind.x = 1; },
            () => Object.setPrototypeOf(behind, {}), () => Object.assign(s, { x: 1 }), () => s.__defineGetter__('x', () => 1),
            () => { new app.call.Session(); }, () => { class Own extends app.call.Session {} }, () => { new s.answer(); },
            () => new (Object.getOwnPropertyDescriptor(proto, 'caller').get)(), () => s.x,
            () => structuredClone(s),
        ];
        for (const one of tries) { try { one(); failed.push(String(one)); } catch (e) {} }
        delete s.answer; Object.freeze(s); Object.freeze(proto);
        const own = Object.create(s); own.x = 1;
        return [failed.join(), s.answer(1), s.timeout = 7, s.timeout, Object.keys(s).length, own.x, Object.isFrozen(s)]; })();";
    let expected = ["".into(), "answered 1".into(), 7.into(), 7.into(), 0.into(), 1.into(), Value::Bool(true)];
    assert_eq!(body(code), list(expected));
}

#[test]
fn an_object_that_is_gone_or_in_use_is_an_error_at_the_line() {
    for code in ["o.caller;", "o.hang_up();", "o.timeout = 1;", "s.transfer(o);"] {
        let failed = error(&format!("const o = app.host.owned(); app.host.end(); {code}"));
        assert_eq!(failed.code, ErrorCode::ObjectGone, "{failed}");
        assert_eq!(failed.message, "the Session is gone: the host has ended it");
    }
    assert_eq!(body("const o = app.host.owned(); o.hang_up(); return String(o).endsWith(', gone)');"), true.into());
    for code in ["s.transfer(s);", "s.within(() => s.timeout = 5);", "s.within(() => s.answer(200));"] {
        let failed = error(code);
        assert_eq!(failed.code, ErrorCode::ObjectBusy, "{code}: {failed}");
    }
    assert_eq!(body("return s.within(() => s.within(() => s.caller));"), "bob".into());
    assert_eq!(body("try { s.transfer(s); } catch (e) {} return s.answer(1);"), "answered 1".into());
}

#[test]
fn a_class_of_a_module_that_is_not_enabled_is_a_handle_without_members() {
    let code = "const h = app.host.hidden(); return [typeof h, String(h).startsWith('Hidden(0x'), app.host.kind(h),
        app.host.echo(h) === h];";
    assert_eq!(body(code), list(["object".into(), true.into(), "Hidden".into(), Value::Bool(true)]));
    let failed = error("app.host.hidden().number();");
    assert!(failed.message.contains("hidden"), "{failed}");
    assert_eq!(error("app.host.hidden().x = 5;").code, failed.code);
}

#[test]
fn a_registry_without_classes_takes_objects_all_the_same() {
    kemi_js::link();
    let mut callbacks = Callbacks::new();
    let f = callbacks.optional("main", "f", &[]);
    let registry = Registry::<NoContext>::builder().root("app").callbacks(callbacks).build().unwrap();
    let script = Source::text("t.js", "function f(o) { return [o, typeof o]; }");
    let instance = Instance::load(&kemi_js::JsEngine, &registry, &[script]).unwrap();
    let object = Handle::new(Hidden).into_object();
    let outcome = instance.call(f, &mut NoContext, &[Arg::Object(&object)]).unwrap();
    assert_eq!(outcome, Outcome::Value(list([Value::Object(object), "object".into()])));
}

#[test]
fn a_member_is_an_export_like_any_other() {
    let (builder, f) = builder();
    let registry = builder.limits(Limits { max_instructions: 2_000_000, ..Limits::NONE }).build().unwrap();
    let code = "function f(end) { const s = app.call.Session.dial('bob'); s.timeout = 1;
        try { s.timeout = 'x'; } catch (e) {} while (end) s.old(); return s.timeout; }";
    let mut loaded = Loaded::of(&registry, f, code);
    assert_eq!(loaded.value(&[]), 1.into());
    let metrics = registry.metrics();
    let calls = |name: &str| metrics.exports.get(name).map(|export| (export.calls, export.errors.get("bad-argument")));
    assert_eq!(calls("app.call.Session.timeout"), Some((1, None)));
    assert_eq!(calls("app.call.Session.set_timeout"), Some((2, Some(&1))));
    assert_eq!(calls("app.call.Session.old"), None);
    assert_eq!(loaded.call(&[true.into()]).unwrap_err().code, ErrorCode::InstructionLimit);
    assert!(registry.metrics().exports["app.call.Session.old"].calls > 1000);
}

/// Collects garbage, and calls the script once more: the host's part comes between calls.
fn settle(loaded: &mut Loaded) {
    boa_gc::force_collect();
    let _ = loaded.call(&[]);
}

#[test]
fn what_the_script_drops_ends_between_calls_and_may_call_the_script() {
    let mut loaded = load(
        "let n = 0; function f(go) { if (go) { for (let i = 0; i < 10; i++) app.call.Session.dial(`${i}`); } return ++n; }",
    );
    let (instance, f) = (loaded.instance.clone(), loaded.f);
    let results = Rc::new(RefCell::new(Vec::new()));
    let seen = results.clone();
    AT_END.set(vec![Box::new(move || {
        let outcome = instance.call(f, &mut Host::default(), &[]);
        seen.borrow_mut().push(matches!(outcome, Ok(Outcome::Value(_))));
    })]);
    loaded.value(&[true.into()]);
    boa_gc::force_collect();
    assert_eq!(loaded.host.ended.count(), 0, "a collection runs nothing of the host");
    loaded.value(&[]);
    assert_eq!((loaded.host.ended.count(), results.borrow().as_slice()), (10, [true; 10].as_slice()));
    AT_END.set(Vec::new());
}

#[test]
fn many_objects_in_one_call_stay_bounded() {
    let code = "function f(go) { let most = 0; if (go) for (let i = 1; i <= 10000; i++) {
        app.call.Session.dial(`a ${i}`).timeout = 5; if (i % 100 === 0) most = Math.max(most, i - app.host.ended()); } return most; }";
    let mut loaded = load(code);
    let Value::Int(most) = loaded.value(&[true.into()]) else { panic!("no number") };
    assert!((1..=5000).contains(&most), "{most} were there at once");
    settle(&mut loaded);
    assert_eq!(loaded.host.ended.count(), 10_000);
}

#[test]
fn a_drop_in_the_middle_of_a_call_cannot_enter_the_script() {
    let mut loaded =
        load("function f(go) { if (go) for (let i = 0; i < 10000; i++) app.call.Session.dial('x'); return 1; }");
    let (instance, f) = (loaded.instance.clone(), loaded.f);
    let (entered, refused) = (Rc::new(AtomicUsize::new(0)), Rc::new(AtomicUsize::new(0)));
    let counts = (entered.clone(), refused.clone());
    AT_END.set(vec![Box::new(move || {
        let count = if instance.call(f, &mut Host::default(), &[]).is_ok() { &counts.0 } else { &counts.1 };
        count.fetch_add(1, Ordering::Relaxed);
    })]);
    assert_eq!(loaded.value(&[true.into()]), 1.into());
    assert!(refused.load(Ordering::Relaxed) > 4000);
    assert_eq!(entered.load(Ordering::Relaxed), 0);
    settle(&mut loaded);
    assert!(entered.load(Ordering::Relaxed) > 100, "between calls it may");
    AT_END.set(Vec::new());
}

#[test]
fn an_owner_ends_what_scripts_hold() {
    let mut loaded = load("let s; function f(given) { if (given) { s = given; return s.caller; } return s.caller; }");
    let owner = Owner::new(Session { caller: "eve".to_owned(), timeout: 1, ended: loaded.host.ended.clone() });
    let object = owner.handle().into_object();
    assert_eq!(loaded.value(&[Arg::Object(&object)]), "eve".into());
    drop(owner);
    assert_eq!(loaded.host.ended.count(), 1, "at once");
    assert_eq!(loaded.call(&[]).unwrap_err().code, ErrorCode::ObjectGone);
}

#[test]
fn a_loan_is_over_with_its_closure() {
    let mut loaded = load("let s; function f(given) { if (given) { s = given; s.timeout = 77; } return s.timeout; }");
    let mut session = Session { caller: "lent".to_owned(), timeout: 1, ended: Ended::default() };
    for _ in 0..3 {
        Handle::lend(&mut session, |handle| loaded.value(&[Arg::Object(handle.as_object())]));
        assert_eq!(session.timeout, 77);
        assert_eq!(loaded.call(&[]).unwrap_err().code, ErrorCode::ObjectGone);
    }
}

#[test]
fn a_handle_may_be_given_to_instances_on_several_threads() {
    let (builder, f) = builder();
    let registry = builder.build().unwrap();
    let ended = Ended::default();
    let handle = Handle::new(Session { caller: "shared".to_owned(), timeout: 0, ended: ended.clone() });
    let code = "function f(s) { let done = 0; for (let i = 0; i < 500; i++) {
        try { s.timeout = s.timeout + 1; done++; } catch (e) { if (!e.message.includes('in use')) throw e; } } return done; }";
    std::thread::scope(|scope| {
        for _ in 0..2 {
            let (registry, object) = (registry.clone(), handle.as_object().clone());
            scope.spawn(move || {
                let mut loaded = Loaded::of(&registry, f, code);
                let Value::Int(done) = loaded.value(&[Arg::Object(&object)]) else { panic!("no number") };
                assert!(done > 0);
            });
        }
    });
    assert!(handle.with(|session| session.timeout).unwrap() > 0);
    assert_eq!(ended.count(), 0);
    drop(handle);
    assert_eq!(ended.count(), 1, "the threads and their instances have gone");
}

#[test]
fn an_object_outlives_a_reload_and_its_instance() {
    let (builder, f) = builder();
    let registry = builder.build().unwrap();
    let script = Source::text("t.js", "let kept; function f(s) { kept = s; return s.answer(1); }");
    let program = Arc::new(Program::open(Arc::new(kemi_js::JsEngine), &registry, &[script]).unwrap());
    let mut worker = program.worker("w", None).unwrap();
    let mut host = Host::default();
    let ended = host.ended.clone();
    let handle = Handle::new(Session { caller: "a".to_owned(), timeout: 1, ended: ended.clone() });
    for _ in 0..2 {
        let outcome = worker.instance().call(f, &mut host, &[Arg::Object(handle.as_object())]).unwrap();
        assert_eq!(outcome, Outcome::Value("answered 1".into()));
        let reloading = std::thread::spawn({
            let program = program.clone();
            move || program.reload(Duration::from_secs(60)).map(drop)
        });
        while !worker.refresh() {
            std::thread::sleep(Duration::from_millis(5));
        }
        reloading.join().unwrap().unwrap();
        assert_eq!(handle.with(|session| session.timeout).unwrap(), 1);
    }
    worker.instance().call(f, &mut host, &[Arg::Object(handle.as_object())]).unwrap();
    drop(handle);
    assert_eq!(ended.count(), 0, "the script has it");
    drop(worker);
    assert_eq!(ended.count(), 1, "the end of the instance lets it go, whenever Boa collects its garbage");
    boa_gc::force_collect();
}

#[test]
fn an_instance_that_ends_leaves_nothing_to_a_later_collection() {
    // Another instance keeps the thread's heap from being collected when this one ends.
    let mut other = load("function f() { return 1; }");
    let third = load("function f() { return 1; }");
    let mut loaded = load("const all = []; function f() { all.push(app.call.Session.dial('x')); return all; }");
    let Value::Array(objects) = loaded.value(&[]) else { panic!("no list") };
    let ended = loaded.host.ended.clone();
    drop(loaded);
    assert_eq!(ended.count(), 0, "the host has a handle");
    let within = Rc::new(RefCell::new(None));
    let (seen, instance, f) = (within.clone(), other.instance.clone(), other.f);
    AT_END.set(vec![Box::new(move || {
        *seen.borrow_mut() = Some(instance.call(f, &mut Host::default(), &[]).is_ok());
    })]);
    drop(objects);
    assert_eq!((ended.count(), *within.borrow()), (1, Some(true)));
    let mut loaded = load("const all = []; function f() { all.push(app.call.Session.dial('x')); return 1; }");
    loaded.value(&[]);
    let ended = loaded.host.ended.clone();
    drop(loaded);
    assert_eq!((ended.count(), *within.borrow()), (1, Some(true)));
    AT_END.set(Vec::new());
    settle(&mut other);
    drop(third);
}

#[test]
fn a_closure_that_the_host_keeps_keeps_its_object() {
    let mut loaded =
        load("function f(go) { if (go) { const s = app.call.Session.dial('bob'); app.host.on(n => s.answer(n)); } }");
    loaded.value(&[true.into()]);
    settle(&mut loaded);
    assert_eq!(loaded.host.ended.count(), 0);
    let function = loaded.host.functions.remove(0);
    let text: String = function.call(&*loaded.instance, &mut loaded.host, (404,)).unwrap();
    assert_eq!(text, "answered 404");
    drop(function);
    loaded.value(&[]);
    settle(&mut loaded);
    assert_eq!(loaded.host.ended.count(), 1);
}

#[test]
fn objects_that_nobody_keeps_take_no_memory_from_call_to_call() {
    let (builder, f) = builder();
    let registry = builder.limits(Limits { max_memory: 32 << 20, ..Limits::NONE }).build().unwrap();
    let code = "function f() { for (let i = 0; i < 2000; i++) app.call.Session.dial('bob').answer(1); return 1; }";
    let mut loaded = Loaded::of(&registry, f, code);
    let mut held = 0;
    for i in 0..60 {
        loaded.value(&[]);
        loaded.host.told = Vec::new();
        if i == 20 {
            boa_gc::force_collect();
            loaded.value(&[]);
            loaded.host.told = Vec::new();
            held = kemi_core::limits::held_bytes();
        }
    }
    boa_gc::force_collect();
    loaded.value(&[]);
    loaded.host.told = Vec::new();
    *loaded.host.ended.0.lock().unwrap() = Vec::new();
    let grown = kemi_core::limits::held_bytes() - held;
    assert!(grown < 2 << 20, "{grown} bytes more");
}

#[test]
fn an_object_can_be_a_key_and_be_held_weakly() {
    let code = "const seen = new WeakMap([[s, 1]]), set = new Set([s]); app.host.take(s);
        return [seen.get(app.host.kept(0)), set.has(app.host.kept(0)), new WeakRef(s).deref() === s];";
    assert_eq!(body(code), list([1.into(), true.into(), Value::Bool(true)]));
}

#[test]
fn an_object_of_another_class_is_told_apart() {
    let mut loaded = load("function f(s) { return [s instanceof app.call.Session, s instanceof app.call.Squares]; }");
    let object: Object = Handle::new(Squares).into_object();
    assert_eq!(loaded.value(&[Arg::Object(&object)]), list([false, true]));
}
