//! A small host for the tests: its context, exports and callbacks.
#![allow(dead_code, reason = "each test file uses a part of it")]

use kemi_core::export::{Blob, Rest};
use kemi_core::limits::{Facility, Imports};
use kemi_core::{
    Arg, ArgumentPolicy, ByteString, CallbackId, Callbacks, Function, Instance, Limits, Outcome, Profile, Registry,
    Script, ScriptError, Source, Value,
};
use kemi_macros::kemi_export;

/// The context.
#[derive(Debug, Default)]
pub(crate) struct Host {
    pub(crate) notes: Vec<String>,
    pub(crate) kept: Vec<u8>,
    pub(crate) places: Vec<String>,
    pub(crate) functions: Vec<Function>,
}

#[kemi_export(module = "t")]
fn add(cx: &mut Host, a: i64, b: i64) -> i64 {
    cx.notes.push(format!("{a}+{b}"));
    a + b
}

#[kemi_export(module = "t")]
fn note(cx: &mut Host, text: &str) {
    cx.notes.push(text.to_owned());
}

#[kemi_export(module = "t")]
fn keep<'c>(cx: &'c mut Host, bytes: &[u8]) -> &'c [u8] {
    cx.kept = bytes.to_vec();
    &cx.kept
}

#[kemi_export(module = "t")]
fn size(cx: &mut Host, bytes: &[u8]) -> i64 {
    cx.notes.push(String::from_utf8_lossy(bytes).into_owned());
    bytes.len() as i64
}

#[kemi_export(module = "t")]
fn half(_cx: &mut Host, x: f64) -> f64 {
    x / 2.0
}

#[kemi_export(module = "t")]
fn not(_cx: &mut Host, b: bool) -> bool {
    !b
}

#[kemi_export(module = "t")]
fn port(_cx: &mut Host, port: u16) -> bool {
    port > 0
}

#[kemi_export(module = "t")]
fn both(_cx: &mut Host, a: i64, b: &str) -> (i64, String) {
    (a, b.to_owned())
}

#[kemi_export(module = "t")]
fn echo(_cx: &mut Host, value: Value) -> Value {
    value
}

/// Keeps a function.
#[kemi_export(module = "t")]
fn on(cx: &mut Host, function: Function) {
    cx.functions.push(function);
}

/// Keeps all functions of a list.
#[kemi_export(module = "t")]
fn on_all(cx: &mut Host, functions: Vec<Function>) {
    cx.functions.extend(functions);
}

/// Gives a kept function back.
#[kemi_export(module = "t")]
fn kept(cx: &mut Host, index: usize) -> Option<Function> {
    cx.functions.get(index).cloned()
}

/// Lets all kept functions go.
#[kemi_export(module = "t")]
fn off(cx: &mut Host) {
    cx.functions.clear();
}

/// Calls a function at once; gives `exit`, `drop` or its value.
#[kemi_export(module = "t")]
fn run(cx: &mut Host, script: &Script<'_>, function: Function, arg: Value) -> Result<Value, ScriptError> {
    Ok(match script.call_function(&function, cx, &[(&arg).into()])? {
        Outcome::Value(value) => value,
        Outcome::Exit => "exit".into(),
        Outcome::Drop => "drop".into(),
    })
}

#[kemi_export(module = "t")]
fn blob(_cx: &mut Host, blob: Blob) -> Blob {
    blob
}

#[kemi_export(module = "t")]
fn maybe(_cx: &mut Host, a: i64, b: Option<i64>) -> Option<i64> {
    b.map(|b| a * b)
}

#[kemi_export(module = "t")]
fn count(_cx: &mut Host, rest: Rest<'_>) -> i64 {
    rest.len() as i64
}

#[kemi_export(module = "t")]
fn fail(_cx: &mut Host, why: &str) -> Result<i64, String> {
    Err(why.to_owned())
}

#[kemi_export(module = "t")]
fn boom(_cx: &mut Host) -> i64 {
    panic!("boom")
}

#[kemi_export(module = "t", deprecated(since = "1.0.0", use = "t.add"))]
fn old(_cx: &mut Host, a: i64) -> i64 {
    a
}

#[kemi_export(module = "t")]
fn place(cx: &mut Host, script: &Script<'_>) {
    cx.places.push(script.place().map(|p| p.to_string()).unwrap_or_default());
}

/// Calls back into the script: gives `exit`, `drop` or the value as text.
#[kemi_export(module = "t")]
fn call(cx: &mut Host, script: &Script<'_>, name: &str) -> Result<String, ScriptError> {
    let route = script.route("sub").expect("declared below");
    let callback = script.callback(route, name)?;
    Ok(match script.call(callback, cx, &[])? {
        Outcome::Value(value) => value.to_string(),
        Outcome::Exit => "exit".to_owned(),
        Outcome::Drop => "drop".to_owned(),
    })
}

/// As `call`, but an error is a result as well: its code.
#[kemi_export(module = "t")]
fn attempt(cx: &mut Host, script: &Script<'_>, name: &str) -> String {
    let route = script.route("sub").expect("declared below");
    match script.callback(route, name).and_then(|callback| script.call(callback, cx, &[])) {
        Ok(Outcome::Value(value)) => value.to_string(),
        Ok(Outcome::Exit) => "exit".to_owned(),
        Ok(Outcome::Drop) => "drop".to_owned(),
        Err(error) => error.code.to_string(),
    }
}

#[kemi_export(module = "hidden")]
fn secret(_cx: &mut Host) -> i64 {
    1
}

#[kemi_export(module = "")]
fn hello(_cx: &mut Host) -> String {
    "hello".to_owned()
}

/// A loaded script whose callback `f` the tests call.
pub(crate) struct Loaded {
    pub(crate) instance: Instance<Host>,
    pub(crate) f: CallbackId,
    pub(crate) host: Host,
}

impl Loaded {
    pub(crate) fn call(&mut self, args: &[Arg<'_>]) -> Result<Outcome, ScriptError> {
        self.instance.call(self.f, &mut self.host, args)
    }

    /// Calls `f` and expects a value.
    pub(crate) fn value(&mut self, args: &[Arg<'_>]) -> Value {
        match self.call(args) {
            Ok(Outcome::Value(value)) => value,
            other => panic!("no value: {other:?}"),
        }
    }
}

pub(crate) fn registry(policy: ArgumentPolicy) -> (Registry<Host>, CallbackId) {
    limited(policy, Limits::default())
}

pub(crate) fn limited(policy: ArgumentPolicy, limits: Limits) -> (Registry<Host>, CallbackId) {
    let mut callbacks = Callbacks::new();
    let f = callbacks.optional("main", "f", &[]);
    callbacks.named("sub", &[]);
    let builder =
        Registry::builder().root("KSR").module("t").module("").callbacks(callbacks).policy(policy).limits(limits);
    (builder.profile(profile()).enable_hint("enable {module}").build().expect("the exports are sound"), f)
}

/// Everything that the language has, with modules from the script's folder.
pub(crate) fn profile() -> Profile {
    Profile::strictest().allow(Facility::Clock).imports(Imports::BesideScripts)
}

pub(crate) fn try_load(sources: &[Source], policy: ArgumentPolicy) -> Result<Loaded, ScriptError> {
    load_limited(sources, policy, Limits::default())
}

pub(crate) fn load_limited(sources: &[Source], policy: ArgumentPolicy, limits: Limits) -> Result<Loaded, ScriptError> {
    kemi_js::link();
    let (registry, f) = limited(policy, limits);
    let engine = kemi_core::find_engine("javascript").expect("linked");
    Ok(Loaded { instance: Instance::load(engine, &registry, sources)?, f, host: Host::default() })
}

pub(crate) fn load(code: &str) -> Loaded {
    try_load(&[Source::text("t.js", code)], ArgumentPolicy::Strict).unwrap_or_else(|error| panic!("{error:#}"))
}

/// Loads a script that consists of the body of `f`, calls it, and gives the result.
pub(crate) fn body(code: &str) -> Value {
    load(&format!("function f() {{ {code} }}")).value(&[])
}

/// Loads a script and gives the error of calling `f`.
pub(crate) fn error(code: &str) -> ScriptError {
    match load(code).call(&[]) {
        Err(error) => error,
        Ok(outcome) => panic!("no error but {outcome:?}"),
    }
}

pub(crate) fn text(text: &str) -> Value {
    Value::Str(ByteString::from(text))
}
