//! A host that uses the exports of a library, and adds a closure of its own.
//!
//! ```text
//! cargo run -p plugin-crate -- --cfgengine lua
//! ```
//!
//! `rhai`, `python` and `js` run the script of their language, and all print the same.

use std::{env, error::Error, path::Path};

use kemi::{Callbacks, Instance, Registry, Source, find_engine};
use plugin_crate::Mailbox;

/// The context: what is the host's, and what it lends to libraries.
#[derive(Default)]
struct Host {
    mailbox: Mailbox,
}

fn main() -> Result<(), Box<dyn Error>> {
    kemi::link();
    plugin_crate::link();
    let engine = env::args().skip_while(|arg| arg != "--cfgengine").nth(1);
    let engine = find_engine(engine.as_deref().unwrap_or("lua"))?;
    let mut callbacks = Callbacks::new();
    let on_alarm = callbacks.required("alarm", "on_alarm", &["what"]);
    let signature = String::from("the host");
    let registry = Registry::<Host>::builder()
        .root("app")
        .part(|host: &mut Host| &mut host.mailbox)
        .module("mail")
        .function("text.letter", "sign", &["text"], move |text: String| format!("{text}, yours, {signature}"))
        .callbacks(callbacks)
        .build()?;
    let ending = if engine.name() == "python" { "py" } else { engine.name() };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("plugin").with_extension(ending);
    let instance = Instance::load(engine, &registry, &[Source::File(script)])?;

    let mut host = Host::default();
    let count: usize = instance.call_as(on_alarm, &mut host, ("fire",))?;
    println!("{count} sent: {:?}", host.mailbox.sent());
    Ok(())
}
