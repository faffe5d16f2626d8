//! Reports 13: a version whose callback cannot be called with what the host passes is taken up.   core_signature python|rhai
use std::sync::Arc;
use std::time::Duration;

use kemi::{Callbacks, NoContext, Program, Registry, Source};
use soundness::{argument, engine, shown};

fn main() {
    let language = argument(1, "python");
    let folder = std::env::temp_dir().join(format!("kemi-soundness-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    std::env::set_current_dir(&folder).expect("entered");
    let path = std::path::PathBuf::from("script");
    let [good, bad] = match language.as_str() {
        "python" => ["def f():\n    return 1\n", "def f(message):\n    return 1\n"],
        _ => ["fn f() { 1 }", "fn f(message) { 1 }"],
    };
    let mut callbacks = Callbacks::new();
    let f = callbacks.required("request", "f", &[]);
    let registry = Registry::<NoContext>::builder().callbacks(callbacks).build().expect("builds");
    std::fs::write(&path, good).expect("written");
    let program = Program::open(Arc::new(engine(&language)), &registry, &[Source::File(path.clone())]).expect("opens");
    let mut worker = program.worker("w", None).expect("loads");
    std::fs::write(&path, bad).expect("written");
    let reloaded = program.reload(Duration::from_millis(10)).map(|_| "taken up").map_err(|error| error.to_string());
    let _ = std::fs::remove_dir_all(folder);
    worker.refresh();
    let got = worker.instance().call(f, &mut NoContext, &[]);
    println!("BREAKS EVERY CALL: the new version in {language} is {reloaded:?}; then a call gives {}", shown(&got));
}
