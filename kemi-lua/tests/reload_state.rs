//! What a reload hands over: the state that the old version saves; and what a script may not call.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use kemi_core::{CallbackId, Callbacks, ErrorCode, Instance, Program, Registry, Source};
use kemi_lua::LuaEngine;
use kemi_macros::kemi_export;

struct Host {
    saved: i64,
}

/// Notes that a state was saved.
#[kemi_export(module = "")]
fn note(host: &mut Host) -> i64 {
    host.saved += 1;
    host.saved
}

/// Removes a file, or so it says.
#[kemi_export(module = "files", capability = "files")]
fn remove(_host: &mut Host, path: &str) -> String {
    format!("removed {path}")
}

fn registry() -> (Registry<Host>, CallbackId) {
    let mut callbacks = Callbacks::new();
    let count = callbacks.required("call", "count", &[]);
    callbacks.carry("save", "restore");
    let builder = Registry::<Host>::builder().root("app").all_modules().callbacks(callbacks);
    (builder.build().unwrap(), count)
}

/// A script's file that is written anew, in a folder that goes with it.
struct File(PathBuf);

impl File {
    fn new(name: &str) -> File {
        let folder = std::env::temp_dir().join(format!("kemi-reload-state-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        File(folder.join("script.lua"))
    }

    fn write(&self, text: &str) {
        fs::write(&self.0, text).unwrap();
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(self.0.parent().unwrap_or(Path::new("")));
    }
}

const COUNTS: &str = "local n = 0 function count() n = n + 1 return n end ";

#[test]
fn the_old_version_hands_its_state_to_the_new_one_with_the_context() {
    let (registry, count) = registry();
    let file = File::new("kept");
    let with_state = "function save() app.note() return { n = n_of() } end function restore(state) set_n(state.n) end";
    let script = |step: i64| {
        format!(
            "local n = 0 function count() n = n + {step} return n end function n_of() return n end \
             function set_n(to) n = to end {with_state}"
        )
    };
    file.write(&script(1));
    let program = Program::open(Arc::new(LuaEngine), &registry, &[Source::File(file.0.clone())]).unwrap();
    let mut worker = program.worker("w", None).unwrap();
    let mut host = Host { saved: 0 };
    let counted =
        |worker: &kemi_core::Worker<Host>, host: &mut Host| worker.instance().call_as::<i64>(count, host, ()).unwrap();
    assert_eq!([counted(&worker, &mut host), counted(&worker, &mut host)], [1, 2]);

    file.write(&script(10));
    program.reload(Duration::from_secs(5)).unwrap();
    assert!(worker.refresh_with(&mut host));
    assert_eq!((counted(&worker, &mut host), host.saved), (12, 1));
}

#[test]
fn a_state_that_cannot_be_handed_over_keeps_the_old_version() {
    let rows = [
        (
            "function save() return 1 end",
            "",
            "the old version has a state (save), and the new one no function 'restore'",
        ),
        ("function save() return { f = count } end", "function restore() end", "has a function in it"),
        ("function save() error('no') end", "function restore() end", "no"),
        ("function save() return 1 end", "function restore(state) error('not mine') end", "not mine"),
    ];
    for (old, new, reason) in rows {
        let (registry, count) = registry();
        let file = File::new("refused");
        file.write(&format!("{COUNTS}{old}"));
        let program = Program::open(Arc::new(LuaEngine), &registry, &[Source::File(file.0.clone())]).unwrap();
        let mut worker = program.worker("w", None).unwrap();
        let mut host = Host { saved: 0 };
        assert_eq!(worker.instance().call_as::<i64>(count, &mut host, ()).unwrap(), 1);
        file.write(&format!("{COUNTS}{new}"));
        program.reload(Duration::from_secs(5)).unwrap();
        assert!(!worker.refresh_with(&mut host), "{reason}");
        let status = program.status().workers.remove(0);
        assert!(status.version == 1 && status.error.is_some_and(|error| error.contains(reason)), "{reason}");
        assert_eq!(worker.instance().call_as::<i64>(count, &mut host, ()).unwrap(), 2, "{reason}");
    }
}

#[test]
fn a_function_whose_capability_is_not_granted_is_refused_at_load_and_at_its_line() {
    let mut callbacks = Callbacks::new();
    let run = callbacks.required("call", "run", &[]);
    let builder = Registry::<Host>::builder().root("app").all_modules().callbacks(callbacks).capabilities(&[]);
    let registry = builder.build().unwrap();
    let script = [Source::text("tenant.lua", "function run()\n    app.files.remove('/etc/passwd')\nend")];
    let told = "needs the capability 'files', which this script is not granted [not-permitted]";

    let error = Program::open(Arc::new(LuaEngine), &registry, &script).unwrap_err();
    assert_eq!(error.to_string(), format!("lua: tenant.lua:2: app.files.remove: {told}"));
    let instance = Instance::load(&LuaEngine, &registry, &script).unwrap();
    let error = instance.call_as::<()>(run, &mut Host { saved: 0 }, ()).unwrap_err();
    assert_eq!(error.code, ErrorCode::NotPermitted);
    assert_eq!(error.to_string(), format!("lua: tenant.lua:2: in run: app.files.remove: {told}"));
}
