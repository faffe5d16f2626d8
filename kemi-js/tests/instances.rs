//! The memory of an instance, which is freed with it.

mod common;

use std::cell::RefCell;
use std::rc::{Rc, Weak};

use common::{load, registry};
use kemi_core::engine::{Interpreter, Runtime};
use kemi_core::{ArgumentPolicy, Engine, Instance, ScriptError, Source};

thread_local! {
    static SEEN: RefCell<Weak<Runtime>> = const { RefCell::new(Weak::new()) };
}

/// The engine, but it remembers the runtime that it was given last.
#[derive(Debug)]
struct Watched;

impl Engine for Watched {
    fn name(&self) -> &'static str {
        "js"
    }

    fn language(&self) -> String {
        kemi_js::JsEngine.language()
    }

    fn load(&self, runtime: Rc<Runtime>, sources: &[Source]) -> Result<Box<dyn Interpreter>, ScriptError> {
        SEEN.set(Rc::downgrade(&runtime));
        kemi_js::JsEngine.load(runtime, sources)
    }
}

fn alive() -> bool {
    SEEN.with_borrow(|runtime| runtime.upgrade().is_some())
}

#[test]
fn an_interpreter_goes_with_its_instance_and_after_a_failed_load() {
    let (registry, _) = registry(ArgumentPolicy::Strict);
    let instance = Instance::load(&Watched, &registry, &[Source::text("t.js", "var a = {}; a.a = a;")]);
    assert!(alive());
    drop(instance.expect("loads"));
    assert!(!alive());
    for code in ["throw 1", "let = ", "KSR.x.exit(); throw 1"] {
        drop(Instance::load(&Watched, &registry, &[Source::text("t.js", code)]));
        assert!(!alive(), "{code}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn what_a_script_holds_goes_with_it() {
    let resident = || {
        let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux has it");
        let pages: usize = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("has a number");
        pages * 4 / 1024
    };
    let code = "var big = 'x'; while (big.length < 1 << 24) big += big; var self = { big }; self.self = self; function f() { return self.big.length; }";
    let before = resident();
    for _ in 0..40 {
        load(code).value(&[]);
    }
    let grown = resident().saturating_sub(before);
    assert!(grown < 320, "40 scripts of 16 MiB each left {grown} MiB");
}
