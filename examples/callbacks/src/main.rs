//! Functions as values: the script registers handlers at its top level, the host keeps and calls them.
//!
//! ```text
//! cargo run -p callbacks -- --cfgengine lua
//! ```
//!
//! `rhai`, `python` and `js` run the script of their language, and all print the same.

use std::{collections::BTreeMap, env, error::Error, path::Path};

use kemi::{Function, Instance, Registry, Source, find_engine, kemi_export};

/// The handlers by event.
#[derive(Default)]
struct Events {
    handlers: BTreeMap<String, Vec<Function>>,
}

/// Registers a handler of an event.
#[kemi_export(module = "")]
fn on(events: &mut Events, event: &str, handler: Function) {
    events.handlers.entry(event.to_owned()).or_default().push(handler);
}

/// Forgets the handlers of an event; their functions are let go.
#[kemi_export(module = "")]
fn off(events: &mut Events, event: &str) -> usize {
    events.handlers.remove(event).map_or(0, |handlers| handlers.len())
}

fn main() -> Result<(), Box<dyn Error>> {
    kemi::link();
    let engine = env::args().skip_while(|arg| arg != "--cfgengine").nth(1);
    let engine = find_engine(engine.as_deref().unwrap_or("lua"))?;
    let registry = Registry::<Events>::builder().root("app").module("").build()?;
    let ending = if engine.name() == "python" { "py" } else { engine.name() };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("callbacks").with_extension(ending);

    // The top level gets the context, so that it can register.
    let mut events = Events::default();
    let instance = Instance::load_with(engine, &registry, &[Source::File(script)], &mut events)?;
    for (event, who) in [("login", "Ada"), ("login", "Grace"), ("logout", "Ada")] {
        for handler in events.handlers.get(event).cloned().unwrap_or_default() {
            let answer: String = handler.call(&instance, &mut events, (who,))?;
            println!("{event}: {answer}");
        }
    }
    drop(instance);
    let gone = events.handlers.values().flatten().filter(|handler| handler.is_gone()).count();
    println!("{gone} handlers are gone with their script");
    Ok(())
}
