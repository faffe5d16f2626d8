//! The fault table: whatever a script does, its sender gets an answer, the next request is answered, the proxy lives, and
//! one line in the log says what was wrong and where.

mod support;

use std::time::Duration;

use support::{Phone, Proxy};

/// How a fault shows.
#[derive(Clone, Copy)]
enum Shows {
    /// The sender gets a 500, and the log has one of these error codes, with file and line, and this text.
    Error(&'static [&'static str], &'static str),
    /// The callback ends as the script wanted: no answer, and the proxy goes on.
    Silence,
    /// The language has no such thing, or no way to survive it; the table says which.
    Absent,
}
use Shows::{Absent, Error, Silence};

const ENGINES: [(&str, &str); 4] = [("lua", "lua"), ("rhai", "rhai"), ("python", "py"), ("js", "js")];

/// An error that an interpreter may report in one of these ways.
const DEPTH: &[&str] = &["stack-overflow", "depth-limit"];
const MEMORY: &[&str] = &["memory-limit", "time-limit", "runtime"];
const TIME: &[&str] = &["time-limit"];
const RUNTIME: &[&str] = &["runtime"];
const UNKNOWN: &[&str] = &["unknown-function"];
const ARGUMENT: &[&str] = &["bad-argument"];
const COUNT: &[&str] = &["argument-count"];
const CALLBACK: &[&str] = &["missing-callback"];

/// What each fault comes to in Lua, Rhai, Python and JavaScript.
const TABLE: [(&str, [Shows; 4]); 20] = [
    ("loop", [Error(TIME, ""); 4]),
    ("loop_caught", [Error(TIME, ""); 4]),
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
    ("wrong_type", [Error(ARGUMENT, "argument 1 'code': expected int(0..65535)"); 4]),
    ("too_few", [Error(COUNT, "takes 2 argument(s) (code, reason), got 1"); 4]),
    ("too_many", [Error(COUNT, "takes 2 argument(s) (code, reason), got 3"); 4]),
    ("nil_for_text", [Error(ARGUMENT, "argument 2 'reason'"); 4]),
    ("callback_typo", [Error(CALLBACK, "did you mean 'ksr_failure_manage'?"); 4]),
    ("exit", [Silence, Silence, Silence, Error(RUNTIME, "process")]),
    ("osexit", [Absent, Absent, Error(RUNTIME, "_exit"), Absent]),
    (
        "hanging",
        [Error(RUNTIME, "left hanging"), Absent, Error(RUNTIME, "left hanging"), Error(RUNTIME, "left hanging")],
    ),
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
    let script = format!("{}/tests/scripts/faults.{ending}", env!("CARGO_MANIFEST_DIR"));
    let config = format!("{}/tests/scripts/faults.cfg", env!("CARGO_MANIFEST_DIR"));
    let mut failures = Vec::new();
    let proxy = Proxy::start(&["-f", &config, "--cfgengine", name, "--script", &script]);
    // One phone: the kernel gives all its requests to the same worker, whose interpreter has to survive everything.
    let phone = Phone::new(&proxy);
    let mut last_codes: &[&str] = &[];
    for (fault, shows) in TABLE {
        let shows = shows[engine];
        if let Error(codes, _) = shows {
            if codes == last_codes {
                // An error of the same place and kind is written once a second.
                std::thread::sleep(Duration::from_millis(1100));
            }
            last_codes = codes;
        }
        let before = proxy.log().len();
        match shows {
            Absent => continue,
            Silence => {
                options(&phone, &proxy, fault);
                if let Some(answer) = phone.receive_within(Duration::from_millis(400)) {
                    failures.push(format!("{fault}: expected silence, got {:?}", answer.status()));
                }
            }
            Error(codes, text) => {
                options(&phone, &proxy, fault);
                let answer = phone.receive_within(Duration::from_secs(15)).and_then(|answer| answer.status());
                if answer != Some(500) {
                    failures.push(format!("{fault}: expected a 500, got {answer:?}"));
                }
                let log = wait_for_error(&proxy, before);
                let lines: Vec<&str> = log.lines().filter(|line| line.contains("ERROR")).collect();
                let place = format!("faults.{ending}:");
                match lines.as_slice() {
                    [line]
                        if line.contains(&place)
                            && line.contains(text)
                            && codes.iter().any(|code| line.contains(&format!("[{code}]"))) => {}
                    lines => failures.push(format!(
                        "{fault}: expected one line with {place}N, {codes:?} and {text:?}, got {lines:#?}"
                    )),
                }
            }
        }
        options(&phone, &proxy, "good");
        let answer = phone.receive_within(Duration::from_secs(15)).and_then(|answer| answer.status());
        if answer != Some(200) {
            failures.push(format!("{fault}: the next good request got {answer:?}"));
        }
    }
    assert!(failures.is_empty(), "{name}:\n{}", failures.join("\n"));
}

/// Returns the log from a position on, once there is an error in it.
fn wait_for_error(proxy: &Proxy, from: usize) -> String {
    for _ in 0..500 {
        let log = proxy.log().get(from..).unwrap_or_default().to_owned();
        if log.contains("ERROR") {
            // Whatever else belongs to it has been written with it.
            std::thread::sleep(Duration::from_millis(20));
            return proxy.log().get(from..).unwrap_or_default().to_owned();
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    String::new()
}

fn options(phone: &Phone, proxy: &Proxy, user: &str) {
    let (id, me, to) = (support::unique(), phone.address, proxy.address);
    phone.send(&format!(
        "OPTIONS sip:{user}@{to} SIP/2.0\n\
         Via: SIP/2.0/UDP {me};branch=z9hG4bKfault{id};rport\n\
         Max-Forwards: 70\n\
         From: <sip:me@{me}>;tag=x{id}\n\
         To: <sip:{user}@{to}>\n\
         Call-ID: fault-{id}\n\
         CSeq: 1 OPTIONS\n\
         Content-Length: 0\n\n"
    ));
}
