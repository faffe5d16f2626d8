//! Objects of the host as scripts hold them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kemi_core::limits::{Imports, Profile};
use kemi_core::{
    Arg, CallbackId, Callbacks, ErrorCode, Function, Handle, Instance, Outcome, Owner, Program, Registry, Script,
    ScriptError, Source, Value,
};
use kemi_macros::kemi_export;
use kemi_rhai::RhaiEngine;

/// What is known of all sessions of a test.
#[derive(Debug, Default)]
struct Lives {
    /// A host's lock, which ending a session takes.
    lock: Mutex<()>,
    /// Whether one ended while somebody had the lock.
    ended_within: AtomicBool,
    living: AtomicUsize,
    most_living: AtomicUsize,
}

impl Lives {
    fn living(&self) -> usize {
        self.living.load(Ordering::Relaxed)
    }
}

#[derive(Debug, Default)]
struct Host {
    lives: Arc<Lives>,
    told: Vec<String>,
    owner: Option<Owner<Session>>,
    kept: Vec<Handle<Session>>,
    functions: Vec<Function>,
}

impl Host {
    fn session(&self, caller: &str) -> Session {
        let living = self.lives.living.fetch_add(1, Ordering::Relaxed) + 1;
        self.lives.most_living.fetch_max(living, Ordering::Relaxed);
        Session {
            caller: caller.to_owned(),
            timeout: 30,
            labels: vec!["a".to_owned()],
            fields: BTreeMap::new(),
            lives: self.lives.clone(),
        }
    }
}

#[derive(Debug)]
struct Session {
    caller: String,
    timeout: u32,
    labels: Vec<String>,
    fields: BTreeMap<String, i64>,
    lives: Arc<Lives>,
}

impl Drop for Session {
    fn drop(&mut self) {
        match self.lives.lock.try_lock() {
            Ok(_) => {}
            Err(_) => self.lives.ended_within.store(true, Ordering::Relaxed),
        }
        self.lives.living.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A call of somebody.
#[kemi_export(module = "call")]
impl Session {
    const LONGEST: u32 = 3600;

    fn dial(cx: &mut Host, to: &str) -> Result<Self, String> {
        if to.is_empty() { Err("nobody to call".to_owned()) } else { Ok(cx.session(to)) }
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
    fn set_secret(&mut self, _secret: &str) {}

    /// Cannot be set.
    #[kemi(get)]
    fn tags(&self) -> Vec<String> {
        vec!["x".to_owned(), "y".to_owned()]
    }

    #[kemi(get)]
    fn labels(&self) -> Vec<String> {
        self.labels.clone()
    }

    #[kemi(set)]
    fn set_labels(&mut self, labels: Vec<String>) {
        self.labels = labels;
    }

    fn answer(&mut self, cx: &mut Host, code: Option<u16>) -> String {
        cx.told.push(format!("{} {code:?}", self.caller));
        format!("answered {}", code.unwrap_or(200))
    }

    /// A name that Rhai reads as a keyword.
    #[kemi(name = "match")]
    fn matches(&self, text: &str) -> bool {
        self.caller.contains(text)
    }

    fn transfer(&self, to: Handle<Self>) -> Result<String, ScriptError> {
        to.with_mut(|other| {
            other.caller.push_str(&self.caller);
            other.caller.clone()
        })
    }

    /// Ends the session that the host keeps.
    fn hang_up(&self, cx: &mut Host) {
        cx.owner = None;
    }

    /// Lets the script do something while it is looked at.
    fn during(&self, cx: &mut Host, script: &Script<'_>, run: Function) -> Result<Value, ScriptError> {
        called(script.call_function(&run, cx, &[])?)
    }

    /// Lets the script do something while it is changed.
    fn during_change(&mut self, cx: &mut Host, script: &Script<'_>, run: Function) -> Result<Value, ScriptError> {
        self.timeout += 1;
        called(script.call_function(&run, cx, &[])?)
    }

    #[kemi(deprecated(since = "1.0.0", use = "call.Session.answer"))]
    fn accept(&self) -> bool {
        true
    }

    #[kemi(callbacks(other))]
    fn only_elsewhere(&self) {}

    #[kemi(index)]
    fn field(&self, key: &str) -> Option<i64> {
        self.fields.get(key).copied()
    }

    #[kemi(set_index)]
    fn set_field(&mut self, key: &str, value: i64) {
        self.fields.insert(key.to_owned(), value);
    }

    #[kemi(length)]
    fn len(&self) -> usize {
        self.fields.len()
    }

    #[kemi(text)]
    fn to_text(&self) -> String {
        format!("call of {}", self.caller)
    }
}

fn called(outcome: Outcome) -> Result<Value, ScriptError> {
    match outcome {
        Outcome::Value(value) => Ok(value),
        other => Err(ScriptError::new(ErrorCode::NativeError, format!("{other:?}"))),
    }
}

/// Has next to nothing.
#[derive(Debug)]
struct Plain(i64);

#[kemi_export(module = "call")]
impl Plain {
    fn make(number: i64) -> Self {
        Plain(number)
    }

    fn number(&self) -> i64 {
        self.0
    }
}

/// Is equal by its number, also to a number.
#[derive(Debug)]
struct Number(i64);

#[kemi_export(module = "call")]
impl Number {
    fn make(number: i64) -> Self {
        Number(number)
    }

    #[kemi(equal)]
    fn is(&self, other: Value) -> Result<bool, ScriptError> {
        match other {
            Value::Int(other) => Ok(self.0 == other),
            Value::Object(other) => match other.downcast::<Number>() {
                Some(other) => other.with(|other| other.0 == self.0),
                None => Ok(false),
            },
            _ => Ok(false),
        }
    }
}

/// Has an index that cannot be set.
#[derive(Debug)]
struct Shelf;

#[kemi_export(module = "call")]
impl Shelf {
    fn make() -> Self {
        Shelf
    }

    #[kemi(index)]
    fn book(&self, key: Value) -> Vec<Value> {
        vec![key]
    }

    /// A name that Rhai has for all values.
    fn set_tag(&self, tag: i64) -> i64 {
        tag * 2
    }
}

/// Has an index by number.
#[derive(Debug)]
struct Row(Vec<i64>);

#[kemi_export(module = "call")]
impl Row {
    fn make() -> Self {
        Row(vec![10, 20])
    }

    #[kemi(index)]
    fn cell(&self, index: usize) -> Option<i64> {
        self.0.get(index).copied()
    }

    #[kemi(set_index)]
    fn set_cell(&mut self, index: usize, value: i64) {
        if let Some(cell) = self.0.get_mut(index) {
            *cell = value;
        }
    }
}

/// A class whose module is not enabled.
#[derive(Debug)]
struct Ghost;

#[kemi_export(module = "off")]
impl Ghost {
    fn appear(&self) {}
}

#[kemi_export(module = "call")]
fn ghost(_cx: &mut Host) -> Handle<Ghost> {
    Handle::new(Ghost)
}

#[kemi_export(module = "call")]
fn is_ghost(_cx: &mut Host, ghost: Handle<Ghost>) -> bool {
    !ghost.is_gone()
}

/// Gives back what it gets.
#[kemi_export(module = "call")]
fn echo(_cx: &mut Host, value: Value) -> Value {
    value
}

#[kemi_export(module = "call")]
fn keep(cx: &mut Host, session: Handle<Session>) {
    cx.kept.push(session);
}

#[kemi_export(module = "call")]
fn kept(cx: &mut Host) -> Option<Handle<Session>> {
    cx.kept.last().cloned()
}

#[kemi_export(module = "call")]
fn on(cx: &mut Host, function: Function) {
    cx.functions.push(function);
}

/// Holds the lock that ending a session takes while the script runs.
#[kemi_export(module = "call")]
fn locked(cx: &mut Host, script: &Script<'_>, run: Function) -> Result<Value, ScriptError> {
    let lives = cx.lives.clone();
    let _held = lives.lock.lock().unwrap();
    called(script.call_function(&run, cx, &[])?)
}

fn registry() -> (Registry<Host>, CallbackId) {
    let mut callbacks = Callbacks::new();
    let run = callbacks.optional("request", "run", &["a", "b"]);
    callbacks.optional("other", "other", &[]);
    let registry = Registry::<Host>::builder().root("app").module("call").callbacks(callbacks);
    let registry = registry.profile(Profile::strictest().imports(Imports::BesideScripts)).build().unwrap();
    (registry, run)
}

struct Scripted {
    instance: Instance<Host>,
    run: CallbackId,
    host: Host,
}

impl Scripted {
    fn load(text: &str) -> Result<Scripted, ScriptError> {
        let (registry, run) = registry();
        let instance = Instance::load(&RhaiEngine, &registry, &[Source::text("test.rhai", text)])?;
        Ok(Scripted { instance, run, host: Host::default() })
    }

    fn call(&mut self, args: &[Arg<'_>]) -> Result<Value, ScriptError> {
        called(self.instance.call(self.run, &mut self.host, args)?)
    }

    fn function(&mut self, at: usize) -> Result<Value, ScriptError> {
        let function = self.host.functions[at].clone();
        called(function.call(&self.instance, &mut self.host, &[] as &[Arg<'_>])?)
    }
}

/// Runs statements behind `let s`, a session, all on line 2.
fn eval(statements: &str) -> Result<Value, ScriptError> {
    Scripted::load(&format!("fn run() {{ let s = app.call.Session.dial(\"bob\");\n{statements} }}"))?.call(&[])
}

fn value(statements: &str) -> Value {
    eval(statements).unwrap_or_else(|error| panic!("{statements}: {error}"))
}

/// Returns the error, which must be on line 2.
fn error(statements: &str) -> ScriptError {
    let error = match eval(statements) {
        Err(error) => error,
        Ok(value) => panic!("{statements}: {value}"),
    };
    let line = error.place.as_ref().map(|place| place.line);
    assert_eq!(line, Some(2), "{statements}: {error}");
    error
}

#[track_caller]
fn refused(statements: &str, code: ErrorCode, message: &str) {
    let error = error(statements);
    assert_eq!((error.code, error.message.as_str()), (code, message), "{statements}");
}

#[test]
fn methods_properties_and_functions_of_the_class_are_called() {
    assert_eq!(value("s.answer()"), Value::from("answered 200"));
    assert_eq!(value("s.answer(486)"), Value::from("answered 486"));
    assert_eq!(value("app.call.Session.answer(s, 487)"), Value::from("answered 487"));
    assert_eq!(value("answer(s, 488)"), Value::from("answered 488"), "Rhai's other way to write it");
    assert_eq!(value("s.caller"), Value::from("bob"));
    assert_eq!(value("s.timeout = 5; s.timeout"), Value::Int(5));
    assert_eq!(value("s.timeout += 7; s.timeout"), Value::Int(37));
    assert_eq!(value("s.timeout = 5000; s.timeout"), Value::Int(3600));
    assert_eq!(value("app.call.Session.LONGEST"), Value::Int(3600));
    assert_eq!(value("s.match(\"ob\")"), Value::Bool(true));
    assert_eq!(value("app.call.Session.match(s, \"x\")"), Value::Bool(false));
    assert_eq!(value("s.transfer(app.call.Session.dial(\"eve\"))"), Value::from("evebob"));
    assert_eq!(value("const C = s; C.timeout = 1; C.answer() + C.timeout"), Value::from("answered 2001"));
    assert_eq!(value("s.accept()"), Value::Bool(true));
    assert_eq!(value("app.call.Plain.make(7).number()"), Value::Int(7));
    assert_eq!(value("s?.caller"), Value::from("bob"));
    assert_eq!(value("fn_of(s)} fn fn_of(s) { s.answer(1)"), Value::from("answered 1"));
    assert_eq!(value("s.shout()} fn shout() { this.caller.to_upper()"), Value::from("BOB"), "Rhai's `this`");
}

#[test]
fn methods_and_properties_are_called_by_their_typed_entries() {
    let text = "fn run(s) { s.match(\"o\"); s.timeout; s.timeout = 5; s.caller; app.call.Session.match(s, \"o\"); s.answer(); }";
    let mut scripted = Scripted::load(text).unwrap();
    let session = Handle::new(scripted.host.session("bob"));
    scripted.call(&[Arg::Object(session.as_object())]).unwrap();
    assert_eq!(scripted.instance.calls(), (5, 1), "an option has no shape");
}

#[test]
fn a_list_that_a_property_gives_is_set_again_only_where_it_can_be() {
    assert_eq!(value("s.tags.len()"), Value::Int(2));
    assert_eq!(value("s.tags[1]"), Value::from("y"));
    assert_eq!(value("s.tags.push(\"z\"); s.tags.len()"), Value::Int(2), "a copy");
    assert_eq!(value("s.labels.push(\"z\"); s.labels.len()"), Value::Int(2));
    assert_eq!(value("s.labels[0] = \"q\"; s.labels[0]"), Value::from("q"));
}

#[test]
fn operators_are_those_of_the_class() {
    assert_eq!(
        value("s[\"x\"] = 3; s[\"x\"] += 1; [s[\"x\"], s.len(), len(s), s.len, s[\"caller\"]]").to_string(),
        "[4, 1, 1, 1, \"bob\"]"
    );
    assert_eq!(value("s[\"timeout\"] = 9; s.timeout"), Value::Int(9));
    assert_eq!(value("s.no_member"), Value::Nil, "the index is asked");
    for text in ["s.to_string()", "`${s}`", "\"\" + s", "s.to_debug()", "to_string(s)"] {
        assert_eq!(value(text), Value::from("call of bob"), "{text}");
    }
    assert_eq!(value("print(s); debug(s); [s].to_string()"), Value::from("[call of bob]"));
    let text = value("app.call.Plain.make(1).to_string()").to_string();
    assert!(text.starts_with("\"Plain(0x"), "{text}");
    assert_eq!(
        value("let p = app.call.Plain.make(1); let q = app.call.Plain.make(1); `${p}` == `${q}`"),
        Value::Bool(false)
    );
}

#[test]
fn an_index_that_cannot_be_set_is_read_all_the_same() {
    let shelf = |rest: &str| format!("let b = app.call.Shelf.make(); {rest}");
    assert_eq!(value(&shelf("[b[1], b[\"x\"], b.x, b[()][0]]")).to_string(), "[[1], [\"x\"], [\"x\"], nil]");
    assert_eq!(value(&shelf("b[1].push(2); b.x.push(2); [b[1].len(), b.x.len()]")).to_string(), "[1, 1]");
    assert_eq!(value(&shelf("b.set_tag(4)")), Value::Int(8));
    refused(&shelf("b[1] = 2"), ErrorCode::ReadOnly, "what is in a Shelf by index cannot be set");
    for text in ["b.x = 2", "b[\"x\"] = 2"] {
        refused(&shelf(text), ErrorCode::UnknownFunction, "a Shelf has no 'x'");
    }
}

#[test]
fn a_text_is_a_misspelt_name_where_the_index_takes_none() {
    let row = |rest: &str| format!("let r = app.call.Row.make(); {rest}");
    assert_eq!(value(&row("r[1] += 2; [r[0], r[1], r[2]]")).to_string(), "[10, 22, nil]");
    for text in ["r.x", "r[\"x\"]", "r.x = 1", "r[\"x\"] = 1", "r.x += 1"] {
        refused(&row(text), ErrorCode::UnknownFunction, "a Row has no 'x'");
    }
}

#[test]
fn values_of_one_object_are_equal() {
    let all = "app.call.keep(s); let t = app.call.kept(); let o = app.call.Session.dial(\"bob\"); \
               [s == t, s != t, s == o, s != o, s == 1, s != (), s in [o, t], [o, s].index_of(t), [s] == [t], #{ a: s } == #{ a: o }, s == app.call.Plain.make(1)]";
    assert_eq!(value(all).to_string(), "[true, false, false, true, false, true, true, 1, true, false, false]");
    let numbers = "let n = app.call.Number.make(1); [n == app.call.Number.make(1), n != app.call.Number.make(1), n == 1, 1 == n, 2 == n, n != 2, n == \"1\", n == s, s == n]";
    assert_eq!(value(numbers).to_string(), "[true, false, true, true, false, true, false, false, false]");
}

#[test]
fn objects_cross_in_lists_and_maps_and_callbacks() {
    assert_eq!(value("let m = app.call.echo(#{ l: [s, s] }); m.l[1].timeout = 4; s.timeout"), Value::Int(4));
    let text = "fn run(a, b) {\n a.timeout = 1;\n [a, #{ k: a, n: b }] }";
    let mut scripted = Scripted::load(text).unwrap();
    let session = Handle::new(scripted.host.session("carl"));
    let result = scripted.call(&[Arg::Object(session.as_object()), 5.into()]).unwrap();
    let items = result.as_array().unwrap();
    assert_eq!(items[0].as_object(), Some(session.as_object()));
    assert_eq!(items[1].get("k").and_then(Value::as_object), Some(session.as_object()));
    assert_eq!(session.with(|session| session.timeout).unwrap(), 1);
    let list = Value::Array(vec![Value::Object(session.as_object().clone())]);
    let mut scripted = Scripted::load("fn run(a) { a[0].caller }").unwrap();
    assert_eq!(scripted.call(&[Arg::from(&list)]).unwrap(), Value::from("carl"));
}

#[test]
fn an_object_of_a_module_that_is_not_enabled_is_a_handle_without_members() {
    assert_eq!(
        value("let g = app.call.ghost(); [app.call.is_ghost(g), g == g, g == app.call.ghost()]").to_string(),
        "[true, true, false]"
    );
    assert!(value("app.call.ghost().to_string()").to_string().starts_with("\"Ghost(0x"));
    for use_of in
        ["let g = app.call.ghost(); g.appear()", "app.call.ghost().name", "let g = app.call.ghost(); g.name = 1"]
    {
        let error = error(use_of);
        assert_eq!(error.code, ErrorCode::UnknownFunction, "{error}");
        assert!(error.message.contains("app.off"), "{use_of}: {error}");
    }
}

#[test]
fn an_unknown_member_is_an_error_at_its_line() {
    let error = error("let p = app.call.Plain.make(1);  p.numbr()");
    assert_eq!(
        (error.message.as_str(), error.hint.as_deref()),
        ("a Plain has no 'numbr'", Some("did you mean 'number'?"))
    );
    let plain = |rest: &str| format!("let p = app.call.Plain.make(1); {rest}");
    let unknown = ErrorCode::UnknownFunction;
    for text in ["p.wrong", "p.wrong = 1", "p.wrong()", "p.wrong(1, 2)", "p.wrong += 1", "p[\"wrong\"]", "wrong(p)"] {
        refused(&plain(text), unknown, "a Plain has no 'wrong'");
    }
    for text in ["p.tag", "p.tag = 1", "p.tag()"] {
        refused(&plain(text), unknown, "a Plain has no 'tag'");
    }
    refused(&plain("p.set_tag(1)"), unknown, "a Plain has no 'set_tag'");
    refused(&plain("p.timeout"), unknown, "a Plain has no 'timeout'");
    refused(&plain("p.answer(1)"), unknown, "a Plain has no 'answer'");
    refused(&plain("p[1]"), unknown, "a Plain has no index");
    refused(&plain("p[1] = 2"), ErrorCode::ReadOnly, "what is in a Plain by index cannot be set");
    refused("s.wrong()", unknown, "a Session has no 'wrong'");
    refused("s.secret", unknown, "'secret' of a Session can only be set");
    refused("s.answer", unknown, "'answer' of a Session is a function, not a value");
    // Such an error can be caught where it is an object.
    assert_eq!(
        value(&plain("let m = (); try { p.wrong } catch (e) { m = e.message } m")),
        Value::from("a Plain has no 'wrong'")
    );
    // It is used like a text, as others are.
    assert_eq!(
        value(&plain("let m = (); try { p.wrong } catch (e) { m = e.contains(\"Plain\") } m")),
        Value::Bool(true)
    );
}

#[test]
fn what_has_no_setter_cannot_be_assigned_to() {
    for text in ["s.caller = \"x\"", "s[\"caller\"] = \"x\"", "s.caller += \"x\""] {
        refused(text, ErrorCode::ReadOnly, "'caller' of a Session can only be read");
    }
    refused("s.answer = 1", ErrorCode::ReadOnly, "'answer' of a Session can only be read");
    // What was refused quietly before explains no other error.
    let error = error("s.tags.push(\"z\"); 1.foo");
    assert_eq!(error.code, ErrorCode::Runtime, "{error}");
    let error = eval("s.timeout = \"x\"").unwrap_err();
    assert_eq!(error.code, ErrorCode::BadArgument, "{error}");
}

#[test]
fn errors_of_a_call_have_the_place_and_the_function() {
    let bad = error("s.answer(\"x\")");
    assert_eq!((bad.code, bad.export.as_deref()), (ErrorCode::BadArgument, Some("app.call.Session.answer")));
    assert_eq!(error("s.answer(1, 2)").code, ErrorCode::ArgumentCount);
    let many = error("s.answer(1, 2, 3, 4, 5, 6, 7, 8, 9)");
    assert_eq!((many.code, many.export.as_deref()), (ErrorCode::ArgumentCount, Some("app.call.Session.answer")));
    assert_eq!(error("s.only_elsewhere()").code, ErrorCode::NotAllowedHere);
    assert_eq!(error("app.call.Session.dial(\"\")").code, ErrorCode::NativeError);
    assert_eq!(error("s.transfer(1)").code, ErrorCode::BadArgument);
    assert_eq!(error("s.transfer(app.call.Plain.make(1))").message, "argument 2 'to': expected Session, got Plain");
    for text in ["app.call.Session.answer(200)", "answer(200)", "let f = Fn(\"answer\"); f.call(200)", "(1).answer(2)"]
    {
        let error = error(text);
        assert_eq!(error.code, ErrorCode::BadArgument, "{text}: {error}");
        assert!(error.message.contains("Session"), "{text}: {error}");
    }
    let error = error("app.call.Session.caller(s)");
    assert_eq!(
        (error.code, error.message.as_str()),
        (ErrorCode::UnknownFunction, "app.call.Session.caller is reached through an object only")
    );
}

#[test]
fn an_object_that_is_gone_or_in_use_is_an_error_at_its_line() {
    let mut scripted = Scripted::load("fn run(s) {\n s.hang_up();\n print(s);\n let t = `${s}`;\n s.caller }").unwrap();
    let owner = Owner::new(scripted.host.session("eve"));
    let object = owner.handle().into_object();
    scripted.host.owner = Some(owner);
    let error = scripted.call(&[Arg::Object(&object)]).unwrap_err();
    assert_eq!((error.code, error.place.as_ref().map(|place| place.line)), (ErrorCode::ObjectGone, Some(5)));
    assert_eq!(scripted.host.lives.living(), 0);
    // A variable that a closure has captured cannot be used within its own method, as everywhere in Rhai; a copy can.
    assert_eq!(value("let t = s; s.during(|| t.caller)"), Value::from("bob"));
    refused(
        "let t = s; s.during_change(|| t.caller)",
        ErrorCode::ObjectBusy,
        "the Session is in use: one of its functions runs, or another thread uses it",
    );
    refused(
        "let t = s; s.during(|| t.timeout = 1)",
        ErrorCode::ObjectBusy,
        "the Session is in use: one of its functions runs, or another thread uses it",
    );
    assert_eq!(value("app.call.Session.during(s, || s.caller)"), Value::from("bob"));
    let error = eval("s.during(|| s.caller)").unwrap_err();
    assert_eq!(error.code, ErrorCode::Runtime);
    assert!(error.hint.as_deref().is_some_and(|hint| hint.contains("let copy = ")), "{error}");
    assert_eq!(error.place.as_ref().map(|place| place.line), Some(1), "the function's, since Rhai does not tell more");
}

fn error_code(statements: &str) -> ErrorCode {
    error(statements).code
}

#[test]
fn a_function_of_the_script_that_hides_a_method_is_refused() {
    let error = Scripted::load("fn answer(s) {\n s.answer(200)\n}\nfn run(s) { answer(s) }").err().unwrap();
    assert_eq!((error.code, error.place.as_ref().map(|place| place.line)), (ErrorCode::Syntax, Some(2)), "{error}");
    assert!(error.message.contains("'.answer(…)'") && error.message.contains("Session"), "{error}");
    let folder = std::env::temp_dir().join(format!("kemi-rhai-hidden-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("m.rhai"), "fn f(s) { s.answer() }\nfn answer() { 1 }").unwrap();
    let file = folder.join("main.rhai");
    std::fs::write(&file, "import \"m\" as m;\nfn run(s) { m::f(s) }").unwrap();
    let (registry, _) = registry();
    let error = Instance::load(&RhaiEngine, &registry, &[Source::File(file)]).err().unwrap();
    assert!(error.message.contains("'.answer(…)'"), "{error}");
    assert!(error.place.as_ref().is_some_and(|place| place.file.ends_with("m.rhai") && place.line == 1));
    std::fs::write(folder.join("m.rhai"), "fn f(s) { s.answer() }").unwrap();
    let script = "import \"m\" as m;\nfn run(s) { m::f(s) }\nfn answer() { 1 }";
    std::fs::write(folder.join("main.rhai"), script).unwrap();
    let error = Instance::load(&RhaiEngine, &registry, &[Source::File(folder.join("main.rhai"))]).err().unwrap();
    assert!(error.message.contains("'.answer(…)'"), "the script's function is seen by its modules: {error}");
    std::fs::remove_dir_all(&folder).unwrap();
    // Neither another number of parameters nor a call by the class is in its way.
    assert_eq!(value("s.answer(1)} fn answer(a, b) { a"), Value::from("answered 1"));
    assert_eq!(value("answer(s)} fn answer(s) { app.call.Session.answer(s, 2)"), Value::from("answered 2"));
    assert_eq!(value("[1].push(2); push(1)} fn push(x) { x"), Value::Int(1));
}

#[test]
fn looking_at_an_object_is_harmless() {
    assert_eq!(
        value("[type_of(s), s.type_of(), type_of(app.call.Plain.make(1))]").to_string(),
        "[\"Object\", \"Object\", \"Object\"]"
    );
    refused(
        "#{ a: [s] }.to_json()",
        ErrorCode::Runtime,
        "the map holds a Session, which is no data: there is no JSON for it",
    );
    assert_eq!(error_code("for x in s { }"), ErrorCode::Runtime);
    assert_eq!(error("[s, s].sort()").message, "Function not found: elements of Object cannot be sorted");
    assert_eq!(error("if s { 1 } else { 2 }").message, "Data type incorrect: Object (expecting bool)");
    assert_eq!(error("s < s").message, "a Session has no '<'");
    assert_eq!(error_code("throw s"), ErrorCode::Runtime);
    assert_eq!(value("switch s { 1 => 2, _ => 3 }"), Value::Int(3));
    assert_eq!(value("let t = s; t.timeout = 2; s.timeout"), Value::Int(2), "a copy is the same handle");
    assert_eq!(error_code("s.call(1)"), ErrorCode::Runtime);
    assert_eq!(error_code("s()"), ErrorCode::Runtime);
}

#[test]
fn what_the_script_lets_go_ends_after_the_call_and_never_within_it() {
    let mut scripted =
        Scripted::load("fn run() { app.call.locked(|| { let s = app.call.Session.dial(\"a\"); s = (); 1 }) }").unwrap();
    let lives = scripted.host.lives.clone();
    for _ in 0..3 {
        scripted.call(&[]).unwrap();
        assert_eq!(lives.living(), 1, "that of this call alone");
    }
    drop(scripted);
    assert_eq!((lives.living(), lives.ended_within.load(Ordering::Relaxed)), (0, false));
}

#[test]
fn many_objects_in_one_call_stay_bounded() {
    let mut scripted =
        Scripted::load("fn run() { for i in 0..10000 { let s = app.call.Session.dial(\"a\"); } }").unwrap();
    scripted.call(&[]).unwrap();
    let most = scripted.host.lives.most_living.load(Ordering::Relaxed);
    assert!(most > 1 && most < 300, "{most}");
}

#[test]
fn an_object_lives_as_long_as_a_closure_that_the_host_keeps() {
    let mut scripted = Scripted::load("fn run(s) {\n app.call.on(||\n s.caller);\n }").unwrap();
    let lives = scripted.host.lives.clone();
    let session = Handle::new(scripted.host.session("bob"));
    scripted.call(&[Arg::Object(session.as_object())]).unwrap();
    drop(session);
    assert_eq!((scripted.function(0).unwrap(), lives.living()), (Value::from("bob"), 1));
    scripted.host.functions.clear();
    for _ in 0..2 {
        scripted.call(&[Arg::Nil]).unwrap();
        scripted.host.functions.clear();
    }
    assert_eq!(lives.living(), 0);
    // Lent for a call only.
    let mut lent = scripted.host.session("carl");
    Handle::lend(&mut lent, |handle| scripted.call(&[Arg::Object(handle.as_object())])).unwrap();
    assert_eq!(lent.caller, "carl");
    let error = scripted.function(0).unwrap_err();
    assert_eq!((error.code, error.place.as_ref().map(|place| place.line)), (ErrorCode::ObjectGone, Some(3)));
    // Ended by its owner.
    let owner = Owner::new(scripted.host.session("eve"));
    scripted.call(&[Arg::Object(owner.as_object())]).unwrap();
    assert_eq!(scripted.function(1).unwrap(), Value::from("eve"));
    drop(owner);
    assert_eq!(scripted.function(1).unwrap_err().code, ErrorCode::ObjectGone);
}

#[test]
fn the_interpreter_may_end_before_and_after_the_last_handle() {
    let mut scripted =
        Scripted::load("fn run(s) { app.call.on(|| s.caller); app.call.keep(app.call.Session.dial(\"new\")); }")
            .unwrap();
    let lives = scripted.host.lives.clone();
    let session = Handle::new(scripted.host.session("old"));
    scripted.call(&[Arg::Object(session.as_object())]).unwrap();
    let Scripted { instance, host, .. } = scripted;
    drop(instance);
    assert_eq!(lives.living(), 2);
    assert_eq!(host.kept[0].with(|session| session.caller.clone()).unwrap(), "new");
    assert_eq!(session.with(|session| session.caller.clone()).unwrap(), "old");
    drop((session, host));
    assert_eq!(lives.living(), 0);
    // The script has the last handle.
    let mut scripted = Scripted::load("fn run(s) { app.call.on(|| s.caller); }").unwrap();
    let lives = scripted.host.lives.clone();
    let session = Handle::new(scripted.host.session("old"));
    scripted.call(&[Arg::Object(session.as_object())]).unwrap();
    drop(session);
    assert_eq!(lives.living(), 1);
    drop(scripted);
    assert_eq!(lives.living(), 0);
}

#[test]
fn a_handle_outlives_a_reload() {
    let folder = std::env::temp_dir().join(format!("kemi-rhai-objects-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("s.rhai");
    std::fs::write(&file, "fn run() { app.call.keep(app.call.Session.dial(\"bob\")); }").unwrap();
    let (registry, run) = registry();
    let program = Program::open(Arc::new(RhaiEngine), &registry, &[Source::File(file.clone())]).unwrap();
    let mut worker = program.worker("w", None).unwrap();
    let mut host = Host::default();
    worker.instance().call(run, &mut host, &[]).unwrap();
    std::fs::write(&file, "fn run() { let s = app.call.kept(); s.timeout = 7; s.caller }").unwrap();
    program.reload(Duration::from_millis(1)).unwrap();
    assert!(worker.refresh());
    let outcome = worker.instance().call(run, &mut host, &[]).unwrap();
    assert_eq!(outcome, Outcome::Value(Value::from("bob")));
    assert_eq!(host.kept[0].with(|session| session.timeout).unwrap(), 7);
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn two_instances_on_two_threads_use_one_object() {
    let lives = Arc::new(Lives::default());
    let make = Host { lives: lives.clone(), ..Host::default() };
    let session = Handle::new(make.session("bob"));
    session.with_mut(|session| session.timeout = 0).unwrap();
    let worker = |handle: Handle<Session>| {
        move || {
            let text = "fn run(s) { let n = 0; while n < 200 { try { s.timeout += 0; s.answer(); n += 1; } catch (e) { if e.message.index_of(\"in use\") < 0 { throw e; } } } n }";
            let mut scripted = Scripted::load(text).unwrap();
            scripted.call(&[Arg::Object(handle.as_object())]).unwrap()
        }
    };
    let results = std::thread::scope(|scope| {
        let threads = [scope.spawn(worker(session.clone())), scope.spawn(worker(session.clone()))];
        threads.map(|thread| thread.join().unwrap())
    });
    assert_eq!(results, [Value::Int(200), Value::Int(200)]);
    drop(session);
    assert_eq!(lives.living(), 0);
}
