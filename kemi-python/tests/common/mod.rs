//! The host that the tests play: a context, exports of many shapes, a few callbacks.
#![allow(dead_code, reason = "each test binary uses a part")]

use std::time::{Duration, Instant};

use kemi_core::export::{Blob, Rest};
use kemi_core::registry::{Dialect, FirstArgument, ScriptObject};
use kemi_core::{
    Arg, ArgumentPolicy, ByteString, CallbackId, Callbacks, Instance, Limits, NativeExit, Outcome, Registry, Script,
    ScriptError, Source, Value,
};
use kemi_macros::kemi_export;
use kemi_python::PythonEngine;

/// The dialect of the test's host.
const DIALECT: Dialect = Dialect {
    no_callback: None,
    script_object: Some(ScriptObject {
        factory: "mod_init",
        started: Some("child_init"),
        first_argument: Some(FirstArgument { name: "message", instead: "ask {root}.probe" }),
    }),
};

#[derive(Default)]
pub(crate) struct Cx {
    pub(crate) notes: Vec<String>,
    pub(crate) text: Vec<u8>,
}

macro_rules! echoes {
    ($($name:ident($($arg:ident: $ty:ty),*) -> $ret:ty = $result:expr;)*) => {$(
        #[kemi_export(module = "echo")]
        fn $name(_cx: &mut Cx $(, $arg: $ty)*) -> $ret { $result }
    )*};
}
echoes! {
    any(value: Value) -> Value = value;
    int(i: i64) -> i64 = i;
    float(x: f64) -> f64 = x;
    truth(b: bool) -> bool = b;
    text(s: &str) -> String = s.to_owned();
    nothing() -> () = ();
    pair() -> (i64, String) = (7, "seven".to_owned());
    maybe(i: Option<i64>) -> Option<i64> = i;
    port(p: u16) -> i64 = i64::from(p);
    list(items: Vec<i64>) -> i64 = items.iter().sum();
    add(a: i64, b: i64) -> i64 = a + b;
    si(s: &[u8], i: i64) -> i64 = s.len() as i64 + i;
    times(i: i64, s: &[u8]) -> i64 = s.len() as i64 * i;
    ss(a: &[u8], b: &[u8]) -> bool = a == b;
    sss(a: &[u8], b: &[u8], c: &[u8]) -> i64 = (a.len() + b.len() + c.len()) as i64;
    ssi(a: &[u8], b: &[u8], i: i64) -> i64 = (a.len() + b.len()) as i64 + i;
    blob(b: Blob) -> Blob = b;
    blobs() -> Vec<Value> = vec![Value::Bytes(vec![0xff].into()), Value::Bytes(vec![].into())];
    byte_string(s: ByteString) -> ByteString = s;
    texts(s: Vec<ByteString>) -> Vec<ByteString> = s;
    maybe_text(s: Option<&str>) -> Option<String> = s.map(str::to_owned);
    many(a: i64, b: i64, c: i64, d: i64) -> i64 = a + b + c + d;
}

/// Keeps the bytes in the context and lends them back.
#[kemi_export(module = "echo")]
fn bytes<'a>(cx: &'a mut Cx, bytes: &[u8]) -> &'a [u8] {
    cx.text = bytes.to_vec();
    &cx.text
}

#[kemi_export(module = "echo")]
fn count(_cx: &mut Cx, rest: Rest<'_>) -> i64 {
    rest.len() as i64
}

#[kemi_export(module = "log")]
fn note(cx: &mut Cx, text: &str) {
    cx.notes.push(text.to_owned());
}

#[kemi_export(module = "log")]
fn free(text: &str) -> i64 {
    text.len() as i64
}

#[kemi_export(module = "bad")]
fn fail(_cx: &mut Cx, why: &str) -> Result<(), String> {
    Err(why.to_owned())
}

#[kemi_export(module = "bad")]
fn panics(_cx: &mut Cx) {
    panic!("the test's panic");
}

#[kemi_export(module = "bad")]
fn drop_if(_cx: &mut Cx, yes: bool) -> Result<i64, NativeExit> {
    if yes { Err(NativeExit::Drop) } else { Ok(1) }
}

#[kemi_export(module = "bad", callbacks(branch))]
fn branch_only(_cx: &mut Cx) -> bool {
    true
}

#[kemi_export(module = "bad", deprecated(since = "0.1.0", use = "echo.int"))]
fn old(_cx: &mut Cx, i: i64) -> i64 {
    i
}

/// Calls back into the script and tells how that ended.
#[kemi_export(module = "tm")]
fn run(cx: &mut Cx, script: &Script<'_>, name: &str) -> Result<String, ScriptError> {
    let route =
        script.route("branch").ok_or_else(|| ScriptError::new(kemi_core::ErrorCode::NativeError, "no branch route"))?;
    let callback = script.callback(route, name)?;
    Ok(match script.call(callback, cx, &[])? {
        Outcome::Value(value) => format!("value {value}"),
        Outcome::Exit => "exit".to_owned(),
        Outcome::Drop => "drop".to_owned(),
    })
}

#[kemi_export(module = "tm")]
fn place(_cx: &mut Cx, script: &Script<'_>) -> String {
    script.place().map(|place| place.to_string()).unwrap_or_default()
}

#[kemi_export(module = "")]
fn is_ok(_cx: &mut Cx) -> bool {
    true
}

#[kemi_export(module = "nathelper")]
fn fix_nated(_cx: &mut Cx) -> i64 {
    1
}

pub(crate) struct Host {
    pub(crate) registry: Registry<Cx>,
    pub(crate) main: CallbackId,
    pub(crate) event: CallbackId,
}

impl Host {
    pub(crate) fn new(policy: ArgumentPolicy) -> Host {
        Host::with(policy, "KSR")
    }

    pub(crate) fn with(policy: ArgumentPolicy, root: &str) -> Host {
        Host::limited(policy, root, Limits::default())
    }

    pub(crate) fn limited(policy: ArgumentPolicy, root: &str, limits: Limits) -> Host {
        kemi_python::link();
        let mut callbacks = Callbacks::new();
        let main = callbacks.optional("main", "main", &[]);
        let event = callbacks.optional("event", "event", &["a", "b"]);
        callbacks.named("branch", &[]);
        let mut builder =
            Registry::builder().limits(limits).root(root).dialect(DIALECT).callbacks(callbacks).policy(policy);
        for module in ["", "echo", "log", "bad", "tm"] {
            builder = builder.module(module);
        }
        Host { registry: builder.build().expect("the test's registry"), main, event }
    }

    pub(crate) fn load(&self, text: &str) -> Result<Instance<Cx>, ScriptError> {
        Instance::load(&PythonEngine, &self.registry, &[Source::text("test.py", text)])
    }

    pub(crate) fn call(&self, instance: &Instance<Cx>) -> (Result<Outcome, ScriptError>, Cx) {
        let mut cx = Cx::default();
        (instance.call(self.main, &mut cx, &[]), cx)
    }

    pub(crate) fn event(&self, instance: &Instance<Cx>, args: &[Arg<'_>]) -> Result<Outcome, ScriptError> {
        instance.call(self.event, &mut Cx::default(), args)
    }
}

/// Loads a script and calls its `main`.
pub(crate) fn run_main(text: &str) -> (Result<Outcome, ScriptError>, Cx) {
    let host = Host::new(ArgumentPolicy::Strict);
    let instance = host.load(text).unwrap_or_else(|error| panic!("loading: {error:#}"));
    host.call(&instance)
}

/// Returns the value of an expression, as a script's callback returns it.
pub(crate) fn eval(expression: &str) -> Result<Value, ScriptError> {
    match run_main(&format!("import KSR\ndef main():\n    return {expression}\n")).0? {
        Outcome::Value(value) => Ok(value),
        other => panic!("{expression} ended in {other:?}"),
    }
}

/// Runs a body of `main`, in which every assertion must hold.
pub(crate) fn check(body: &str) {
    let lines: String = body.lines().map(|line| format!("    {line}\n")).collect();
    let (result, _) = run_main(&format!("import KSR\ndef main():\n{lines}    return 'done'\n"));
    match result {
        Ok(outcome) => assert_eq!(outcome, Outcome::Value("done".into())),
        Err(error) => panic!("{error:#}"),
    }
}

/// Nothing here takes longer, unless a limit does not work.
pub(crate) const SOON: Duration = Duration::from_secs(10);

/// Runs `main`, whose lines from the third on are the body, and `event` afterwards, which must work.
pub(crate) fn ends(host: &Host, prelude: &str, body: &str) -> (ScriptError, Cx) {
    let lines: String = body.lines().map(|line| format!("    {line}\n")).collect();
    let script =
        format!("import KSR, contextlib, itertools\ndef main():\n{lines}\ndef event(a, b):\n    return a\n{prelude}\n");
    let instance = host.load(&script).unwrap_or_else(|error| panic!("{body}: {error:#}"));
    let begin = Instant::now();
    let (result, cx) = host.call(&instance);
    let error = result.map(|outcome| panic!("{body} ended in {outcome:?}")).unwrap_err();
    assert!(begin.elapsed() < SOON, "{body} took {:?}", begin.elapsed());
    for n in 0..3i64 {
        let next = host.event(&instance, &[n.into(), 0.into()]);
        assert_eq!(next.unwrap_or_else(|e| panic!("after {body}: {e:#}")), Outcome::Value(n.into()), "{body}");
    }
    (error, cx)
}

pub(crate) fn has_place(error: &ScriptError, body: &str) -> u32 {
    let place = error.place.as_ref().unwrap_or_else(|| panic!("{body}: no place in {error:#}"));
    assert_eq!(place.file, "test.py", "{body}");
    place.line
}
