//! Objects of the host, as Python has them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::time::Duration;

use kemi_core::{
    Arg, ArgumentPolicy, CallbackId, Callbacks, ErrorCode, Function, Handle, Instance, Limits, NativeExit, Outcome,
    Owner, Program, Registry, Script, ScriptError, Source, Value,
};
use kemi_macros::kemi_export;
use kemi_python::PythonEngine;

#[derive(Default)]
struct Cx {
    notes: Vec<String>,
    owner: Option<Owner<Session>>,
    handles: Vec<Handle<Session>>,
    value: Value,
    function: Option<Function>,
    dropped: Arc<AtomicUsize>,
    gate: Option<Arc<Barrier>>,
}

thread_local! {
    /// What the end of a [`Session`] does.
    static ON_END: RefCell<Option<Rc<dyn Fn()>>> = const { RefCell::new(None) };
}

struct Session {
    caller: String,
    timeout: u32,
    dropped: Arc<AtomicUsize>,
}

impl Session {
    fn new(caller: &str, dropped: &Arc<AtomicUsize>) -> Session {
        Session { caller: caller.to_owned(), timeout: 30, dropped: dropped.clone() }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
        let act = ON_END.with_borrow(Clone::clone);
        if let Some(act) = act {
            act();
        }
    }
}

/// A call of somebody.
#[kemi_export(module = "call")]
impl Session {
    const LONGEST: u32 = 3600;

    fn dial(cx: &mut Cx, to: &str) -> Result<Self, String> {
        if to.is_empty() {
            return Err("nobody to call".to_owned());
        }
        Ok(Session::new(to, &cx.dropped))
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
    fn set_timeout(&mut self, seconds: u32) -> Result<(), String> {
        if seconds > Session::LONGEST {
            return Err("too long".to_owned());
        }
        self.timeout = seconds;
        Ok(())
    }

    /// Answers the call.
    fn answer(&mut self, cx: &mut Cx, code: Option<u16>, reason: Option<&str>) -> String {
        cx.notes.push(format!("{} {code:?} {reason:?}", self.caller));
        format!("answered {}", code.unwrap_or(200))
    }

    #[kemi(set)]
    fn set_pin(&mut self, pin: u32) {
        self.timeout = pin;
    }

    fn fail(&self) -> Result<(), String> {
        Err("on purpose".to_owned())
    }

    fn leave(&self) -> Result<(), NativeExit> {
        Err(NativeExit::Drop)
    }

    #[kemi(callbacks(branch))]
    fn in_branch(&self) {}

    #[kemi(capability = "calls")]
    fn listen(&self) {}

    /// Waits at the gate, and once more before it returns.
    #[kemi(blocking)]
    fn ring(&mut self, cx: &mut Cx) {
        if let Some(gate) = &cx.gate {
            gate.wait();
            gate.wait();
        }
    }

    /// Calls a function of the script while the session is in use.
    fn during(&mut self, cx: &mut Cx, script: &Script<'_>, function: Function) -> Result<Value, ScriptError> {
        match script.call_function(&function, cx, &[])? {
            Outcome::Value(value) => Ok(value),
            _ => Ok(Value::Nil),
        }
    }
}

/// A table with all operators.
#[derive(Clone, Default)]
struct Table {
    cells: BTreeMap<String, i64>,
}

#[kemi_export(module = "call", name = "Grid")]
impl Table {
    const EMPTY: Table = Table { cells: BTreeMap::new() };

    fn make() -> Table {
        Table::default()
    }

    #[kemi(call)]
    fn call(&self, by: i64, times: Option<i64>) -> i64 {
        self.cells.values().sum::<i64>() * by * times.unwrap_or(1)
    }

    #[kemi(index)]
    fn cell(&self, name: &str) -> Option<i64> {
        self.cells.get(name).copied()
    }

    #[kemi(set_index)]
    fn set_cell(&mut self, name: &str, value: i64) {
        self.cells.insert(name.to_owned(), value);
    }

    #[kemi(length)]
    fn len(&self) -> usize {
        self.cells.len()
    }

    #[kemi(equal)]
    fn same(&self, other: Handle<Table>) -> Result<bool, ScriptError> {
        other.with(|other| self.cells == other.cells)
    }

    #[kemi(text)]
    fn text(&self) -> String {
        format!("a table of {}", self.cells.len())
    }
}

/// A class of a module that is not enabled.
struct Hidden;

#[kemi_export(module = "hidden")]
impl Hidden {
    fn work(&self) {}
}

#[kemi_export(module = "host")]
fn note(cx: &mut Cx, text: &str) {
    cx.notes.push(text.to_owned());
}

#[kemi_export(module = "host")]
fn dropped(cx: &mut Cx) -> usize {
    cx.dropped.load(Ordering::Relaxed)
}

#[kemi_export(module = "host")]
fn hidden(_cx: &mut Cx) -> Value {
    Value::Object(Handle::new(Hidden).into_object())
}

#[kemi_export(module = "host")]
fn own(cx: &mut Cx, to: &str) -> Handle<Session> {
    let session = Session::new(to, &cx.dropped);
    cx.owner.insert(Owner::new(session)).handle()
}

#[kemi_export(module = "host")]
fn owned(cx: &mut Cx) -> Option<Handle<Session>> {
    cx.owner.as_ref().map(Owner::handle)
}

#[kemi_export(module = "host")]
fn end(cx: &mut Cx) {
    cx.owner = None;
}

#[kemi_export(module = "host")]
fn keep(cx: &mut Cx, session: Handle<Session>) {
    cx.handles.push(session);
}

#[kemi_export(module = "host")]
fn kept(cx: &mut Cx) -> Vec<Value> {
    cx.handles.iter().map(|handle| Value::Object(handle.as_object().clone())).collect()
}

#[kemi_export(module = "host")]
fn keep_any(cx: &mut Cx, value: Value) {
    cx.value = value;
}

#[kemi_export(module = "host")]
fn kept_any(cx: &mut Cx) -> Value {
    cx.value.clone()
}

#[kemi_export(module = "host")]
fn keep_function(cx: &mut Cx, function: Function) {
    cx.function = Some(function);
}

#[kemi_export(module = "host")]
fn maybe(_cx: &mut Cx, session: Option<Handle<Session>>) -> bool {
    session.is_some()
}

#[kemi_export(module = "host")]
fn names(_cx: &mut Cx, sessions: Vec<Value>) -> Result<Vec<String>, String> {
    let name = |value: &Value| match value.as_object().cloned().and_then(|object| object.downcast::<Session>()) {
        Some(session) => session.with(|session| session.caller.clone()).map_err(|error| error.to_string()),
        None => Err(format!("{value} is no session")),
    };
    sessions.iter().map(name).collect()
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
        callbacks.named("branch", &[]);
        let builder = Registry::builder().root("app").module("call").module("host").callbacks(callbacks);
        let registry = builder
            .limits(limits)
            .capabilities(&[])
            .policy(ArgumentPolicy::Strict)
            .build()
            .expect("the test's registry");
        Host { registry, main, pass }
    }

    #[track_caller]
    fn load(&self, text: &str) -> Instance<Cx> {
        let source = Source::text("test.py", text);
        Instance::load(&PythonEngine, &self.registry, &[source]).unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// Loads a script and calls its `main`, whose lines are the body.
    #[track_caller]
    fn run(&self, body: &str) -> (Instance<Cx>, Cx, Result<Outcome, ScriptError>) {
        let lines: String = body.lines().map(|line| format!("    {line}\n")).collect();
        let instance = self.load(&format!("def main():\n{lines}"));
        let mut cx = Cx::default();
        let result = instance.call(self.main, &mut cx, &[]);
        (instance, cx, result)
    }
}

/// Runs a body in which every assertion must hold.
#[track_caller]
fn check(body: &str) -> Cx {
    let (_, cx, result) = Host::new().run(&format!("{body}\nreturn 'done'"));
    assert_eq!(result.unwrap_or_else(|error| panic!("{error:#}")), Outcome::Value("done".into()));
    cx
}

/// What a script needs to look at errors.
const RAISES: &str = "
def raises(function, *words, kind=Exception):
    try: function()
    except kind as e:
        for word in words: assert word in str(e), (word, str(e))
        return e
    assert False, 'nothing raised'
";

#[track_caller]
fn check_with_raises(body: &str) -> Cx {
    check(&format!("{}\n{body}", RAISES.trim()))
}

fn place(error: &ScriptError) -> String {
    error.place.as_ref().map(ToString::to_string).unwrap_or_default()
}

#[test]
fn methods_properties_functions_and_constants_are_reached() {
    let cx = check(
        "s = app.call.Session.dial('bob')
assert s.caller == 'bob' and s.timeout == 30
s.timeout = 5
assert s.timeout == 5 and getattr(s, 'timeout') == 5
setattr(s, 'timeout', 6)
assert s.timeout == 6
assert s.answer() == 'answered 200'
assert s.answer(486) == 'answered 486'
assert s.answer(486, 'busy') == 'answered 486'
assert s.answer(reason='so') == 'answered 200'
assert s.answer(code=603, reason='no') == 'answered 603'
assert app.call.Session.answer(s, 300) == 'answered 300'
assert app.call.Session.answer(code=301, self=s) == 'answered 301'
assert type(s).answer(s, 302) == 'answered 302'
taken = s.answer
assert taken(180) == 'answered 180'
assert app.call.Session.LONGEST == 3600",
    );
    let reasons = [
        "bob None None",
        "bob Some(486) None",
        "bob Some(486) Some(\"busy\")",
        "bob None Some(\"so\")",
        "bob Some(603) Some(\"no\")",
        "bob Some(300) None",
        "bob Some(301) None",
        "bob Some(302) None",
        "bob Some(180) None",
    ];
    assert_eq!(cx.notes, reasons);
}

#[test]
fn the_module_of_a_class_has_its_functions_and_neither_properties_nor_operators() {
    check(
        "names = [n for n in dir(app.call.Session) if not n.startswith('_')]
assert names == ['LONGEST', 'answer', 'dial', 'during', 'fail', 'in_branch', 'leave', 'listen', 'ring'], names
assert [n for n in dir(app.call.Grid) if not n.startswith('_')] == ['EMPTY', 'make']
assert len(app.call.Grid.EMPTY) == 0 and app.call.Grid.EMPTY == app.call.Grid.make()",
    );
}

#[test]
fn an_object_crosses_to_every_parameter_and_back() {
    let cx = check_with_raises(
        "s = app.call.Session.dial('bob')
app.host.keep(s)
assert app.host.maybe(s) and not app.host.maybe(None)
t = app.call.Session.dial('eve')
assert app.host.names([s, t]) == ['bob', 'eve'] and app.host.names((t,)) == ['eve']
app.host.keep_any({'a': [s, {'b': t}]})
got = app.host.kept_any()
assert got['a'][0] == s and got['a'][1]['b'] == t and got['a'][0].caller == 'bob'
app.host.keep_any(s)
assert app.host.kept_any() == s and app.host.kept() == [s]
g = app.call.Grid.make()
raises(lambda: app.host.keep(g), \"argument 1 'session'\", 'expected Session', 'got Grid', kind=app.Error)
raises(lambda: app.host.keep(5), 'expected Session', 'got integer 5', kind=app.Error)
raises(lambda: app.host.note(s), 'expected string', 'got Session', kind=app.Error)
raises(lambda: app.host.keep_any({s: 1}), 'a dictionary has a Session as a key', kind=app.Error)",
    );
    assert_eq!(cx.handles.len(), 1);
    assert_eq!(cx.value.as_object().map(|object| object.class().name), Some("Session"));
}

#[test]
fn callbacks_take_and_return_objects() {
    let host = Host::new();
    let instance = host.load("def give(value):\n    value.timeout += 1\n    return [value, value.caller]\n");
    let session = Handle::new(Session::new("bob", &Arc::default()));
    let mut cx = Cx::default();
    let result = instance.call(host.pass, &mut cx, &[Arg::Object(session.as_object())]).unwrap();
    let expected = Value::Array(vec![session.as_object().clone().into(), "bob".into()]);
    assert_eq!(result, Outcome::Value(expected));
    assert_eq!(session.with(|session| session.timeout).unwrap(), 31);
    let list = Value::Array(vec![session.as_object().clone().into()]);
    let instance = host.load("def give(value):\n    return value[0]\n");
    let result = instance.call(host.pass, &mut cx, &[Arg::from(&list)]).unwrap();
    assert_eq!(result, Outcome::Value(session.as_object().clone().into()));
    let instance = host.load("def give(value):\n    return value\n");
    let give = instance.function::<(&Handle<Session>,), Value>("give").unwrap();
    assert_eq!(give.call(&mut cx, (&session,)).unwrap().as_object(), Some(session.as_object()));
}

#[test]
fn operators_are_pythons_own() {
    check_with_raises(
        "t = app.call.Grid.make()
t['a'] = 2
t['b'] = 3
assert t['a'] == 2 and t['c'] is None and len(t) == 2
assert t(10) == 50 and t(10, 2) == 100 and t(by=1, times=3) == 15 and callable(t)
assert str(t) == repr(t) == 'a table of 2' and f'{t}' == 'a table of 2' and '%s' % t == 'a table of 2'
u = app.call.Grid.make()
assert t != u and not t == u
u['a'], u['b'] = 2, 3
assert t == u and not t != u and t is not u and t in [1, None, u]
assert t != 5 and t != None and not t == 'a' and t != app.call.Session.dial('x')
raises(lambda: hash(t), \"unhashable type: 'Grid'\", kind=TypeError)
raises(lambda: t[5], 'argument 2', 'expected string', 'got integer 5', kind=app.Error)
raises(lambda: iter(t), 'not iterable', kind=TypeError)
raises(lambda: 'a' in t, kind=TypeError)
raises(lambda: t < u, kind=TypeError)
raises(lambda: t.__delitem__('a'), kind=AttributeError)
app.host.keep_any(t)
assert app.host.kept_any() == t
assert bool(t) and not app.call.Grid.make()",
    );
}

#[test]
fn a_class_without_operators_is_compared_by_identity() {
    check_with_raises(
        "s = app.call.Session.dial('bob')
app.host.keep(s)
again = app.host.kept()[0]
assert s == again and not s != again and hash(s) == hash(again) and s in {again} and {s: 1}[again] == 1
other = app.call.Session.dial('bob')
assert s != other and s != None and s != 5
assert s and not callable(s)
for function in (lambda: s(), lambda: len(s), lambda: s['x'], lambda: iter(s), lambda: 'x' in s, lambda: s < other, lambda: s + 1):
    raises(function, kind=TypeError)
def assign(): s['x'] = 1
raises(assign, kind=TypeError)
raises(lambda: app.host.keep_function(s), 'got Session', kind=app.Error)
assert str(s) == repr(s) != repr(other) and repr(s).startswith('<Session(0x')",
    );
}

#[test]
fn an_unknown_member_is_explained_at_its_line() {
    let host = Host::new();
    for (line, code, message, hint) in [
        ("s.anwser()", ErrorCode::UnknownFunction, "a Session has no 'anwser'", Some("did you mean 'answer'?")),
        ("return s.calller", ErrorCode::UnknownFunction, "a Session has no 'calller'", Some("did you mean 'caller'?")),
        ("s.pin = 1234\nreturn s.pin", ErrorCode::UnknownFunction, "'pin' of a Session can only be set", None),
        ("s.dial('x')", ErrorCode::UnknownFunction, "a Session has no 'dial'", None),
        ("s.fresh = 1", ErrorCode::UnknownFunction, "a Session has no 'fresh'", None),
        ("s.caller = 'eve'", ErrorCode::ReadOnly, "'caller' of a Session can only be read", None),
        ("s.answer = 1", ErrorCode::ReadOnly, "'answer' of a Session can only be read", None),
        ("del s.timeout", ErrorCode::ReadOnly, "'timeout' of a Session cannot be deleted", None),
        ("del s.fresh", ErrorCode::UnknownFunction, "a Session has no 'fresh'", None),
    ] {
        let (_, _, result) = host.run(&format!("s = app.call.Session.dial('bob')\n\n{}", line.replace('\n', "; ")));
        let error = result.unwrap_err();
        assert_eq!(
            (error.code, error.message.as_str(), place(&error).as_str()),
            (code, message, "test.py:4"),
            "{line}"
        );
        assert_eq!(error.hint.as_deref(), hint, "{line}");
    }
    check_with_raises(
        "s = app.call.Session.dial('bob')
assert not hasattr(s, 'anwser') and getattr(s, 'anwser', 7) == 7 and hasattr(s, 'answer')
e = raises(lambda: s.anwser, \"a Session has no 'anwser'; did you mean 'answer'?\", kind=AttributeError)
assert isinstance(e, app.Error)
e = raises(lambda: s.__wrapped__, kind=AttributeError)
assert not isinstance(e, app.Error)",
    );
}

#[test]
fn errors_of_members_are_those_of_functions() {
    let host = Host::new();
    for (line, code, message) in [
        ("s.fail()", ErrorCode::NativeError, "on purpose"),
        ("s.timeout = 9999", ErrorCode::NativeError, "too long"),
        (
            "s.timeout = 'x'",
            ErrorCode::BadArgument,
            "argument 2 'seconds': expected int(0..4294967295), got string \"x\"",
        ),
        ("s.answer('x')", ErrorCode::BadArgument, "argument 2 'code': expected int(0..65535), got string \"x\""),
        ("type(s).answer(200)", ErrorCode::BadArgument, "argument 1 'self': expected Session, got integer 200"),
        (
            "app.call.Session.answer(200)",
            ErrorCode::BadArgument,
            "argument 1 'self': expected Session, got integer 200",
        ),
        (
            "app.call.Session.answer(app.call.Grid.make())",
            ErrorCode::BadArgument,
            "argument 1 'self': expected Session, got Grid",
        ),
        ("s.answer(1, 'x', 3)", ErrorCode::ArgumentCount, "takes 1 to 3 argument(s) (self, code, reason), got 4"),
        ("type(s).answer()", ErrorCode::ArgumentCount, "takes 1 to 3 argument(s) (self, code, reason), got 0"),
        ("s.in_branch()", ErrorCode::NotAllowedHere, "may not be called in route 'main'; allowed in: branch"),
    ] {
        let (_, _, result) = host.run(&format!("s = app.call.Session.dial('bob')\n\n{line}"));
        let error = result.expect_err(line);
        assert_eq!((error.code, error.message.as_str()), (code, message), "{line}");
        assert_eq!(place(&error), "test.py:4", "{line}");
    }
    let (_, _, result) = host.run("app.call.Session.dial('bob').listen()");
    assert!(result.unwrap_err().message.contains("calls"));
    let (_, cx, result) = host.run("s = app.call.Session.dial('bob')\ntry: s.leave()\nexcept: app.host.note('caught')");
    assert_eq!((result.unwrap(), cx.notes.len()), (Outcome::Drop, 0));
}

#[test]
fn an_object_that_is_gone_or_in_use_is_an_error_at_the_line() {
    let host = Host::new();
    let (_, _, result) = host.run("s = app.host.own('bob')\napp.host.end()\nreturn s.caller");
    let error = result.unwrap_err();
    assert_eq!((error.code, place(&error).as_str()), (ErrorCode::ObjectGone, "test.py:4"), "{error:#}");
    let (_, _, result) = host.run("s = app.call.Session.dial('bob')\ns.during(lambda:\n    s.caller)");
    let error = result.unwrap_err();
    assert_eq!((error.code, place(&error).as_str()), (ErrorCode::ObjectBusy, "test.py:4"), "{error:#}");
    check_with_raises(
        "s = app.host.own('bob')
app.host.end()
for function in (lambda: s.caller, s.answer, lambda: setattr(s, 'timeout', 1)):
    raises(function, 'the Session is gone', kind=app.Error)
assert repr(s).endswith(', gone)>') and s == s and hash(s) == hash(s) and app.host.owned() is None
raises(lambda: s.anwser, \"has no 'anwser'\")
s = app.call.Session.dial('eve')
assert s.during(lambda: repr(s)).startswith('<Session')
assert s.caller == 'eve'",
    );
}

#[test]
fn the_class_is_closed() {
    check_with_raises(
        "import copy, pickle, json, weakref, inspect
s = app.call.Session.dial('bob')
g = app.call.Grid.make()
cls = type(s)
base = cls.__mro__[1]
assert cls.__name__ == 'Session' and cls.__module__ == 'app.call' and cls.__doc__ == 'A call of somebody.'
assert cls is type(app.call.Session.dial('eve')) is not type(g)
assert repr(cls) == \"<class 'app.call.Session'>\" and isinstance(s, base)
for made in (lambda: cls(), lambda: cls(1, a=2), lambda: base(), lambda: cls.__new__(cls), lambda: base.__new__(cls),
             lambda: object.__new__(cls), lambda: object.__new__(base), lambda: type(cls.timeout)()):
    raises(made, kind=TypeError)
raises(lambda: type('Sub', (cls,), {}), 'not an acceptable base type', kind=TypeError)
class Own(base):
    def __del__(self): app.host.note('del')
class Made(base):
    def __new__(cls): return object.__new__(cls)
for made in (Own, Made, lambda: base.__new__(Own), lambda: object.__new__(Own)):
    raises(made, kind=TypeError)
def patch(of, name, value):
    def patch(): setattr(of, name, value)
    return patch
class Other:
    __slots__ = ()
for refused in (patch(cls, 'answer', 1), patch(cls, 'x', 1), patch(base, '__repr__', 1), patch(type(cls.timeout), 'x', 1),
                patch(cls, '__bases__', (Other,)), lambda: type.__setattr__(cls, 'answer', 1), lambda: delattr(cls, 'answer')):
    raises(refused, kind=TypeError)
raises(patch(s, '__class__', Other), kind=AttributeError)
raises(patch(s, '__dict__', {}), kind=AttributeError)
for of in (Other, type(g), Own, base):
    raises(lambda: object.__setattr__(s, '__class__', of), kind=TypeError)
raises(lambda: object.__setattr__(s, 'x', 1), kind=(AttributeError, TypeError))
raises(lambda: object.__setattr__(Other(), '__class__', cls), kind=TypeError)
raises(lambda: vars(s), kind=TypeError)
raises(lambda: weakref.ref(s), kind=TypeError)
for copied in (lambda: copy.copy(s), lambda: copy.deepcopy([s]), lambda: pickle.dumps(s), lambda: s.__reduce_ex__(4)):
    raises(copied, 'a Session is an object of the host', kind=TypeError)
raises(lambda: json.dumps({'s': s}), 'Object of type Session is not JSON serializable', kind=TypeError)
names = [n for n in dir(s) if not n.startswith('_')]
assert names == ['answer', 'caller', 'during', 'fail', 'in_branch', 'leave', 'listen', 'ring', 'timeout'], names
assert 'Answers the call.' in s.answer.__doc__ and s.answer.__self__ is s
assert cls.timeout is cls.__dict__['timeout']
assert dict(inspect.getmembers(s))['caller'] == 'bob'
assert isinstance(s, cls) and not isinstance(g, cls)
raises(lambda: cls.timeout.__get__(5), 'expected Session', kind=app.Error)
raises(lambda: cls.__repr__(5), kind=TypeError)
raises(lambda: type(g).__len__(s), 'expected Grid, got Session', kind=app.Error)
raises(lambda: type(g).__getitem__(s, 'x'), 'expected Grid, got Session', kind=app.Error)
raises(lambda: base.__setattr__(5, 'x', 1), kind=TypeError)
raises(lambda: base.__setattr__(s, 5, 1), kind=TypeError)
raises(lambda: getattr(s, '\\udc80'), kind=AttributeError)",
    );
}

#[test]
fn an_object_of_a_class_that_is_not_enabled_is_a_handle_without_members() {
    check_with_raises(
        "h = app.host.hidden()
app.host.keep_any([h])
assert app.host.kept_any() == [h] and type(h).__name__ == 'Hidden'
raises(lambda: h.work(), 'app.hidden.Hidden is not enabled', kind=app.Error)
raises(lambda: setattr(h, 'x', 1), 'not enabled', kind=app.Error)",
    );
}

#[test]
fn the_hosts_end_of_an_object_runs_after_the_call() {
    let host = Host::new();
    let instance = Rc::new(host.load(
        "import gc
def main():
    s = app.call.Session.dial('bob')
    del s
    cycle = [app.call.Session.dial('eve')]
    cycle.append(cycle)
    del cycle
    gc.collect()
    return app.host.dropped()
def give(value):
    return value
",
    ));
    let mut cx = Cx::default();
    let lock = Arc::new(Mutex::new(Vec::new()));
    let (again, main, pass, seen) = (Rc::downgrade(&instance), host.main, host.pass, lock.clone());
    let end: Rc<dyn Fn()> = Rc::new(move || {
        // The end calls the very instance, and takes a lock.
        let outcome = again.upgrade().map(|instance| instance.call(pass, &mut Cx::default(), &[Arg::Int(7)]));
        seen.lock().unwrap().push(outcome.map(|outcome| outcome.unwrap_or_else(|error| panic!("{error:#}"))));
        let _ = main;
    });
    ON_END.set(Some(end));
    assert_eq!(instance.call(host.main, &mut cx, &[]).unwrap(), Outcome::Value(0.into()));
    assert_eq!(instance.call(host.pass, &mut cx, &[Arg::Int(1)]).unwrap(), Outcome::Value(1.into()));
    assert_eq!(cx.dropped.load(Ordering::Relaxed), 2);
    assert_eq!(*lock.lock().unwrap(), [Some(Outcome::Value(7.into())), Some(Outcome::Value(7.into()))]);
    ON_END.set(None);
}

#[test]
fn objects_that_are_made_and_dropped_in_one_call_stay_few() {
    let (_, cx, result) = Host::new().run(
        "most = 0
for n in range(10_000):
    s = app.call.Session.dial('bob')
    most = max(most, n + 1 - app.host.dropped())
return most",
    );
    let Outcome::Value(most) = result.unwrap() else { panic!() };
    assert!(most.as_i64().is_some_and(|most| (2..=300).contains(&most)), "{most}");
    assert_eq!(cx.dropped.load(Ordering::Relaxed), 10_000);
}

#[test]
fn the_end_of_an_object_may_call_the_instance_while_its_script_runs() {
    let host = Host::new();
    let instance = Rc::new(host.load(
        "calls = 0
def main():
    seen = [app.call.Session.dial(str(n)).caller for n in range(600)]
    assert seen == [str(n) for n in range(600)]
    app.host.note('still there')
    return calls
def give(value):
    global calls
    calls += 1
    assert value.caller == 'end'
",
    ));
    let (again, pass) = (Rc::downgrade(&instance), host.pass);
    let session = Handle::new(Session::new("end", &Arc::default()));
    let of_end = session.clone();
    ON_END.set(Some(Rc::new(move || {
        let Some(instance) = again.upgrade() else { return };
        let result = instance.call(pass, &mut Cx::default(), &[Arg::Object(of_end.as_object())]);
        result.unwrap_or_else(|error| panic!("{error:#}"));
    })));
    let mut cx = Cx::default();
    let result = instance.call(host.main, &mut cx, &[]).unwrap_or_else(|error| panic!("{error:#}"));
    let ended = cx.dropped.load(Ordering::Relaxed);
    assert!(ended >= 256, "{ended}");
    assert_eq!((result, cx.notes.len()), (Outcome::Value(i64::try_from(ended).unwrap().into()), 1));
    ON_END.set(None);
}

#[test]
fn the_place_of_an_object_is_used_again() {
    check(
        "held = [app.call.Session.dial(str(n)) for n in range(100)]
for round in range(50):
    for n in range(0, 100, 3):
        held[n] = None
    for n in range(0, 100, 3):
        held[n] = app.call.Session.dial(f'{n}/{round}')
    assert all(s.caller in (str(n), f'{n}/{round}') for n, s in enumerate(held))",
    );
}

#[test]
fn an_owner_ends_an_object_that_scripts_hold() {
    let host = Host::new();
    let instance =
        host.load("def main():\n    global s\n    s = app.host.own('bob')\n\ndef give(value):\n    return s.caller\n");
    let mut cx = Cx::default();
    instance.call(host.main, &mut cx, &[]).unwrap();
    assert_eq!(instance.call(host.pass, &mut cx, &[Arg::Nil]).unwrap(), Outcome::Value("bob".into()));
    cx.owner = None;
    assert_eq!(cx.dropped.load(Ordering::Relaxed), 1);
    let error = instance.call(host.pass, &mut cx, &[Arg::Nil]).unwrap_err();
    assert_eq!((error.code, place(&error).as_str()), (ErrorCode::ObjectGone, "test.py:6"));
}

#[test]
fn a_loan_is_over_with_its_closure() {
    let host = Host::new();
    let instance = host.load("def give(value):\n    global s\n    s = value or s\n    return s.caller\n");
    let mut session = Session::new("bob", &Arc::default());
    let mut cx = Cx::default();
    Handle::lend(&mut session, |session| {
        let result = instance.call(host.pass, &mut cx, &[Arg::Object(session.as_object())]).unwrap();
        assert_eq!(result, Outcome::Value("bob".into()));
    });
    let error = instance.call(host.pass, &mut cx, &[Arg::Nil]).unwrap_err();
    assert_eq!((error.code, place(&error).as_str()), (ErrorCode::ObjectGone, "test.py:4"));
    drop(instance);
    assert_eq!((session.caller.as_str(), session.dropped.load(Ordering::Relaxed)), ("bob", 0));
}

#[test]
fn two_instances_on_two_threads_share_an_object() {
    let session = Handle::new(Session::new("bob", &Arc::default()));
    let count = || {
        let host = Host::new();
        let text = "
def give(s):
    done = 0
    while done < 500:
        # Other scripts run between these two, and not within one.
        s.answer()
        done += 1
    global kept
    kept = s
    return done
";
        let instance = host.load(text);
        let mut cx = Cx::default();
        let result = instance.call(host.pass, &mut cx, &[Arg::Object(session.as_object())]);
        assert_eq!(result.unwrap_or_else(|error| panic!("{error:#}")), Outcome::Value(500.into()));
        assert_eq!(cx.notes.len(), 500);
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(count);
        count();
        other.join().unwrap();
    });
    // Whatever the scripts had is put down.
    let dropped = session.with(|session| session.dropped.clone()).unwrap();
    drop(session);
    assert_eq!(dropped.load(Ordering::Relaxed), 1);
}

#[test]
fn an_object_that_another_thread_uses_is_busy() {
    let session = Handle::new(Session::new("bob", &Arc::default()));
    let gate = Arc::new(Barrier::new(2));
    let call = |text: &str, gate: Option<Arc<Barrier>>| {
        let host = Host::new();
        let mut cx = Cx { gate, ..Cx::default() };
        host.load(text).call(host.pass, &mut cx, &[Arg::Object(session.as_object())])
    };
    std::thread::scope(|scope| {
        let ringing = scope.spawn(|| call("def give(s):\n    s.ring()\n    return s.caller\n", Some(gate.clone())));
        gate.wait();
        let error = call("def give(s):\n    return s.caller\n", None).unwrap_err();
        gate.wait();
        assert_eq!((error.code, place(&error).as_str()), (ErrorCode::ObjectBusy, "test.py:2"), "{error:#}");
        assert_eq!(ringing.join().unwrap().unwrap(), Outcome::Value("bob".into()));
    });
}

#[test]
fn a_handle_is_kept_over_a_reload() {
    let host = Host::new();
    let path = std::env::temp_dir().join(format!("kemi-objects-{}.py", std::process::id()));
    let write = |n: i64| {
        let text = format!(
            "import builtins, sys
def main():
    app.host.keep(app.call.Session.dial('bob'))
def give(value):
    return [value.caller, {n}, app.host.kept()[0] == value]
"
        );
        std::fs::write(&path, text).unwrap();
    };
    write(1);
    let program = Program::open(Arc::new(PythonEngine), &host.registry, &[Source::File(path.clone())]).unwrap();
    let mut worker = program.worker("w", None).unwrap();
    let mut cx = Cx::default();
    worker.instance().call(host.main, &mut cx, &[]).unwrap();
    let session = cx.handles[0].clone();
    for n in 1..=3i64 {
        let result = worker.instance().call(host.pass, &mut cx, &[Arg::Object(session.as_object())]).unwrap();
        assert_eq!(result, Outcome::Value(Value::Array(vec!["bob".into(), n.into(), true.into()])));
        write(n + 1);
        program.reload(Duration::ZERO).unwrap();
        assert!(worker.refresh());
    }
    let _ = std::fs::remove_file(&path);
}

#[test]
fn an_instance_that_goes_lets_go_of_its_objects() {
    let host = Host::new();
    let text = "
import sys
held = [app.call.Session.dial('bob')]
held.append(held)
sys.kemi_object = app.call.Session.dial('eve')
sys.kemi_class = type(sys.kemi_object)
";
    let mut cx = Cx::default();
    let load = |cx: &mut Cx| Instance::load_with(&PythonEngine, &host.registry, &[Source::text("a.py", text)], cx);
    let instance = load(&mut cx).unwrap_or_else(|error| panic!("{error:#}"));
    assert_eq!(cx.dropped.load(Ordering::Relaxed), 0);
    drop(instance);
    // Although one is in a cycle, and the other in a module of Python's own.
    assert_eq!(cx.dropped.load(Ordering::Relaxed), 2);
    check_with_raises(
        "import sys
s = sys.kemi_object
del sys.kemi_object
assert repr(s) == '<Session of a script that was unloaded>' and s == s and s != app.call.Session.dial('x')
hash(s)
for use in (lambda: s.caller, lambda: s.answer(), lambda: setattr(s, 'timeout', 1)):
    raises(use, 'after its script was unloaded')
raises(lambda: app.host.keep(s), 'got Session of a script that was unloaded', kind=app.Error)
raises(lambda: app.host.keep_any([s]), 'Session of a script that was unloaded', kind=app.Error)
raises(lambda: s.anwser, 'did you mean')
raises(sys.kemi_class, kind=TypeError)
del sys.kemi_class, s",
    );
    // An object that outlives the instance by the host's handle.
    let instance = load(&mut cx).unwrap();
    instance.call(host.main, &mut cx, &[]).unwrap_err();
    drop(instance);
    assert_eq!(cx.dropped.load(Ordering::Relaxed), 4);
}

#[test]
fn an_object_of_another_instance_crosses_on_the_same_thread() {
    let host = Host::new();
    let giver = host.load("import sys\ndef give(value):\n    sys.kemi_shared = value\n");
    let session = Handle::new(Session::new("bob", &Arc::default()));
    giver.call(host.pass, &mut Cx::default(), &[Arg::Object(session.as_object())]).unwrap();
    let (_, cx, result) = host.run("import sys\ns = sys.kemi_shared\napp.host.keep(s)\nreturn s.timeout");
    assert_eq!(result.unwrap_or_else(|error| panic!("{error:#}")), Outcome::Value(30.into()));
    assert!(cx.handles[0] == session);
}

#[test]
fn a_function_that_the_host_keeps_holds_what_it_captured() {
    let host = Host::new();
    let (instance, mut cx, result) =
        host.run("s = app.call.Session.dial('bob')\napp.host.keep_function(lambda: s.caller)\napp.host.keep_function(s.answer)\napp.host.keep_function(lambda: s.caller)");
    result.unwrap();
    let function = cx.function.take().unwrap();
    assert_eq!(function.call::<_, String>(&instance, &mut cx, ()).unwrap(), "bob");
    assert_eq!(cx.dropped.load(Ordering::Relaxed), 0);
    drop(function);
    // Released before one call, and ended before the next at the latest.
    for _ in 0..2 {
        let _ = instance.call(host.pass, &mut cx, &[Arg::Nil]);
    }
    assert_eq!(cx.dropped.load(Ordering::Relaxed), 1);
}

#[test]
fn what_python_makes_for_an_object_is_freed() {
    let host = Host::new();
    let text = "
import gc, sys
def use():
    g = app.call.Grid.make()
    for n in range(20):
        s = app.call.Session.dial('bob')
        s.timeout = 5
        taken = s.answer
        g['x'] = n
        hasattr(s, 'y'), hasattr(s, '__y__')
        try: s.caller = 1
        except AttributeError: pass
        try: type(s)()
        except TypeError: pass
        str(g), len(g), g == g, s == s, s != g, repr(s), hash(s)
        app.host.keep_any([s, {'s': s}])
        app.host.kept_any()
        app.host.keep_any(None)
def main():
    session, grid = type(app.call.Session.dial('bob')), type(app.call.Grid.make())
    use()
    # Each object refers to its class.
    before = sys.getrefcount(session), sys.getrefcount(grid)
    use()
    return before == (sys.getrefcount(session), sys.getrefcount(grid))
def give(value):
    gc.collect()
    return sum(type(o) is type and o.__module__ == 'app.call' for o in gc.get_objects())
";
    let mut cx = Cx::default();
    for _ in 0..50 {
        let instance = host.load(text);
        let result = instance.call(host.main, &mut cx, &[]).unwrap_or_else(|error| panic!("{error:#}"));
        assert_eq!(result, Outcome::Value(true.into()));
        let Outcome::Value(classes) = instance.call(host.pass, &mut cx, &[Arg::Nil]).unwrap() else { panic!() };
        // Other tests have a few classes on other threads meanwhile.
        assert!(classes.as_i64().is_some_and(|classes| classes < 60), "{classes}");
    }
    assert_eq!(cx.dropped.load(Ordering::Relaxed), 50 * 41);
}

#[test]
fn threads_of_the_script_may_drop_objects_and_not_use_them() {
    check_with_raises(
        "import threading
s = app.call.Session.dial('bob')
seen = []
def work(s):
    e = raises(lambda: s.caller, 'from a thread that the script started')
    seen.append(s == s)
held = [app.call.Session.dial(str(n)) for n in range(100)]
def clear(): held.clear()
for thread in (threading.Thread(target=work, args=(s,)), threading.Thread(target=clear)):
    thread.start()
    thread.join()
assert seen == [True] and not held and s.caller == 'bob'",
    );
}
