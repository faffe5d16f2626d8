//! Reports 24: a script path that is a FIFO hangs the reload, and each one after it.
use std::ffi::CString;
use std::sync::Arc;
use std::time::Duration;

use kemi::{Limits, NoContext, Program, Source};
use soundness::{deadline, engine, limited};

fn main() {
    let folder = std::env::temp_dir().join(format!("kemi-soundness-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let path = folder.join("script.lua");
    std::fs::write(&path, "function f() end").expect("written");
    let (registry, _) = limited::<NoContext>(&["f"], Limits { max_load_time_ms: 300, ..Limits::default() });
    let program = Program::open(Arc::new(engine("lua")), &registry, &[Source::File(path.clone())]).expect("opens");
    std::fs::remove_file(&path).expect("removed");
    let name = CString::new(path.to_str().expect("plain")).expect("plain");
    // SAFETY: a string that ends with a zero.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
    let end = folder.clone();
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(4500));
        let _ = std::fs::remove_dir_all(end);
    });
    deadline(5, "a reload whose script is a FIFO has not come back after 5 s (max_load_time_ms is 300, patience 100 ms)");
    let reloaded = program.reload(Duration::from_millis(100));
    println!("came back: {}", reloaded.map_or_else(|error| error.to_string(), |done| format!("{done:?}")));
    let _ = std::fs::remove_dir_all(folder);
}
