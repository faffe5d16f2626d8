//! The host that the tests share: its context, its exports and short ways to run a script.

use std::collections::BTreeMap;

use kemi_core::abi::Out;
use kemi_core::export::{Blob, Rest};
use kemi_core::{
    Arg, ArgumentPolicy, ByteString, CallbackId, Callbacks, ErrorCode, Function, Instance, Limits, NativeExit, Outcome,
    Profile, Registry, Script, ScriptError, Source, Value,
};
use kemi_lua::LuaEngine;
use kemi_macros::kemi_export;

/// The context.
#[derive(Debug, Default)]
pub(crate) struct Host {
    pub(crate) notes: Vec<String>,
    pub(crate) text: Vec<u8>,
    pub(crate) kept: Vec<Function>,
}

/// Notes that the script came here.
#[kemi_export(module = "t")]
fn note(cx: &mut Host, text: &str) {
    cx.notes.push(text.to_owned());
}

#[kemi_export(module = "t")]
fn count(cx: &mut Host) -> i64 {
    i64::try_from(cx.notes.len()).unwrap_or(i64::MAX)
}

#[kemi_export(module = "t")]
fn invert(_cx: &mut Host, b: bool) -> bool {
    !b
}

#[kemi_export(module = "t")]
fn add(_cx: &mut Host, a: i64, b: i64) -> i64 {
    a.wrapping_add(b)
}

#[kemi_export(module = "t")]
fn int(_cx: &mut Host, n: i64) -> i64 {
    n
}

#[kemi_export(module = "t")]
fn half(_cx: &mut Host, x: f64) -> f64 {
    x / 2.0
}

#[kemi_export(module = "t")]
fn port(_cx: &mut Host, n: u16) -> i64 {
    n.into()
}

#[kemi_export(module = "t")]
fn sets<'c>(cx: &'c mut Host, text: &[u8]) -> &'c [u8] {
    cx.text = text.to_vec();
    &cx.text
}

#[kemi_export(module = "t")]
fn get(cx: &mut Host) -> Out<'_> {
    if cx.text.is_empty() { Out::Nil } else { Out::Bytes(&cx.text) }
}

#[kemi_export(module = "t")]
fn owned(_cx: &mut Host, text: &str) -> String {
    text.to_uppercase()
}

#[kemi_export(module = "t")]
fn any(_cx: &mut Host, value: Value) -> Value {
    value
}

#[kemi_export(module = "t")]
fn show(_cx: &mut Host, value: Value) -> String {
    value.to_string()
}

#[kemi_export(module = "t")]
fn pair(_cx: &mut Host) -> (i64, String) {
    (7, "seven".to_owned())
}

#[kemi_export(module = "t")]
fn again(_cx: &mut Host, text: &str, times: Option<u8>) -> String {
    text.repeat(times.unwrap_or(1).into())
}

#[kemi_export(module = "t")]
fn total(_cx: &mut Host, numbers: Vec<i64>) -> i64 {
    numbers.iter().sum()
}

#[kemi_export(module = "t")]
fn keys(_cx: &mut Host, map: BTreeMap<ByteString, i64>) -> Vec<String> {
    map.keys().map(ToString::to_string).collect()
}

#[kemi_export(module = "t")]
fn gaps(_cx: &mut Host) -> Vec<Option<i64>> {
    vec![Some(1), None, Some(3)]
}

/// Counts what is there.
#[kemi_export(module = "t")]
fn known(_cx: &mut Host, numbers: Vec<Option<i64>>) -> i64 {
    i64::try_from(numbers.iter().flatten().count()).unwrap_or(i64::MAX)
}

#[kemi_export(module = "t")]
fn no_keys(_cx: &mut Host) -> BTreeMap<ByteString, i64> {
    BTreeMap::new()
}

#[kemi_export(module = "t")]
fn arity(_cx: &mut Host, rest: Rest<'_>) -> i64 {
    i64::try_from(rest.len()).unwrap_or(i64::MAX)
}

#[kemi_export(module = "t")]
fn digest(_cx: &mut Host, blob: Blob) -> Blob {
    Blob(blob.0.into_iter().rev().collect())
}

#[kemi_export(module = "t")]
fn blobs(_cx: &mut Host, blobs: Vec<Blob>) -> Vec<Value> {
    blobs.into_iter().map(|blob| Value::Bytes(blob.0.into())).collect()
}

#[kemi_export(module = "t")]
fn deep(_cx: &mut Host, levels: i64) -> Value {
    (0..levels).fold(Value::Int(1), |inner, _| Value::Array(vec![inner]))
}

#[kemi_export(module = "t")]
fn fail(_cx: &mut Host, why: &str) -> Result<i64, String> {
    Err(format!("failed because of {why}"))
}

#[kemi_export(module = "t")]
fn boom(_cx: &mut Host) -> i64 {
    panic!("out of cheese")
}

#[kemi_export(module = "t")]
fn finish(_cx: &mut Host, really: bool) -> Result<bool, NativeExit> {
    if really { Err(NativeExit::Exit) } else { Ok(true) }
}

#[kemi_export(module = "t", deprecated(since = "2.0.0", use = "t.int"))]
fn old(_cx: &mut Host, n: i64) -> i64 {
    n
}

#[kemi_export(module = "t", callbacks("event"))]
fn event_only(_cx: &mut Host) {}

/// Calls a function of the script and tells how it ended.
#[kemi_export(module = "t")]
fn run(cx: &mut Host, script: &Script<'_>, name: &str) -> Result<String, ScriptError> {
    let Some(route) = script.route("named") else {
        return Err(ScriptError::new(ErrorCode::MissingCallback, "no route"));
    };
    let callback = script.callback(route, name)?;
    let outcome = script.call(callback, cx, &[Arg::Str(name.as_bytes())])?;
    Ok(match outcome {
        Outcome::Value(value) => value.to_string(),
        Outcome::Exit => "exit".to_owned(),
        Outcome::Drop => "drop".to_owned(),
    })
}

/// Keeps a function of the script.
#[kemi_export(module = "t")]
fn keep(cx: &mut Host, function: Function) {
    cx.kept.push(function);
}

/// Gives a kept function back.
#[kemi_export(module = "t")]
fn kept(cx: &mut Host, index: u8) -> Option<Function> {
    cx.kept.get(usize::from(index)).cloned()
}

/// Lets another thread drop all kept functions.
#[kemi_export(module = "t")]
fn drop_elsewhere(cx: &mut Host) {
    let kept = std::mem::take(&mut cx.kept);
    std::thread::spawn(move || drop(kept)).join().expect("a drop does not panic");
}

/// Calls a kept function and tells how it ended.
#[kemi_export(module = "t")]
fn call_kept(cx: &mut Host, script: &Script<'_>, index: u8, value: Value) -> Result<Value, ScriptError> {
    let Some(function) = cx.kept.get(usize::from(index)).cloned() else {
        return Err(ScriptError::new(ErrorCode::MissingCallback, "no such function"));
    };
    Ok(match script.call_function(&function, cx, &[(&value).into()])? {
        Outcome::Value(value) => value,
        Outcome::Exit => "exit".into(),
        Outcome::Drop => "drop".into(),
    })
}

#[kemi_export(module = "t")]
fn line(_cx: &mut Host, script: &Script<'_>) -> i64 {
    script.place().map_or(-1, |place| place.line.into())
}

#[kemi_export(module = "")]
fn at_root(cx: &mut Host) -> i64 {
    cx.notes.push("root".to_owned());
    1
}

#[kemi_export(module = "hidden")]
fn secret(_cx: &mut Host) -> i64 {
    1
}

/// Builds a registry with the modules `t` and the root.
pub(crate) fn registry(policy: ArgumentPolicy) -> (Registry<Host>, CallbackId) {
    // Time enough on a busy machine.
    limited_registry(policy, Limits { max_time_ms: 30_000, max_load_time_ms: 30_000, ..Limits::default() })
}

fn limited_registry(policy: ArgumentPolicy, limits: Limits) -> (Registry<Host>, CallbackId) {
    let mut callbacks = Callbacks::new();
    let main = callbacks.optional("main", "main", &["value"]);
    callbacks.optional("event", "on_event", &[]);
    callbacks.named("named", &["name"]);
    let builder =
        Registry::builder().root("KSR").module("t").module("").callbacks(callbacks).policy(policy).limits(limits);
    (
        builder.profile(Profile::open()).enable_hint("write: enable {module}").build().expect("the exports are sound"),
        main,
    )
}

/// A loaded script.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) instance: Instance<Host>,
    pub(crate) host: Host,
    pub(crate) main: CallbackId,
}

impl Loaded {
    pub(crate) fn call(&mut self, args: &[Arg<'_>]) -> Result<Outcome, ScriptError> {
        self.instance.call(self.main, &mut self.host, args)
    }

    pub(crate) fn value(&mut self, args: &[Arg<'_>]) -> Value {
        match self.call(args) {
            Ok(Outcome::Value(value)) => value,
            other => panic!("expected a value, got {other:#?}"),
        }
    }
}

pub(crate) fn try_load(policy: ArgumentPolicy, sources: &[Source]) -> Result<Loaded, ScriptError> {
    let (registry, main) = registry(policy);
    let instance = Instance::load(&LuaEngine, &registry, sources)?;
    Ok(Loaded { instance, host: Host::default(), main })
}

/// Loads a script with limits.
pub(crate) fn try_load_limited(limits: Limits, script: &str) -> Result<Loaded, ScriptError> {
    let (registry, main) = limited_registry(ArgumentPolicy::Strict, limits);
    let instance = Instance::load(&LuaEngine, &registry, &[Source::text("test.lua", script)])?;
    Ok(Loaded { instance, host: Host::default(), main })
}

/// Loads a script under the strict policy.
pub(crate) fn load(script: &str) -> Loaded {
    try_load(ArgumentPolicy::Strict, &[Source::text("test.lua", script)]).unwrap_or_else(|error| panic!("{error:#}"))
}

/// Runs the body of `main` and returns its result.
pub(crate) fn eval(body: &str) -> Value {
    load(&format!("function main(value) {body}\nend")).value(&[])
}

/// Runs the body of `main`, which ends in an error.
pub(crate) fn error(body: &str) -> ScriptError {
    match load(&format!("function main(value) {body}\nend")).call(&[]) {
        Err(error) => error,
        Ok(outcome) => panic!("expected an error, got {outcome:?}"),
    }
}

pub(crate) fn text(text: &str) -> Value {
    Value::from(text)
}

pub(crate) fn list(items: impl IntoIterator<Item = Value>) -> Value {
    Value::Array(items.into_iter().collect())
}
