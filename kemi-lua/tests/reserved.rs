//! Which names a host may give its root object, its functions and callbacks.

use kemi_core::registry::NameRole;
use kemi_core::{Callbacks, Engine, Instance, Outcome, Registry, Source, Value};
use kemi_lua::LuaEngine;

struct Host;

fn value(script: &str) -> Value {
    let mut callbacks = Callbacks::new();
    let run = callbacks.required("run", "run", &[]);
    let registry = Registry::<Host>::builder().root("KSR").callbacks(callbacks).build().unwrap();
    let instance = Instance::load(&LuaEngine, &registry, &[Source::text("s.lua", script)]).unwrap();
    match instance.call(run, &mut Host, &[]).unwrap() {
        Outcome::Value(value) => value,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_global_of_a_fresh_state_is_reserved() {
    let script = "local names = {} for name in pairs(_G) do names[#names + 1] = name end \
                  function run() return table.concat(names, ' ') end";
    let Value::Str(names) = value(script) else { panic!("no text") };
    let names = String::from_utf8(names.to_vec()).unwrap();
    assert!(names.contains("string"), "{names}");
    for name in names.split(' ').filter(|&name| name != "KSR") {
        for role in [NameRole::Root, NameRole::Callback] {
            assert!(LuaEngine.reserved(name, role).is_some(), "{name}");
        }
        assert!(LuaEngine.reserved(name, NameRole::Member).is_none(), "{name}");
    }
}

#[test]
fn a_root_that_would_replace_a_part_of_the_language_is_a_mistake_of_build() {
    for root in ["string", "os", "math", "print", "self", "end", "_G", "coroutine"] {
        let error = Registry::<Host>::builder().root(root).build().unwrap_err();
        let [mistake] = error.mistakes() else { panic!("{error}") };
        assert!(mistake.starts_with(&format!("the root object '{root}': '{root}' is ")), "{mistake}");
    }
    for root in ["KSR", "app", "String", "JSON", "function_", "strings"] {
        assert!(Registry::<Host>::builder().root(root).build().is_ok(), "{root}");
    }
}

#[test]
fn a_callback_that_the_language_would_answer_for_is_a_mistake_of_build() {
    for name in ["print", "error", "next", "end"] {
        let mut callbacks = Callbacks::new();
        callbacks.optional("run", name, &[]);
        let error = Registry::<Host>::builder().root("KSR").callbacks(callbacks).build().unwrap_err();
        assert!(error.to_string().contains(&format!("the callback '{name}' (")), "{error}");
    }
}
