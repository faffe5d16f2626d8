//! Every type that a parameter or a result may have.

use std::collections::BTreeMap;
use std::fmt;

use kemi_core::abi::Out;
use kemi_core::export::Rest;
use kemi_core::{ByteString, NativeExit, NativeError, Registry, Script, ScriptError, Value};
use kemi_macros::kemi_export;

struct Cx {
    text: String,
}

#[derive(Debug)]
struct Own;

impl fmt::Display for Own {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("own")
    }
}

#[kemi_export(module = "m")]
fn signed(_cx: &mut Cx, a: i8, b: i16, c: i32, d: i64, e: isize) -> i64 {
    i64::from(a) + i64::from(b) + i64::from(c) + d + e as i64
}

#[kemi_export(module = "m")]
fn unsigned(_cx: &mut Cx, a: u8, b: u16, c: u32, d: u64, e: usize) -> u64 {
    u64::from(a) + u64::from(b) + u64::from(c) + d + e as u64
}

#[kemi_export(module = "m")]
fn scalars(_cx: &Cx, a: bool, b: f32, c: f64) -> f64 {
    if a { f64::from(b) } else { c }
}

#[kemi_export(module = "m")]
fn strings(_cx: &Cx, a: &str, b: &[u8], c: String, d: ByteString) -> usize {
    a.len() + b.len() + c.len() + d.len()
}

#[kemi_export(module = "m")]
fn compound(
    _cx: &mut Cx,
    _script: &Script<'_>,
    a: Vec<i64>,
    _b: BTreeMap<ByteString, Value>,
    _c: Vec<Vec<&str>>,
    d: Value,
    _e: Option<Vec<f64>>,
    _f: Option<&[u8]>,
) -> Vec<Value> {
    let mut all: Vec<Value> = a.into_iter().map(Value::Int).collect();
    all.push(d);
    all
}

#[kemi_export(module = "m")]
fn rest(_cx: &mut Cx, _a: Option<i64>, all: Rest<'_>) -> usize {
    all.len()
}

#[kemi_export(module = "m", context = Cx)]
fn without_context(mut a: i64) -> i64 {
    a += 1;
    a
}

#[kemi_export(module = "m", context = Cx)]
fn script_only(script: &Script<'_>) -> bool {
    script.defines("f")
}

#[kemi_export(module = "m")]
fn nothing(_cx: &mut Cx) {}

#[kemi_export(module = "m")]
fn unit(_cx: &mut Cx) -> () {}

#[kemi_export(module = "m")]
fn borrowed(cx: &Cx) -> &str {
    &cx.text
}

#[kemi_export(module = "m")]
fn borrowed_bytes(cx: &mut Cx) -> Option<&[u8]> {
    Some(cx.text.as_bytes())
}

#[kemi_export(module = "m")]
fn from_argument<'a>(_cx: &mut Cx, text: &'a str) -> &'a str {
    text.trim()
}

#[kemi_export(module = "m")]
fn constant(_cx: &mut Cx) -> &'static str {
    "constant"
}

#[kemi_export(module = "m")]
fn decided<'c>(cx: &'c Cx, text: bool) -> Out<'c> {
    if text { Out::Bytes(cx.text.as_bytes()) } else { Out::Nil }
}

#[kemi_export(module = "m")]
fn owned(_cx: &mut Cx) -> (String, ByteString, Value, Option<u16>, Vec<bool>, BTreeMap<ByteString, f32>) {
    (String::new(), ByteString::default(), Value::Nil, None, Vec::new(), BTreeMap::new())
}

#[kemi_export(module = "m")]
fn failing(_cx: &mut Cx) -> Result<i64, Own> {
    Err(Own)
}

#[kemi_export(module = "m")]
fn failing_borrowed(cx: &Cx) -> Result<&str, String> {
    Ok(&cx.text)
}

#[kemi_export(module = "m")]
fn ending(_cx: &mut Cx) -> Result<(), NativeExit> {
    Err(NativeExit::Exit)
}

#[kemi_export(module = "m")]
fn passing_on(_cx: &mut Cx) -> Result<Option<&'static str>, ScriptError> {
    Ok(None)
}

#[kemi_export(module = "m")]
fn either(_cx: &mut Cx) -> Result<bool, Box<NativeError>> {
    Err(Box::new(NativeError::Drop))
}

#[kemi_export(module = "m")]
fn boxed(_cx: &mut Cx) -> Result<bool, Box<dyn std::error::Error>> {
    Ok("7".parse::<i64>()? == 7)
}

#[cfg(any())]
#[kemi_export(module = "m")]
fn configured_out(_cx: &mut Missing) {}

fn main() {
    let registry = Registry::<Cx>::builder().root("app").module("m").build().unwrap();
    let shape = |name: &str| registry.find("m", name).unwrap().def().typed.map(|typed| format!("{:?}", typed.shape()));
    assert_eq!(shape("signed").as_deref(), Some("(iiiii)->i"));
    assert_eq!(shape("scalars").as_deref(), Some("(bff)->f"));
    assert_eq!(shape("strings").as_deref(), Some("(ssss)->i"));
    assert_eq!(shape("borrowed").as_deref(), Some("()->s"));
    assert_eq!(shape("borrowed_bytes").as_deref(), Some("()->a"));
    assert_eq!(shape("compound"), None);
    assert_eq!(shape("rest"), None);
    assert!(registry.find("m", "configured_out").is_none());
    assert!(!registry.find("m", "without_context").unwrap().def().needs_context);
}
