//! The handler of SIGURG, in a library that was loaded while the process ran, allocates on a thread that never ran a script: its first use
//! of a thread-local there. It builds that library, so it needs cargo.   core_dlopen [PATH OF kemi-core]
use std::ffi::{CString, c_int};
use std::path::Path;
use std::process::Command;
use std::{env, fs, mem, ptr};

const LIBRARY: &str = r#"
#[unsafe(no_mangle)]
pub extern "C" fn ready() {
    std::mem::forget(kemi_core::interrupt::for_this_thread());
}
"#;

fn build() -> CString {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let core = env::args().nth(1).unwrap_or_else(|| package.join("../target/d55f506/kemi-core").display().to_string());
    let folder = env::temp_dir().join(format!("kemi-dlopen-{}", std::process::id()));
    fs::create_dir_all(folder.join("src")).expect("a folder for the library");
    let manifest = format!(
        "[package]\nname = \"plugin\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[workspace]\n[lib]\ncrate-type = [\"cdylib\"]\n\
         [dependencies]\nkemi-core = {{ path = \"{core}\" }}\n"
    );
    fs::write(folder.join("Cargo.toml"), manifest).expect("writes");
    fs::write(folder.join("src/lib.rs"), LIBRARY).expect("writes");
    let _ = fs::copy(package.join("Cargo.lock"), folder.join("Cargo.lock"));
    let target = folder.join("target");
    let built = Command::new("cargo").args(["build", "-q", "--offline"]).current_dir(&folder).env("CARGO_TARGET_DIR", &target).status();
    assert!(built.is_ok_and(|status| status.success()), "cargo builds the library");
    CString::new(target.join("debug/libplugin.so").display().to_string()).expect("no NUL")
}

fn mask(how: c_int) {
    // SAFETY: a set of signals is made before it is used.
    unsafe {
        let mut set: libc::sigset_t = mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGURG);
        libc::pthread_sigmask(how, &raw const set, ptr::null_mut());
    }
}

fn main() {
    let path = build();
    // SAFETY: the library is a good one, and its function takes and gives nothing.
    unsafe {
        let library = libc::dlopen(path.as_ptr(), libc::RTLD_NOW);
        assert!(!library.is_null());
        let ready = libc::dlsym(library, c"ready".as_ptr());
        mem::transmute::<*mut libc::c_void, extern "C" fn()>(ready)();
    }
    // So the signal gets to the other thread.
    mask(libc::SIG_BLOCK);
    let allocated = std::thread::spawn(|| {
        mask(libc::SIG_UNBLOCK);
        // SAFETY: no demands.
        let used = || unsafe { libc::mallinfo2() }.uordblks;
        let before = used();
        // SAFETY: to this process, which has a handler.
        unsafe { libc::kill(libc::getpid(), libc::SIGURG) };
        used() - before
    });
    match allocated.join().expect("does not panic") {
        0 => println!("allocates nothing"),
        bytes => println!("ALLOCATES IN A SIGNAL HANDLER: {bytes} bytes on a thread that never ran a script; in the middle of malloc that hangs"),
    }
    let _ = fs::remove_dir_all(Path::new(path.to_str().expect("UTF-8")).ancestors().nth(3).expect("three folders up"));
}
