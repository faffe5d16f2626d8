//! What is left of instances whose functions the host has kept: nothing. Alone in its process, since it looks at its memory.
#![cfg(target_os = "linux")]

use kemi_core::{CallbackId, Callbacks, Function, Instance, Outcome, Registry, Source, Value};
use kemi_macros::kemi_export;
use kemi_python::PythonEngine;

#[derive(Default)]
struct Cx {
    kept: Vec<Function>,
    value: Value,
}

#[kemi_export(module = "f")]
fn keep(cx: &mut Cx, function: Function) {
    cx.kept.push(function);
}

#[kemi_export(module = "f")]
fn keep_any(cx: &mut Cx, value: Value) {
    cx.value = value;
}

struct Host {
    registry: Registry<Cx>,
    main: CallbackId,
}

impl Host {
    fn new() -> Host {
        kemi_python::link();
        let mut callbacks = Callbacks::new();
        let main = callbacks.optional("main", "main", &[]);
        let registry = Registry::builder().root("app").module("f").callbacks(callbacks).build();
        Host { registry: registry.expect("the test's registry"), main }
    }

    fn load(&self, text: &str) -> (Instance<Cx>, Cx) {
        let mut cx = Cx::default();
        let source = Source::text("test.py", text);
        let instance = Instance::load_with(&PythonEngine, &self.registry, &[source], &mut cx);
        (instance.unwrap_or_else(|error| panic!("{error:#}")), cx)
    }
}

/// Returns the process's resident memory in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn instances_whose_functions_refer_to_everything_go_with_all_they_have() {
    const TEXT: &str = "
import sys
data = bytearray(100_000)
def main():
    everything = globals(), app, main
    app.f.keep(lambda: everything)
    app.f.keep_any({'f': main})
main()
import weakref
sys.kemi_alive = getattr(sys, 'kemi_alive', None) or weakref.WeakSet()
sys.kemi_alive.add(main)
";
    let host = Host::new();
    let load = |n: usize| {
        let (instance, mut cx) = host.load(TEXT);
        match n % 3 {
            0 => {
                (cx.kept, cx.value) = (Vec::new(), Value::Nil);
                drop(instance);
            }
            1 => {
                drop(instance);
                drop(cx);
            }
            _ => {
                let thread = std::thread::spawn(move || drop(cx));
                drop(instance);
                thread.join().unwrap();
            }
        }
    };
    (0..100).for_each(load);
    let before = resident();
    (0..900).for_each(load);
    let (instance, mut cx) =
        host.load("import gc, sys\ndef main():\n    gc.collect()\n    return len(sys.kemi_alive)\n");
    assert_eq!(instance.call(host.main, &mut cx, &[]).unwrap(), Outcome::Value(0.into()));
    let grown = resident().saturating_sub(before);
    assert!(grown < 5_000, "{grown} KiB more");
}
