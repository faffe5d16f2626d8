//! S3: `Runtime::invoke` is safe and takes any export.   core_invoke foreign|lent
use std::cell::Cell;

use kemi::{Arg, CallbackId, Instance, Interpreter, Place, Registry, ScriptError, Value, kemi_export};
use soundness::{argument, load, registry, shown};

struct Small([u64; 1]);
struct Large([u64; 64]);
struct List(Vec<i64>);

thread_local! {
    static SMALL: Cell<Option<(&'static Instance<Small>, &'static Registry<Large>)>> = const { Cell::new(None) };
    static LIST: Cell<Option<&'static Instance<List>>> = const { Cell::new(None) };
}

/// Calls a function of another registry by this one's runtime.
#[kemi_export(module = "m")]
fn outer(cx: &mut Small) -> i64 {
    let _ = cx.0;
    let (instance, other) = SMALL.get().expect("set");
    let export = other.find("m", "last").expect("exported");
    match instance.runtime().invoke(export, &[], &Nowhere) {
        Ok(kemi::Ret::Int(value)) => value,
        other => panic!("{other:?}"),
    }
}
#[kemi_export(module = "m")]
fn last(cx: &mut Large) -> i64 {
    println!("a context of {} bytes is read as one of {}", size_of::<Small>(), size_of_val(cx));
    cx.0[63] as i64
}

/// Calls a function of the same registry while it has the context itself.
#[kemi_export(module = "m")]
fn first(cx: &mut List) -> i64 {
    let first = &cx.0[0];
    let instance = LIST.get().expect("set");
    let export = instance.runtime().registry().find("m", "push").expect("exported");
    for _ in 0..99 {
        assert!(instance.runtime().invoke(export, &[], &Nowhere).is_ok());
    }
    *first
}
#[kemi_export(module = "m")]
fn push(cx: &mut List) {
    cx.0.push(1);
}

struct Nowhere;
impl Interpreter for Nowhere {
    fn resolve(&self, _: &str) -> bool {
        false
    }
    fn functions(&self) -> Vec<String> {
        Vec::new()
    }
    fn call(&self, _: CallbackId, _: &[Arg<'_>]) -> Result<Value, ScriptError> {
        Ok(Value::Nil)
    }
    fn place(&self) -> Option<Place> {
        None
    }
}

fn main() {
    if argument(1, "foreign") == "foreign" {
        let (own, ids) = registry::<Small>(&["run"]);
        let (other, _) = registry::<Large>(&[]);
        let instance: &'static _ = Box::leak(Box::new(load("lua", &own, "function run() return KSR.m.outer() end")));
        SMALL.set(Some((instance, Box::leak(Box::new(other)))));
        let mut memory = [Small([1]), Small([2])];
        let got = instance.call(ids[0], &mut memory[0], &[]);
        println!("READS BEYOND: a function of another registry ran on this one's context and read {} behind it", shown(&got));
    } else {
        let (own, ids) = registry::<List>(&["run"]);
        let instance: &'static _ = Box::leak(Box::new(load("lua", &own, "function run() return KSR.m.first() end")));
        LIST.set(Some(instance));
        let got = instance.call(ids[0], &mut List(vec![7]), &[]);
        println!("USE AFTER FREE: the function held a reference to 7 and read {}", shown(&got));
    }
}
