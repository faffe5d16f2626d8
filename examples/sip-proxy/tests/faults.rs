//! The fault table: whatever a script does, its sender gets an answer, the next request is answered, the proxy lives, and
//! one line in the log says what was wrong and where.

mod support;

use std::process::Command;
use std::time::Duration;

use kemi::kemi_export;
use sip_modules::proxy::Cx;
use support::{Phone, Proxy, STANDARD};

/// How a fault shows.
#[derive(Clone, Copy)]
enum Shows {
    /// The sender gets a 500, and the log has one of these error codes, with file and line, and this text.
    Error(&'static [&'static str], &'static str),
    /// The sender gets the script's answer, and the log has it all the same.
    Told(&'static [&'static str], &'static str),
    /// The sender gets the script's answer: there was nothing in it but an attempt, which the language ignores.
    Ignored,
    /// The callback ends as the script wanted: no answer, and the proxy goes on.
    Silence,
    /// The language has no such thing, or no way to survive it; the table says which.
    Absent,
}
use Shows::{Absent, Error, Ignored, Silence, Told};

const ENGINES: [(&str, &str); 4] = [("lua", "lua"), ("rhai", "rhai"), ("python", "py"), ("js", "js")];

/// An error that an interpreter may report in one of these ways.
const DEPTH: &[&str] = &["stack-overflow"];
const MEMORY: &[&str] = &["memory-limit", "time-limit", "runtime"];
const TIME: &[&str] = &["time-limit"];
const RUNTIME: &[&str] = &["runtime"];
const UNKNOWN: &[&str] = &["unknown-function"];
const ARGUMENT: &[&str] = &["bad-argument"];
const COUNT: &[&str] = &["argument-count"];
const CALLBACK: &[&str] = &["missing-callback"];
/// Something of `KSR` is missing.
const BROKEN: &[&str] = &["runtime", "unknown-function"];
const REPLACED: &[&str] = &["root-replaced"];
const PANIC: &[&str] = &["native-panic"];

/// What each fault comes to in Lua, Rhai, Python and JavaScript.
const TABLE: [(&str, [Shows; 4]); 31] = [
    ("loop", [Error(TIME, ""); 4]),
    ("loop_caught", [Error(TIME, ""); 4]),
    // Rhai has no patterns.
    ("regex", [Error(TIME, ""), Absent, Error(TIME, ""), Error(TIME, "")]),
    ("deep", [Error(DEPTH, ""); 4]),
    ("alloc", [Error(MEMORY, ""); 4]),
    ("big_string", [Error(MEMORY, ""); 4]),
    ("throw", [Error(RUNTIME, "boom"); 4]),
    ("throw_table", [Error(RUNTIME, ""); 4]),
    ("throw_nothing", [Error(RUNTIME, ""); 4]),
    (
        "unknown_function",
        [
            Error(UNKNOWN, "did you mean KSR.sl.sl_send_reply?"),
            Absent,
            Error(UNKNOWN, "did you mean KSR.sl.sl_send_reply?"),
            Error(UNKNOWN, "did you mean KSR.sl.sl_send_reply?"),
        ],
    ),
    ("unknown_module", [Error(UNKNOWN, "KSR.nosuch"); 4]),
    ("disabled_module", [Error(UNKNOWN, "loadmodule \"textops.so\""); 4]),
    ("wrong_type", [Error(ARGUMENT, "KSR.sl.sl_send_reply: argument 1 'code': expected int, got "); 4]),
    ("too_few", [Error(COUNT, "takes 2 argument(s) (code, reason), got 1"); 4]),
    ("too_many", [Error(COUNT, "takes 2 argument(s) (code, reason), got 3"); 4]),
    ("nil_for_text", [Error(ARGUMENT, "argument 2 'reason'"); 4]),
    ("callback_typo", [Error(CALLBACK, "did you mean 'ksr_failure_manage'?"); 4]),
    ("x_exit", [Silence; 4]),
    ("exit", [Absent, Silence, Silence, Absent]),
    ("os_exit", [Silence, Absent, Absent, Absent]),
    ("sys_exit", [Absent, Absent, Silence, Absent]),
    ("os__exit", [Absent, Absent, Error(RUNTIME, "_exit"), Absent]),
    ("os_abort", [Absent, Absent, Error(RUNTIME, "abort"), Absent]),
    ("process_exit", [Absent, Absent, Absent, Error(RUNTIME, "process")]),
    (
        "hanging",
        [Error(RUNTIME, "left hanging"), Absent, Error(RUNTIME, "left hanging"), Error(RUNTIME, "left hanging")],
    ),
    // To Rhai `KSR` is no variable: such a script does not load, see the table of reloads.
    ("redefine", [Error(BROKEN, "replaced KSR,"), Absent, Error(BROKEN, "replaced KSR,"), Ignored]),
    ("redefine_module", [Error(BROKEN, "replaced KSR.sl,"), Absent, Error(BROKEN, "replaced KSR.sl,"), Ignored]),
    (
        "redefine_function",
        [
            Error(BROKEN, "replaced KSR.sl.sl_send_reply,"),
            Absent,
            Error(BROKEN, "replaced KSR.sl.sl_send_reply,"),
            Ignored,
        ],
    ),
    ("redefine_strictly", [Absent, Absent, Absent, Error(RUNTIME, "")]),
    ("redefine_quietly", [Told(REPLACED, "replaced KSR"), Absent, Told(REPLACED, "replaced KSR"), Absent]),
    ("close_stdout", [Error(RUNTIME, "closed"), Absent, Error(RUNTIME, "closed"), Absent]),
];

#[test]
fn lua() {
    every_fault_is_survived(0);
}

#[test]
fn rhai() {
    every_fault_is_survived(1);
}

#[test]
fn python() {
    every_fault_is_survived(2);
}

#[test]
fn js() {
    every_fault_is_survived(3);
}

fn every_fault_is_survived(engine: usize) {
    let (name, ending) = ENGINES[engine];
    let script = test_file(&format!("faults.{ending}"));
    let proxy = Proxy::start(&["-f", &test_file("faults.cfg"), "--cfgengine", name, "--script", &script]);
    let mut rows = Rows::new(&proxy, name, format!("faults.{ending}:"));
    for (fault, shows) in TABLE {
        rows.check(fault, shows[engine]);
    }
    rows.finish();
}

fn test_file(name: &str) -> String {
    format!("{}/tests/scripts/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// The rows of one engine, whose faults are collected.
struct Rows<'a> {
    proxy: &'a Proxy,
    /// One phone: the kernel gives all its requests to the same worker, whose interpreter has to survive everything.
    phone: Phone,
    engine: &'static str,
    /// The script's name and a colon.
    file: String,
    failures: Vec<String>,
}

impl<'a> Rows<'a> {
    fn new(proxy: &'a Proxy, engine: &'static str, file: String) -> Rows<'a> {
        Rows { proxy, phone: Phone::new(proxy), engine, file, failures: Vec::new() }
    }

    fn check(&mut self, fault: &str, shows: Shows) {
        match shows {
            Absent => return,
            Silence => {
                self.phone.options(fault);
                if let Some(answer) = self.phone.receive_within(Duration::from_millis(400)) {
                    self.failures.push(format!("{fault}: expected silence, got {:?}", answer.status()));
                }
            }
            Ignored => {
                let before = self.proxy.log().len();
                self.expect_answer(fault, 200);
                let log = self.log_from(before);
                if log.contains("ERROR") {
                    self.failures.push(format!("{fault}: expected no error, got {log}"));
                }
            }
            Error(codes, text) => self.expect_line(fault, 500, codes, text),
            Told(codes, text) => self.expect_line(fault, 200, codes, text),
        }
        self.expect_answer("good", 200);
    }

    fn expect_line(&mut self, fault: &str, status: u16, codes: &[&str], text: &str) {
        let mut before = self.proxy.log().len();
        self.expect_answer(fault, status);
        let mut log = self.wait_for_error(before);
        if log.is_empty() {
            // An error of the same place and kind is written once a second: this one has been left out.
            std::thread::sleep(Duration::from_millis(1100));
            before = self.proxy.log().len();
            self.expect_answer(fault, status);
            log = self.wait_for_error(before);
        }
        let lines: Vec<&str> = log.lines().filter(|line| line.contains("ERROR")).collect();
        let code = |line: &str| codes.iter().any(|code| line.contains(&format!("[{code}]")));
        let about = if status == 500 { "(OPTIONS, Call-ID options-" } else { "(it is put back" };
        let engine = format!("{}: ", self.engine);
        match lines.as_slice() {
            [line]
                if [self.file.as_str(), text, about, &engine].iter().all(|part| line.contains(part)) && code(line) => {}
            lines => self.failures.push(format!(
                "{fault}: expected one line with {}N, {codes:?}, {text:?} and {about:?}, got {lines:#?}",
                self.file
            )),
        }
    }

    fn expect_answer(&mut self, user: &str, status: u16) {
        self.phone.options(user);
        let answer = self.phone.receive_within(Duration::from_secs(15)).and_then(|answer| answer.status());
        if answer != Some(status) {
            self.failures.push(format!("{user}: expected {status}, got {answer:?}"));
        }
    }

    /// Returns the log from a position on, once there is an error in it; nothing if there is none for a while.
    fn wait_for_error(&self, from: usize) -> String {
        for _ in 0..100 {
            if self.log_from(from).contains("ERROR") {
                // Whatever else belongs to it has been written with it.
                std::thread::sleep(Duration::from_millis(20));
                return self.log_from(from);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        String::new()
    }

    fn log_from(&self, from: usize) -> String {
        self.proxy.log().get(from..).unwrap_or_default().to_owned()
    }

    fn finish(self) {
        assert!(self.failures.is_empty(), "{}:\n{}", self.engine, self.failures.join("\n"));
    }
}

/// A bug in a native function.
#[kemi_export(module = "kx")]
fn test_panic(_cx: &mut Cx, text: &str) -> i64 {
    panic!("{text}")
}

/// A script that calls it for the user `panic`, on line 2.
const PANICKING: [&str; 4] = [
    "function ksr_request_route()\n  if KSR.kx.get_ruser() == 'panic' then KSR.kx.test_panic('out of cheese') end\n\
     KSR.sl.sl_send_reply(200, 'alive')\nend\n",
    "fn ksr_request_route() {\n  if KSR.kx.get_ruser() == \"panic\" { KSR.kx.test_panic(\"out of cheese\"); }\n\
     KSR.sl.sl_send_reply(200, \"alive\");\n}\n",
    "def ksr_request_route():\n    if KSR.kx.get_ruser() == 'panic': KSR.kx.test_panic('out of cheese')\n\
     \x20   KSR.sl.sl_send_reply(200, 'alive')\n",
    "function ksr_request_route() {\n  if (KSR.kx.get_ruser() == 'panic') KSR.kx.test_panic('out of cheese');\n\
     KSR.sl.sl_send_reply(200, 'alive');\n}\n",
];

/// Where [`proxy_with_a_bug`] finds its command line.
const ARGUMENTS: &str = "SIP_PROXY_ARGUMENTS";

/// No test: the proxy with one export more, which the test below runs as a process.
#[test]
#[ignore = "a process of another test"]
fn proxy_with_a_bug() {
    let Ok(arguments) = std::env::var(ARGUMENTS) else { return };
    sip_proxy::run(arguments.lines().map(Into::into));
}

#[test]
fn a_native_panic_is_survived() {
    let folder = std::env::temp_dir().join(format!("sip-faults-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("the temporary folder can be written");
    for ((engine, ending), script) in ENGINES.into_iter().zip(PANICKING) {
        let path = folder.join(format!("panic.{ending}"));
        std::fs::write(&path, script).expect("the folder can be written");
        let (config, path) = (test_file("faults.cfg"), path.display().to_string());
        let own = ["sip-proxy", "-f", &config, "--cfgengine", engine, "--script", &path];
        let mut command = Command::new(std::env::current_exe().expect("the system knows it"));
        command.args(["proxy_with_a_bug", "--exact", "--ignored", "--nocapture"]);
        // Naming the frames of a large program takes longer than a callback may.
        command.env(ARGUMENTS, [&own[..], &STANDARD[..]].concat().join("\n")).env("RUST_BACKTRACE", "0");
        let proxy = Proxy::spawn(command);
        let mut rows = Rows::new(&proxy, engine, format!("panic.{ending}:2"));
        let text = "panicked: out of cheese; this is a bug in the host, not in the script";
        rows.check("panic", Error(PANIC, text));
        rows.finish();
    }
    let _ = std::fs::remove_dir_all(&folder);
}
