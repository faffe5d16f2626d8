use kemi_core::export::Rest;
use kemi_core::{Script, Value};
use kemi_macros::kemi_export;

type Running = Script<'static>;

#[kemi_export(module = "m")]
fn text(_text: &String) {}

#[kemi_export(module = "m")]
fn list(_list: &Vec<i64>) {}

#[kemi_export(module = "m")]
fn value(_value: &Value) {}

#[kemi_export(module = "m")]
fn script(_script: &Running) {}

#[kemi_export(module = "m")]
fn rest(_rest: &mut Rest<'static>) {}

fn main() {}
