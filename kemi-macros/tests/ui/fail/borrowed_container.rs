use kemi_macros::kemi_export;

struct Cx;

use kemi_core::ByteString;

#[kemi_export(module = "m")]
fn text(_cx: &mut Cx, _name: &String) {}

#[kemi_export(module = "m")]
fn bytes(_cx: &mut Cx, _body: &ByteString) {}

#[kemi_export(module = "m")]
fn list(_cx: &mut Cx, _list: &[i64]) {}

fn main() {}
