//! S2: a typed native function leaves the context in its slot. What it looks up at the instance meanwhile (`has`, `defined`) runs code of
//! the script, which gets the same context a second time.   core_reentry js|js-defined|python|lua
use std::cell::Cell;

use kemi::{CallbackId, Instance, Limits, kemi_export};
use soundness::{argument, limited, load};

struct Cx {
    items: Vec<i64>,
}

thread_local! {
    static INSTANCE: Cell<Option<(&'static Instance<Cx>, CallbackId)>> = const { Cell::new(None) };
}

/// Holds a reference into the context while the host looks something up.
#[kemi_export(module = "m")]
fn outer(cx: &mut Cx) -> i64 {
    let first = &cx.items[0];
    let (instance, late) = INSTANCE.get().expect("set");
    if argument(1, "js") == "js-defined" {
        let _ = instance.defined();
    } else {
        for _ in 0..200 {
            let _ = instance.has(late);
        }
    }
    *first
}

#[kemi_export(module = "m")]
fn push(cx: &mut Cx) {
    cx.items.push(1);
}

fn main() {
    let mode = argument(1, "js");
    let (language, script) = match mode.as_str() {
        "js" | "js-defined" => (
            "js",
            "Object.defineProperty(globalThis, 'late', { get() { for (let i = 0; i < 99; i++) KSR.m.push(); } });
             function run() { return KSR.m.outer(); }",
        ),
        "python" => (
            "python",
            "class Handler:\n    @property\n    def late(self):\n        for i in range(99): KSR.m.push()\n    def run(self, *_):\n        return KSR.m.outer()\n\
             def mod_init():\n    return Handler()\n",
        ),
        _ => (
            "lua",
            "local function litter() setmetatable({}, { __gc = function() for i = 1, 99 do KSR.m.push() end end }) end
             function run()
                 collectgarbage('stop')
                 for i = 1, 1000 do litter() end
                 collectgarbage('restart') collectgarbage('setpause', 0) collectgarbage('setstepmul', 1000)
                 return KSR.m.outer()
             end",
        ),
    };
    let (registry, ids) = limited::<Cx>(&["run", "late"], Limits { max_time_ms: 0, ..Limits::default() });
    let instance: &'static Instance<Cx> = Box::leak(Box::new(load(language, &registry, script)));
    INSTANCE.set(Some((instance, ids[1])));
    let mut cx = Cx { items: vec![7] };
    let got = instance.call(ids[0], &mut cx, &[]);
    println!(
        "USE AFTER FREE: the function held a reference to 7, the script pushed {} items meanwhile; it read {}",
        cx.items.len() - 1,
        soundness::shown(&got)
    );
}
