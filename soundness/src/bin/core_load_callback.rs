//! S4a: a callback from the script's top level stops the clock of the load.   core_load_callback lua|python|js|rhai
use kemi::{Instance, Limits, Script, kemi_export};
use soundness::{argument, deadline, engine, limited, text};

struct Cx;

#[kemi_export(module = "m", context = Cx)]
fn each(script: &Script<'_>) -> bool {
    script.registry().callback("cb").is_some_and(|cb| script.call(cb, &mut Cx, &[]).is_ok())
}

fn main() {
    let language = argument(1, "lua");
    let (registry, _) = limited::<Cx>(&["cb"], Limits { max_load_time_ms: 1000, max_time_ms: 1000, ..Limits::default() });
    let script = match language.as_str() {
        "lua" => "function cb() end KSR.m.each() while true do end",
        "python" => "def cb(): pass\nKSR.m.each()\nwhile True: pass\n",
        "js" => "function cb() {} KSR.m.each(); for (;;);",
        _ => "fn cb() {} KSR.m.each(); loop {}",
    };
    deadline(8, format!("{language}: an endless top level that has called a callback runs on after 8 s (max_load_time_ms is 1000)"));
    let loaded = Instance::load(engine(&language), &registry, &text(script)).map(|_| "loaded");
    println!("ends: {:?}", loaded.map_err(|error| error.to_string()));
}
