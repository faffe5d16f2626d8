//! What a host gets back of the error that its own function returned.

use std::error::Error;
use std::fmt;

use kemi_core::export::NoContext;
use kemi_core::{Callbacks, ErrorCode, Instance, Registry, ScriptError, Source};
use kemi_lua::LuaEngine;
use kemi_macros::kemi_export;

#[derive(Debug, PartialEq)]
struct DiskFull(u64);

impl fmt::Display for DiskFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "disk full: {} bytes free", self.0)
    }
}

impl Error for DiskFull {}

type Saved<T> = Result<T, DiskFull>;

/// The typed entry.
#[kemi_export(module = "disk")]
fn save(free: u64) -> Saved<bool> {
    Err(DiskFull(free))
}

/// The generic entry.
#[kemi_export(module = "disk")]
fn save_all(free: Option<u64>) -> Saved<()> {
    Err(DiskFull(free.unwrap_or(7)))
}

#[kemi_export(module = "disk")]
fn boxed(free: u64) -> Result<(), Box<dyn Error + Send + Sync>> {
    Err(DiskFull(free))?
}

#[kemi_export(module = "disk")]
fn only_text() -> Result<(), Box<dyn Error>> {
    Err(DiskFull(7))?
}

/// Can be displayed, and is no error type.
struct Words;

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("disk full: 7 bytes free")
    }
}

#[kemi_export(module = "disk")]
fn words() -> Result<(), Words> {
    Err(Words)
}

fn error(call: &str) -> ScriptError {
    let mut callbacks = Callbacks::new();
    let run = callbacks.required("run", "run", &[]);
    let registry = Registry::<NoContext>::builder().root("KSR").module("disk").callbacks(callbacks).build().unwrap();
    let script = format!("function run() KSR.disk.{call} end");
    let instance = Instance::load(&LuaEngine, &registry, &[Source::text("s.lua", script)]).unwrap();
    instance.call(run, &mut NoContext, &[]).unwrap_err()
}

#[test]
fn an_error_type_is_the_source_of_the_scripts_error() {
    for call in ["save(7)", "save_all(7)", "save_all()", "boxed(7)"] {
        let error = error(call);
        assert_eq!((error.code, error.message.as_str()), (ErrorCode::NativeError, "disk full: 7 bytes free"), "{call}");
        let source = error.source().and_then(|source| source.downcast_ref::<DiskFull>());
        assert_eq!(source, Some(&DiskFull(7)), "{call}");
    }
}

#[test]
fn what_can_only_be_displayed_gives_its_text() {
    for call in ["only_text()", "words()"] {
        let error = error(call);
        assert_eq!((error.code, error.message.as_str()), (ErrorCode::NativeError, "disk full: 7 bytes free"), "{call}");
        assert!(error.source().is_none(), "{call}");
    }
}
