//! The smallest host: two functions for scripts, one callback, any language.
//!
//! ```text
//! cargo run -p hello -- --cfgengine lua
//! cargo run -p hello -- --cfgengine rhai
//! cargo run -p hello -- --cfgengine python
//! cargo run -p hello -- --cfgengine js
//! ```
//!
//! Each runs the `hello` script of its language, and all print the same.

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use kemi::{Callbacks, Engine, Instance, Registry, Source, find_engine, kemi_export};

/// What the functions work on: the host's own type, whatever it likes.
struct Guestbook {
    greeted: Vec<String>,
}

/// Greets a guest. Scripts call it as `KSR.guests.greet(name)`.
#[kemi_export(module = "guests")]
fn greet(book: &mut Guestbook, name: &str) -> String {
    book.greeted.push(name.to_owned());
    format!("Hello, {name}!")
}

/// Prints a line. Scripts call it as `KSR.out.say(text)`.
#[kemi_export(module = "out", context = Guestbook)]
fn say(text: &str) {
    println!("{text}");
}

fn main() -> ExitCode {
    kemi::link();
    match chosen_engine().and_then(visit) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hello: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The whole host: declare callbacks, collect the functions, load the script, call it.
fn visit(engine: &dyn Engine) -> Result<(), Box<dyn Error>> {
    let mut callbacks = Callbacks::new();
    let on_visit = callbacks.required("visit", "on_visit", &["name"]);
    let registry = Registry::<Guestbook>::builder().root("KSR").all_modules().callbacks(callbacks).build()?;
    let instance = Instance::load(engine, &registry, &[Source::File(script(engine))])?;

    let mut book = Guestbook { greeted: Vec::new() };
    for name in ["Ada", "Grace"] {
        instance.call(on_visit, &mut book, &[name.into()])?;
    }
    println!("{} guests: {}", book.greeted.len(), book.greeted.join(", "));
    Ok(())
}

/// Reads `--cfgengine NAME`; a name that is not linked is an error which lists those that are.
fn chosen_engine() -> Result<&'static dyn Engine, Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    match (args.next().as_deref(), args.next(), args.next()) {
        (Some("--cfgengine"), Some(name), None) => Ok(find_engine(&name)?),
        _ => {
            let names: Vec<_> = kemi::engines().iter().map(|engine| engine.name()).collect();
            Err(format!("usage: hello --cfgengine {}", names.join("|")).into())
        }
    }
}

/// Returns the script of the engine's language, beside this example's manifest.
fn script(engine: &dyn Engine) -> PathBuf {
    let ending = match engine.name() {
        "python" => "py",
        other => other,
    };
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("hello").with_extension(ending)
}
