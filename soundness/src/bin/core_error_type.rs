//! The error that a native function returns reaches the host as text only.
use std::error::Error;

use kemi::{Callbacks, Instance, NoContext, Registry, Source, kemi_export};

#[kemi_export(module = "disk")]
fn save() -> Result<(), std::io::Error> {
    Err(std::io::Error::from(std::io::ErrorKind::StorageFull))
}

fn main() {
    kemi::link();
    let mut callbacks = Callbacks::new();
    let run = callbacks.required("run", "run", &[]);
    let registry = Registry::<NoContext>::builder().root("app").module("disk").callbacks(callbacks).build().unwrap();
    let script = Source::text("s.lua", "function run() app.disk.save() end");
    let instance = Instance::load(kemi::find_engine("lua").unwrap(), &registry, &[script]).unwrap();
    let error = instance.call(run, &mut NoContext, &[]).unwrap_err();
    println!("LOST: the host gets \"{error}\" and the source {:?}", error.source().map(ToString::to_string));
}
