use std::rc::Rc;
use std::sync::{Arc, Mutex};

use kemi_macros::kemi_export;

struct Host;

#[kemi_export(module = "m")]
fn shared(_host: Arc<Mutex<Host>>) {}

#[kemi_export(module = "m")]
fn counted(_host: Rc<Host>, _n: i64) {}

#[kemi_export(module = "m")]
fn argument(_host: &mut Host, _text: Arc<String>) {}

fn main() {}
