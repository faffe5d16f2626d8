//! An actor: one interpreter with a state that never leaves its thread, and a mailbox before it.
//!
//! ```text
//! cargo run -p actor -- --cfgengine lua
//! ```
//!
//! `rhai`, `python` and `js` run the script of their language, and all print the same.

use std::{cell::RefCell, env, error::Error, path::Path, rc::Rc, sync::Arc, thread, time::Duration};

use kemi::{Actor, Callbacks, Program, Registry, Source, find_engine, kemi_export};

/// A chat room. Its `Rc` could not be sent to another thread.
#[derive(Default)]
struct Room {
    lines: Rc<RefCell<Vec<String>>>,
}

/// Writes a line into the room.
#[kemi_export(module = "room")]
fn write(room: &mut Room, line: &str) {
    room.lines.borrow_mut().push(line.to_owned());
}

/// Returns the number of lines so far.
#[kemi_export(module = "room")]
fn length(room: &Room) -> usize {
    room.lines.borrow().len()
}

fn main() -> Result<(), Box<dyn Error>> {
    kemi::link();
    let engine = env::args().skip_while(|arg| arg != "--cfgengine").nth(1);
    let engine = find_engine(engine.as_deref().unwrap_or("lua"))?;
    let mut callbacks = Callbacks::new();
    let on_message = callbacks.required("message", "on_message", &["from", "text"]);
    let registry = Registry::<Room>::builder().root("app").all_modules().callbacks(callbacks).build()?;
    let ending = if engine.name() == "python" { "py" } else { engine.name() };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("actor").with_extension(ending);
    let program = Program::open(Arc::new(engine), &registry, &[Source::File(script)])?;
    let room = Actor::builder(program).mailbox(10).name("room").build(Room::default)?;

    let guests = ["Ada", "Grace"].map(|name| {
        let room = room.clone();
        thread::spawn(move || room.send_blocking(on_message, (name, "hello")))
    });
    for guest in guests {
        guest.join().expect("it does not panic")?;
    }
    let count: usize = room.call_as_blocking(on_message, ("the host", "good night"))?;
    println!("{count} lines");
    let mut lines = room.with_blocking(|room, _script| room.lines.borrow().clone())?;
    lines.sort();
    println!("{}", lines.join("\n"));
    Ok(room.shutdown_blocking(Duration::from_secs(5))?)
}
