//! A host whose script is in a language that this example brings along; its exports know nothing of that.
//!
//! ```text
//! cargo run -p own-engine
//! ```

use std::{error::Error, path::Path};

use kemi::{Callbacks, Instance, Registry, Source, find_engine, kemi_export};

/// What the functions work on.
struct Guestbook(Vec<String>);

/// Greets somebody.
#[kemi_export(module = "text", context = Guestbook)]
fn greeting(name: &str) -> String {
    format!("hello, {name}")
}

/// Notes a line; returns how many there are.
#[kemi_export(module = "guests")]
fn add(book: &mut Guestbook, line: &str) -> usize {
    book.0.push(line.to_owned());
    book.0.len()
}

fn main() -> Result<(), Box<dyn Error>> {
    own_engine::link();
    let mut callbacks = Callbacks::new();
    let on_visit = callbacks.required("visit", "on_visit", &["name"]);
    let registry = Registry::<Guestbook>::builder().root("app").all_modules().callbacks(callbacks).build()?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("guests.tiny");
    let instance = Instance::load(find_engine("tiny")?, &registry, &[Source::File(script)])?;

    let mut book = Guestbook(Vec::new());
    for name in ["Ada", "Grace"] {
        let count: usize = instance.call_as(on_visit, &mut book, (name,))?;
        println!("{count}: {}", book.0.join(", "));
    }
    Ok(())
}
