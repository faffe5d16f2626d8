//! A function that the host keeps does not keep its interpreter alive. A process of its own: the memory is the process's.
#![cfg(target_os = "linux")]

use std::sync::{Arc, Mutex};

use kemi_core::{Function, Instance, Registry, Source};
use kemi_lua::LuaEngine;

/// The functions of a script, and what they refer to: everything.
const SCRIPT: &str = "
    local held = ('x'):rep(200000)
    local all = {globals = _G, root = app}
    all.self = function() return all, held end
    for _ = 1, 10 do app.host.keep(all.self) end";

fn resident_kilobytes() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").expect("Linux has it");
    pages.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).expect("a number") * 4
}

#[test]
fn a_thousand_instances_come_and_go_while_the_host_keeps_their_functions() {
    let kept: Arc<Mutex<Vec<Function>>> = Arc::default();
    let keeper = Arc::clone(&kept);
    let keep = move |function: Function| keeper.lock().expect("no panic").push(function);
    let registry = Registry::<()>::builder().root("app").function("host", "keep", &["function"], keep).build();
    let registry = registry.expect("the exports are sound");
    let mut late = Vec::new();
    let mut after_some = 0;
    for round in 0..1_000 {
        let instance = Instance::load(&LuaEngine, &registry, &[Source::text("test.lua", SCRIPT)]).expect("it loads");
        let functions = std::mem::take(&mut *kept.lock().expect("no panic"));
        assert_eq!(functions.len(), 10);
        match round % 4 {
            0 => drop(functions),
            1 => {
                drop(instance);
                assert!(functions.iter().all(Function::is_gone));
                drop(functions);
            }
            2 => {
                let dropping = std::thread::spawn(move || drop(functions));
                drop(instance);
                dropping.join().expect("a drop does not panic");
            }
            _ => late.extend(functions),
        }
        if round == 100 {
            after_some = resident_kilobytes();
        }
    }
    assert!(late.iter().all(Function::is_gone));
    let grown = resident_kilobytes().saturating_sub(after_some);
    assert!(grown < 20_000, "{grown} kB more than after 100 instances");
}
