//! Files that are no files, or that nobody ever finishes: everything is answered in time.

#[macro_use]
mod support;

use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use support::folder::{Folder, reason, send_options, text};
use support::{Phone, Proxy};

/// A language: the names that it goes by, its simplest route, and one that imports `helper` first.
struct Language {
    engine: &'static str,
    module: &'static str,
    ending: &'static str,
    route: &'static str,
    importing: &'static str,
}

const LUA: Language = Language {
    engine: "lua",
    module: "app_lua",
    ending: "lua",
    route: "function ksr_request_route() KSR.sl.sl_send_reply(200, 'VERSION') end\n",
    importing: "require('helper')\nfunction ksr_request_route() KSR.sl.sl_send_reply(200, 'VERSION') end\n",
};
const PYTHON: Language = Language {
    engine: "python",
    module: "app_python3",
    ending: "py",
    route: "import KSR\ndef ksr_request_route(): KSR.sl.sl_send_reply(200, 'VERSION')\n",
    importing: "import helper\nimport KSR\ndef ksr_request_route(): KSR.sl.sl_send_reply(200, 'VERSION')\n",
};
const JS: Language = Language {
    engine: "js",
    module: "app_jsdt",
    ending: "js",
    route: "function ksr_request_route() { KSR.sl.sl_send_reply(200, 'VERSION'); }\n",
    importing: "require('./helper');\nfunction ksr_request_route() { KSR.sl.sl_send_reply(200, 'VERSION'); }\n",
};
const RHAI: Language = Language {
    engine: "rhai",
    module: "app_rhai",
    ending: "rhai",
    route: "fn ksr_request_route() { KSR.sl.sl_send_reply(200, \"VERSION\"); }\n",
    importing: "import \"helper\" as helper;\nfn ksr_request_route() { KSR.sl.sl_send_reply(200, \"VERSION\"); }\n",
};

for_each_language! {
    a_script_that_is_no_file_is_refused_in_time
    a_module_that_is_no_file_is_refused_in_time
}

/// Longer than everything that is in time: the load limit of the tests and a busy machine.
const LONG: Duration = Duration::from_secs(40);

fn fifo(path: &Path) {
    let _ = fs::remove_file(path);
    let name = CString::new(path.as_os_str().as_bytes()).expect("a path");
    // SAFETY: the name ends in NUL.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0, "{}", path.display());
}

fn folder(path: &Path) {
    let _ = fs::remove_file(path);
    fs::create_dir(path).expect("the folder can be written");
}

type Make = fn(&Path);

/// What may stand where a file should.
const OTHERS: [(&str, Make); 3] = [("a pipe", fifo), ("a folder", folder), ("a device", device)];

fn device(path: &Path) {
    let _ = fs::remove_file(path);
    std::os::unix::fs::symlink("/dev/zero", path).expect("the folder can be written");
}

fn remove(path: &Path) {
    let _ = fs::remove_file(path);
    let _ = fs::remove_dir(path);
}

/// Runs the proxy until it ends, for as long as that may take.
fn run(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sip-proxy"));
    let mut child = command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let begin = Instant::now();
    while child.try_wait().expect("the child can be waited for").is_none() {
        if begin.elapsed() > LONG {
            let _ = child.kill();
            panic!("it does not end: {arguments:?}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    child.wait_with_output().expect("the child can be waited for")
}

fn expect_refusal(arguments: &[&str], what: &str) {
    let output = run(arguments);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{what}: {text}");
    assert!(text.contains("sip-proxy: "), "{what}: {text}");
}

fn expect_answer(proxy: &Proxy, expected: &str) {
    let phone = Phone::new(proxy);
    send_options(&phone, proxy);
    assert_eq!(reason(&phone.receive()), expected);
}

fn a_script_that_is_no_file_is_refused_in_time(language: &Language) {
    let folder = Folder::new(language.engine, language.module, language.ending);
    folder.write(&support::folder::version(language.route, "V1"));
    let proxy = folder.start(&[]);
    let script = text(&folder.script);
    for (what, make) in OTHERS {
        make(&folder.script);
        expect_refusal(&["-c", "--cfgengine", language.engine, "--script", &script], what);
        let error = folder.call(&format!("{}.reload", language.module)).expect_err(what);
        assert!(error.message.contains("cannot read"), "{what}: {error}");
        // The next one is not kept waiting by it, and neither is SIGHUP.
        folder.call(&format!("{}.reload", language.module)).expect_err(what);
        let before = proxy.log().len();
        proxy.signal("HUP");
        proxy.expect_log_after(before, "reload by SIGHUP failed");
        expect_answer(&proxy, "V1");
        remove(&folder.script);
    }
    folder.write(&support::folder::version(language.route, "V2"));
    assert!(folder.reload()["new"].as_u64() >= Some(2));
    expect_answer(&proxy, "V2");
}

fn a_module_that_is_no_file_is_refused_in_time(language: &Language) {
    let folder = Folder::new(language.engine, language.module, language.ending);
    folder.write(&support::folder::version(language.route, "V1"));
    let proxy = folder.start(&[]);
    let (script, helper) = (text(&folder.script), folder.path.join(format!("helper.{}", language.ending)));
    folder.write(&support::folder::version(language.importing, "V2"));
    for (what, make) in OTHERS {
        // To Python a folder is a package.
        if language.engine == "python" && what == "a folder" {
            continue;
        }
        make(&helper);
        expect_refusal(&["-c", "--cfgengine", language.engine, "--script", &script], what);
        folder.call(&format!("{}.reload", language.module)).expect_err(what);
        expect_answer(&proxy, "V1");
        remove(&helper);
    }
}

#[test]
fn a_configuration_that_is_no_file_is_refused_in_time() {
    let files = Folder::new("lua", "app_lua", "lua");
    for (what, make) in OTHERS {
        let path = files.path.join("proxy.cfg");
        make(&path);
        let name = text(&path);
        expect_refusal(&["-f", &name], what);
        expect_refusal(&["-c", "-f", &name], what);
        expect_refusal(&["-f", &name, "rpc", "core.version"], what);
        remove(&path);
        for directive in ["include_file", "import_file", "#!include_file"] {
            fs::write(&path, format!("{directive} \"part.cfg\"\n")).expect("the folder can be written");
            let part = files.path.join("part.cfg");
            make(&part);
            expect_refusal(&["-c", "-f", &name], what);
            remove(&part);
        }
        remove(&path);
    }
}
