//! Hot reload: a new version of the script is checked aside and taken up between two calls; a broken one changes nothing.
//!
//! ```text
//! cargo run -p reload -- --cfgengine lua
//! ```
//!
//! `rhai`, `python` and `js` run the scripts of their language, and all print the same.

use std::{env, error::Error, fs, path::Path, process, sync::Arc, time::Duration};

use kemi::{Callbacks, Program, Registry, Source, find_engine};

fn main() -> Result<(), Box<dyn Error>> {
    kemi::link();
    let engine = env::args().skip_while(|arg| arg != "--cfgengine").nth(1);
    let engine = find_engine(engine.as_deref().unwrap_or("lua"))?;
    let mut callbacks = Callbacks::new();
    let on_call = callbacks.required("call", "on_call", &["name"]);
    let registry = Registry::<()>::builder().root("app").callbacks(callbacks).build()?;

    // The file that an operator edits; the versions beside this example stand for what they write.
    let ending = if engine.name() == "python" { "py" } else { engine.name() };
    let version = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join(name).with_extension(ending);
    let live = env::temp_dir().join(format!("kemi-reload-{}.{ending}", process::id()));
    fs::copy(version("first"), &live)?;

    let program = Program::open(Arc::new(engine), &registry, &[Source::File(live.clone())])?;
    let mut worker = program.worker("w1", None)?; // one for each thread of a real host
    for edited in ["first", "broken", "second"] {
        fs::copy(version(edited), &live)?;
        match program.reload(Duration::from_secs(5)) {
            Ok(reloaded) => println!("{edited}: version {} is published", reloaded.new),
            Err(error) => println!("{edited}: refused, {}", error.code),
        }
        worker.refresh(); // between two calls; cheap when there is nothing new
        println!("  {}", worker.instance().call_as::<String>(on_call, &mut (), ("Ada",))?);
    }
    fs::remove_file(live)?;
    Ok(())
}
