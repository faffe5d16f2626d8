//! Objects of the host: a session that the host owns, a bill that the script makes.
//!
//! `cargo run -p objects -- --cfgengine lua` runs the script in Lua; `rhai`, `python` and `js` print the same.

use std::{env, error::Error, path::Path};

use kemi::{Handle, Instance, Owner, Registry, Source, find_engine, kemi_export};

struct Session(String, u32);

/// A call that somebody makes.
#[kemi_export(module = "")]
impl Session {
    #[kemi(get)]
    fn caller(&self) -> &str {
        &self.0
    }

    fn answer(&mut self) {
        self.1 += 1;
    }
}

struct Bill(f64);

#[kemi_export(module = "")]
impl Bill {
    fn create() -> Self {
        Bill(0.0)
    }

    fn add(&mut self, price: f64) {
        self.0 += price;
    }

    #[kemi(get)]
    fn total(&self) -> f64 {
        self.0
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    kemi::link();
    let engine = env::args().skip_while(|arg| arg != "--cfgengine").nth(1);
    let engine = find_engine(engine.as_deref().unwrap_or("lua"))?;
    let registry = Registry::<()>::builder().root("app").module("").build()?;
    let ending = if engine.name() == "python" { "py" } else { engine.name() };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("objects").with_extension(ending);
    let instance = Instance::load(engine, &registry, &[Source::File(script)])?;
    let on_call = instance.function::<(&Handle<Session>,), Handle<Bill>>("on_call")?;

    let session = Owner::new(Session("Ada".to_owned(), 0));
    let bill = on_call.call(&mut (), (&session,))?;
    println!("answered {} time(s), {}", session.with(|session| session.1)?, bill.with(Bill::total)?);
    // What scripts still hold of a session that is over is gone.
    let kept = session.handle();
    drop(session);
    println!("{}", on_call.call(&mut (), (&kept,)).map_or_else(|error| error.message.clone(), |_| "?".to_owned()));
    Ok(())
}
