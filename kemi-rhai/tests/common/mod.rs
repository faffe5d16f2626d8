//! The host of these tests: a context, some exports, and shortcuts.
#![allow(dead_code, missing_docs, missing_debug_implementations, unreachable_pub)]

use kemi_core::export::Rest;
use kemi_core::{
    Arg, ArgumentPolicy, Blob, ByteString, CallbackId, Callbacks, ErrorCode, Function, Instance, Limits, Outcome,
    Profile, Registry, Script, ScriptError, Source, Value,
};
use kemi_macros::kemi_export;
use kemi_rhai::RhaiEngine;

/// What the exports work on.
#[derive(Default)]
pub struct Cx {
    pub log: Vec<String>,
    pub bytes: Vec<u8>,
    pub values: Vec<Value>,
    pub functions: Vec<Function>,
    pub nested: Option<CallbackId>,
    pub depth: u32,
}

/// Writes to the log.
#[kemi_export(module = "")]
fn info(cx: &mut Cx, text: &str) {
    cx.log.push(text.to_owned());
}

/// Tells a truth.
#[kemi_export(module = "")]
fn is_true(cx: &mut Cx) -> bool {
    cx.log.len() < 1000
}

/// A name that is a keyword in the script language.
#[kemi_export(module = "t", name = "match")]
fn match_it(_cx: &mut Cx, a: i64) -> i64 {
    a + 1
}

#[kemi_export(module = "t")]
fn add(_cx: &mut Cx, a: i64, b: i64) -> i64 {
    a.wrapping_add(b)
}

#[kemi_export(module = "t")]
fn small(_cx: &mut Cx, a: u8) -> u8 {
    a
}

#[kemi_export(module = "t")]
fn length(_cx: &mut Cx, s: &[u8]) -> i64 {
    s.len() as i64
}

#[kemi_export(module = "t")]
fn upper(cx: &mut Cx, s: &str) -> bool {
    cx.bytes = s.to_uppercase().into_bytes();
    true
}

#[kemi_export(module = "t")]
fn keep(cx: &mut Cx, s: &[u8]) {
    cx.bytes = s.to_vec();
}

#[kemi_export(module = "t")]
fn kept(cx: &mut Cx) -> &[u8] {
    &cx.bytes
}

#[kemi_export(module = "t")]
fn flip(_cx: &mut Cx, b: bool) -> bool {
    !b
}

#[kemi_export(module = "t")]
fn half(_cx: &mut Cx, x: f64) -> f64 {
    x / 2.0
}

#[kemi_export(module = "t")]
fn si(_cx: &mut Cx, s: &str, i: i64) -> String {
    format!("{s}{i}")
}

#[kemi_export(module = "t")]
fn is(_cx: &mut Cx, i: i64, s: &str) -> String {
    format!("{i}{s}")
}

#[kemi_export(module = "t")]
fn ssi(_cx: &mut Cx, a: &str, b: &str, i: i64) -> String {
    format!("{a}{b}{i}")
}

#[kemi_export(module = "t")]
fn sss(_cx: &mut Cx, a: &str, b: &str, c: &str) -> String {
    format!("{a}{b}{c}")
}

#[kemi_export(module = "t")]
fn ss(_cx: &mut Cx, a: &str, b: &str) -> i64 {
    (a.len() * 100 + b.len()) as i64
}

#[kemi_export(module = "t")]
fn maybe(_cx: &mut Cx, a: i64, b: Option<i64>) -> Option<i64> {
    b.map(|b| a + b)
}

#[kemi_export(module = "t")]
fn pair(_cx: &mut Cx) -> (i64, &'static str) {
    (7, "seven")
}

#[kemi_export(module = "t")]
fn sum(_cx: &mut Cx, numbers: Rest<'_>) -> Result<i64, String> {
    let number = |arg: &Arg<'_>| match arg {
        Arg::Int(i) => Ok(*i),
        other => Err(format!("{} is no number", other.type_name())),
    };
    numbers.iter().map(number).sum()
}

/// Gives back what it gets, and remembers it.
#[kemi_export(module = "t")]
fn echo(cx: &mut Cx, value: Value) -> Value {
    cx.values.push(value.clone());
    value
}

#[kemi_export(module = "t")]
fn fail(_cx: &mut Cx, message: &str) -> Result<i64, String> {
    Err(message.to_owned())
}

#[kemi_export(module = "t")]
fn panic(_cx: &mut Cx) -> i64 {
    panic!("on purpose")
}

#[kemi_export(module = "t", deprecated(since = "2.0.0", use = "t.add"))]
fn old(_cx: &mut Cx, a: i64) -> i64 {
    a
}

#[kemi_export(module = "t", callbacks(reply))]
fn only_in_reply(_cx: &mut Cx) -> bool {
    true
}

/// Calls the function of that name in the script, with the depth.
#[kemi_export(module = "t")]
fn call(cx: &mut Cx, script: &Script<'_>, name: &str) -> Result<Value, ScriptError> {
    let route = script.route("nested").ok_or_else(|| ScriptError::new(ErrorCode::NativeError, "no route"))?;
    let id = script.callback(route, name)?;
    cx.depth += 1;
    let depth = i64::from(cx.depth);
    let outcome = script.call(id, cx, &[Arg::Int(depth)]);
    cx.depth -= 1;
    Ok(match outcome? {
        Outcome::Value(value) => value,
        Outcome::Exit => Value::from("exit"),
        Outcome::Drop => Value::from("drop"),
    })
}

/// Keeps a function of the script.
#[kemi_export(module = "t")]
fn on(cx: &mut Cx, function: Function) {
    cx.functions.push(function);
}

/// Gives back the function that was kept last.
#[kemi_export(module = "t")]
fn latest(cx: &mut Cx) -> Value {
    cx.functions.last().cloned().into()
}

/// Calls a function of the script at once.
#[kemi_export(module = "t")]
fn run_now(cx: &mut Cx, script: &Script<'_>, function: Function, argument: Value) -> Result<Value, ScriptError> {
    Ok(match script.call_function(&function, cx, &[Arg::from(&argument)])? {
        Outcome::Value(value) => value,
        Outcome::Exit => Value::from("exit"),
        Outcome::Drop => Value::from("drop"),
    })
}

/// Lets another thread drop all kept functions, and waits for it.
#[kemi_export(module = "t")]
fn forget(cx: &mut Cx) {
    let functions = std::mem::take(&mut cx.functions);
    std::thread::spawn(move || drop(functions)).join().unwrap();
}

/// Turns bytes around.
#[kemi_export(module = "t")]
fn reversed(_cx: &mut Cx, blob: Blob) -> Blob {
    Blob(blob.0.into_iter().rev().collect())
}

#[kemi_export(module = "t")]
fn place(_cx: &mut Cx, script: &Script<'_>) -> String {
    script.place().map_or_else(|| "nowhere".to_owned(), |place| place.to_string())
}

/// A module that is linked but not enabled.
#[kemi_export(module = "nathelper")]
fn fix(_cx: &mut Cx) -> bool {
    true
}

/// The constants of the registry, in one slice.
macro_rules! constants {
    ($($constant:ident: $module:literal $name:literal $value:expr;)*) => {$(
        #[kemi_core::__private::linkme::distributed_slice(kemi_core::export::CONSTANTS)]
        #[linkme(crate = kemi_core::__private::linkme)]
        static $constant: kemi_core::export::ConstantDef = kemi_core::export::ConstantDef {
            module: $module,
            name: $name,
            doc: "",
            value: || Ok($value),
            context: kemi_core::__private::ContextType::of::<Cx>(),
            file: file!(),
            line: line!(),
        };
    )*};
}

fn levels() -> Value {
    let names = |names: [(&str, Value); 2]| Value::Map(names.map(|(name, value)| (name.into(), value)).into());
    names([("WARN", 2.into()), ("Deep", names([("ONE", 1.into()), ("not a name", 2.into())]))])
}

constants! {
    VERSION: "" "VERSION" Value::from("1.2");
    LIMIT: "net.http" "LIMIT" Value::Int(8);
    LIST: "net.http" "LIST" Value::Array(vec![1.into(), 2.into()]);
    LEVEL: "log" "Level" levels();
    OFF: "nathelper.deep" "OFF" Value::Bool(true);
    OFF_WITHIN: "deep.off.further" "OFF" Value::Bool(true);
}

pub struct Host {
    pub instance: Instance<Cx>,
    pub run: CallbackId,
    pub reply: CallbackId,
    pub cx: Cx,
}

pub fn registry(policy: ArgumentPolicy) -> (Registry<Cx>, CallbackId, CallbackId) {
    limited(policy, Limits::default())
}

pub fn limited(policy: ArgumentPolicy, limits: Limits) -> (Registry<Cx>, CallbackId, CallbackId) {
    let mut callbacks = Callbacks::new();
    let run = callbacks.optional("request", "run", &["a", "b", "c"]);
    let reply = callbacks.optional("reply", "on_reply", &["code", "reason"]);
    callbacks.named("nested", &["depth"]);
    let registry = Registry::builder()
        .root("KSR")
        .callbacks(callbacks)
        .module("")
        .module("t")
        .module("log")
        .module("net.http")
        .function("net", "up", &[], || true)
        .function("net.http", "get", &["url"], |url: String| format!("got {url}"))
        .function("deep.down.below", "ask", &["n"], |n: i64| n + 1)
        .policy(policy)
        .limits(limits)
        .profile(Profile::open())
        .enable_hint("loadmodule \"{module}.so\"")
        .build()
        .unwrap();
    (registry, run, reply)
}

pub fn load_sources(policy: ArgumentPolicy, sources: &[Source]) -> Result<Host, ScriptError> {
    load_limited(policy, Limits::default(), sources)
}

pub fn load_limited(policy: ArgumentPolicy, limits: Limits, sources: &[Source]) -> Result<Host, ScriptError> {
    let (registry, run, reply) = limited(policy, limits);
    let instance = Instance::load(&RhaiEngine, &registry, sources)?;
    Ok(Host { instance, run, reply, cx: Cx::default() })
}

/// Loads a script given as text.
pub fn load(text: &str) -> Result<Host, ScriptError> {
    load_sources(ArgumentPolicy::Strict, &[Source::text("test.rhai", text)])
}

/// Loads statements as the body of the function `run`, which is all on line 1.
pub fn body(text: &str) -> Host {
    load(&format!("fn run() {{ {text} }}")).unwrap()
}

impl Host {
    pub fn call(&mut self, args: &[Arg<'_>]) -> Result<Outcome, ScriptError> {
        self.instance.call(self.run, &mut self.cx, args)
    }

    pub fn value(&mut self) -> Value {
        match self.call(&[]) {
            Ok(Outcome::Value(value)) => value,
            other => panic!("{other:?}"),
        }
    }

    pub fn error(&mut self) -> ScriptError {
        self.call(&[]).expect_err("an error")
    }
}

/// Evaluates an expression in a function of a script.
pub fn eval(expression: &str) -> Value {
    body(expression).value()
}

pub fn eval_error(expression: &str) -> ScriptError {
    body(expression).error()
}

pub fn bytes(bytes: &[u8]) -> Value {
    Value::Str(ByteString::from(bytes))
}

/// A folder that is gone at the end of the test.
pub struct Folder(pub std::path::PathBuf);

impl Folder {
    pub fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("kemi-rhai-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    pub fn file(&self, name: &str, text: impl AsRef<[u8]>) -> std::path::PathBuf {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
