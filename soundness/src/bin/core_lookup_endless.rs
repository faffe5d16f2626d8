//! Beside S2 and S4: what looks a function up runs the script's code, and no clock runs: while a load is checked, and in `Instance::has`.
//! core_lookup_endless load|has js|python|lua
use kemi::{Callbacks, Instance, Limits, NoContext, Registry};
use soundness::{argument, deadline, engine, text};

fn main() {
    let (mode, language) = (argument(1, "load"), argument(2, "js"));
    let mut callbacks = Callbacks::new();
    let wanted = if mode == "load" { callbacks.required("r", "late", &[]) } else { callbacks.optional("r", "late", &[]) };
    let limits = Limits { max_load_time_ms: 1000, max_time_ms: 1000, ..Limits::default() };
    let registry = Registry::<NoContext>::builder().callbacks(callbacks).limits(limits).build().expect("builds");
    let script = match language.as_str() {
        "js" => "Object.defineProperty(globalThis, 'late', { get() { for (;;); } });",
        "python" => "class Handler:\n    @property\n    def late(self):\n        while True: pass\ndef mod_init():\n    return Handler()\n",
        _ => "setmetatable(_G, { __index = function() while true do end end })",
    };
    let what = if mode == "load" { "Instance::load" } else { "Instance::has" };
    deadline(8, format!("{what} of a {language} script whose look-up runs an endless function, after 8 s (both time limits are 1000 ms)"));
    match Instance::load(engine(&language), &registry, &text(script)) {
        Ok(instance) => println!("loaded; the callback is there: {}", instance.has(wanted)),
        Err(error) => println!("refused: {error}"),
    }
}
