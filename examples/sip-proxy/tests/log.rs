//! The log: whatever happens to it, to whoever reads it, or to what is logged, calls go on and lines are lines.

#[macro_use]
mod support;

use std::fs::{self, File};
use std::io::{PipeReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use support::folder::{Folder, options, send_options, text};
use support::{Phone, Proxy, unique};

/// A language: the names that it goes by, and a script that does something for each user.
struct Language {
    engine: &'static str,
    module: &'static str,
    ending: &'static str,
    script: &'static str,
}

/// For the user `print` the script prints, for `log` it logs, for `fail` it fails, and for `raw`, where the language can, it
/// writes past the proxy: to the standard error and the standard output, by itself and by a child. All of it has the User-Agent.
const LUA: Language = Language {
    engine: "lua",
    module: "app_lua",
    ending: "lua",
    script: "function ksr_request_route()
  local user, ua = KSR.kx.get_ruser(), KSR.pv.gete('$ua')
  local long = ua .. string.rep('x', 500)
  if user == 'print' then print(long) end
  if user == 'log' then KSR.err(long) end
  if user == 'raw' then
    io.stderr:write(long, '\\n')
    io.write(long, '\\n')
    os.execute('echo child-out; echo child-err >&2')
  end
  if user == 'fail' then error(long) end
  KSR.sl.sl_send_reply(200, 'alive')
end
",
};
const PYTHON: Language = Language {
    engine: "python",
    module: "app_python3",
    ending: "py",
    script: "import os, sys, subprocess
import KSR
def ksr_request_route():
    user, ua = KSR.kx.get_ruser(), KSR.pv.gete('$ua')
    long = ua + 500 * 'x'
    if user == 'print': print(long)
    if user == 'log': KSR.err(long)
    if user == 'raw':
        print(long, file=sys.stderr, flush=True)
        sys.stdout.write(long + '\\n')
        sys.stdout.flush()
        os.write(2, (long + '\\n').encode())
        subprocess.run('echo child-out; echo child-err >&2', shell=True)
    if user == 'fail': raise ValueError(long)
    KSR.sl.sl_send_reply(200, 'alive')
",
};
const JS: Language = Language {
    engine: "js",
    module: "app_jsdt",
    ending: "js",
    script: "function ksr_request_route() {
  const user = KSR.kx.get_ruser(), ua = KSR.pv.gete('$ua');
  const long = ua + 'x'.repeat(500);
  if (user === 'print') console.log(long);
  if (user === 'log') KSR.err(long);
  if (user === 'fail') throw new Error(long);
  KSR.sl.sl_send_reply(200, 'alive');
}
",
};
const RHAI: Language = Language {
    engine: "rhai",
    module: "app_rhai",
    ending: "rhai",
    script: "fn ksr_request_route() {
  let user = KSR.kx.get_ruser();
  let long = KSR.pv.gete(\"$ua\");
  long.pad(500, 'x');
  if user == \"print\" { print(long); }
  if user == \"log\" { KSR.err(long); }
  if user == \"fail\" { throw long; }
  KSR.sl.sl_send_reply(200, \"alive\");
}
",
};

for_each_language! {
    a_reader_that_is_gone_costs_lines_and_no_calls
    a_reader_that_does_not_read_costs_lines_and_no_calls
    a_full_disk_costs_lines_and_no_calls
    one_event_is_one_line_whatever_the_network_has_sent
    what_a_script_logs_is_in_the_file_before_the_reply_leaves
}

/// What a proxy loads that the scripts need.
const CONFIG: &str = "loadmodule \"kemix.so\"\nloadmodule \"pv.so\"\nloadmodule \"sl.so\"\n";

impl Language {
    fn folder(&self) -> Folder {
        let folder = Folder::new(self.engine, self.module, self.ending);
        folder.write(self.script);
        fs::write(folder.path.join("proxy.cfg"), CONFIG).expect("the folder can be written");
        folder
    }

    fn users(&self) -> &'static [&'static str] {
        if matches!(self.ending, "lua" | "py") { &["print", "log", "fail", "raw"] } else { &["print", "log", "fail"] }
    }
}

fn config(folder: &Folder) -> String {
    text(&folder.path.join("proxy.cfg"))
}

/// Asks as a user; the reply is the route's, whatever has come of the log.
fn ask(phone: &Phone, proxy: &Proxy, user: &str, agent: &str) {
    let request = options(phone, proxy.address, user);
    phone.send(&request.replace("Content-Length", &format!("User-Agent: {agent}\nContent-Length")));
    let reply = phone.receive();
    let expected = if user == "fail" { 500 } else { 200 };
    assert_eq!(reply.status(), Some(expected), "'{user}':\n{}", reply.text);
}

fn pipe() -> (PipeReader, Stdio) {
    let (reader, writer) = std::io::pipe().expect("the system has a pipe");
    (reader, writer.into())
}

fn a_reader_that_is_gone_costs_lines_and_no_calls(language: &Language) {
    let folder = language.folder();
    let (reader, writer) = pipe();
    let mut proxy = Proxy::deaf(&folder, &["-f", &config(&folder)], writer, &[]);
    drop(reader);
    let phone = Phone::new(&proxy);
    for user in language.users() {
        for _ in 0..3 {
            ask(&phone, &proxy, user, "test");
        }
    }
    assert_eq!(folder.reload()["new"], 2);
    ask(&phone, &proxy, "print", "test");
    assert!(folder.number("log_lines_lost") > 0);
    proxy.signal("TERM");
    assert!(proxy.wait());
}

fn a_reader_that_does_not_read_costs_lines_and_no_calls(language: &Language) {
    let folder = language.folder();
    let (mut reader, writer) = pipe();
    let mut proxy = Proxy::deaf(&folder, &["-f", &config(&folder)], writer, &[]);
    let phone = Phone::new(&proxy);
    let begin = Instant::now();
    // More than the pipe and the queue hold: debug output comes on top.
    while folder.number("log_lines_lost") < 100 {
        for user in language.users() {
            for _ in 0..if *user == "raw" { 1 } else { 25 } {
                ask(&phone, &proxy, user, "test");
            }
        }
        assert!(begin.elapsed() < Duration::from_secs(120), "no line is lost");
    }
    assert_eq!(folder.reload()["new"], 2);
    folder.expect_version(2);
    ask(&phone, &proxy, "print", "test");

    // Somebody reads again.
    let reading = std::thread::spawn(move || {
        let (mut log, mut chunk) = (String::new(), vec![0; 1 << 16]);
        while !log.contains("the log works again, ") {
            let length = reader.read(&mut chunk).expect("the pipe can be read");
            assert!(length > 0, "the log ends without a word on what is lost");
            log.push_str(&String::from_utf8_lossy(&chunk[..length]));
        }
        reader
    });
    let reader = reading.join().expect("the log says that lines are lost");
    // And stops again: the end does not wait for it.
    for _ in 0..50 {
        ask(&phone, &proxy, "log", "test");
    }
    proxy.signal("TERM");
    assert!(proxy.wait());
    drop(reader);
}

fn a_full_disk_costs_lines_and_no_calls(language: &Language) {
    let folder = language.folder();
    let full = File::options().write(true).open("/dev/full").expect("Linux has it");
    let mut proxy = Proxy::deaf(&folder, &["-f", &config(&folder)], full.into(), &[]);
    let phone = Phone::new(&proxy);
    for user in language.users() {
        for _ in 0..3 {
            ask(&phone, &proxy, user, "test");
        }
    }
    assert!(folder.number("log_lines_lost") > 0);
    proxy.signal("TERM");
    assert!(proxy.wait());
}

#[test]
fn a_log_file_that_may_not_grow_costs_lines_and_no_calls() {
    let folder = LUA.folder();
    let log = folder.path.join("log");
    let mut command = Command::new("sh");
    // In blocks of 512 bytes or 1 KiB; a write beyond is answered by SIGXFSZ.
    command.args(["-c", "ulimit -f 8; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_sip-proxy")]);
    command.args(support::STANDARD).args(folder.arguments()).args(["-f", &config(&folder)]);
    let appended = File::options().create(true).append(true).open(&log).expect("the folder can be written");
    let mut proxy = Proxy::deaf_by(command, &folder, appended.into());
    let phone = Phone::new(&proxy);
    for _ in 0..50 {
        ask(&phone, &proxy, "log", "test");
    }
    let deadline = Instant::now() + Duration::from_secs(20);
    while folder.number("log_lines_lost") == 0 {
        assert!(Instant::now() < deadline, "no line is lost");
        ask(&phone, &proxy, "log", "test");
    }
    // Whoever rotates the log by copying it makes room, and what has been cut off ends before the next line.
    let most = fs::metadata(&log).expect("it is there").len();
    loop {
        let text = fs::read_to_string(&log).expect("it is there");
        if text.contains("the log works again, ") {
            break;
        }
        if text.len() as u64 >= most {
            File::options().write(true).truncate(true).open(&log).expect("it is there");
        }
        assert!(Instant::now() < deadline, "the log does not go on");
        ask(&phone, &proxy, "print", "test");
    }
    proxy.signal("TERM");
    assert!(proxy.wait());
}

#[test]
fn the_lost_lines_are_among_the_metrics() {
    let proxy = Proxy::start(&["--http", "0"]);
    let metrics = proxy.expect_page("/metrics", 200);
    assert_eq!(support::value(&metrics, "sip_log_lines_lost_total"), 0.0);
}

fn one_event_is_one_line_whatever_the_network_has_sent(language: &Language) {
    let folder = language.folder();
    let path = folder.path.join("log");
    let log = File::create(&path).expect("the folder can be written");
    let mut proxy = Proxy::deaf(&folder, &["-f", &config(&folder)], log.into(), &[("TERM", "xterm")]);
    let phone = Phone::new(&proxy);
    let hostile = "x\n FORGED ERROR \x1b[2J\x07\u{202e}\u{9b}y\x0b";
    for user in language.users() {
        ask(&phone, &proxy, user, hostile);
    }
    proxy.signal("TERM");
    assert!(proxy.wait());
    let log = fs::read_to_string(&path).expect("it is text");
    let harmful = |c: char| c.is_control() && c != '\t' && c != '\n' || c == '\u{202e}';
    for line in log.lines() {
        let time = line.get(..4).is_some_and(|year| year.bytes().all(|digit| digit.is_ascii_digit()));
        assert!(time && line.contains('Z'), "it begins without a time: {line:?}\n{log}");
        assert!(!line.contains(harmful), "{line:?}");
    }
    for user in language.users().iter().filter(|user| **user != "raw") {
        assert!(log.lines().filter(|line| line.contains("FORGED")).count() >= 3, "{user}:\n{log}");
    }
    if language.users().contains(&"raw") {
        for line in ["INFO stdout: x", "WARN stderr: x", "INFO stdout: child-out", "WARN stderr: child-err"] {
            assert!(log.contains(line), "no '{line}':\n{log}");
        }
    }
}

fn what_a_script_logs_is_in_the_file_before_the_reply_leaves(language: &Language) {
    let folder = language.folder();
    let path = folder.path.join("log");
    let log = File::create(&path).expect("the folder can be written");
    let proxy = Proxy::deaf(&folder, &["-f", &config(&folder)], log.into(), &[]);
    let phone = Phone::new(&proxy);
    for number in 0..200 {
        ask(&phone, &proxy, "log", &format!("number-{number}-"));
        let log = fs::read_to_string(&path).expect("it is text");
        assert!(log.contains(&format!("number-{number}-x")), "number {number}");
    }
}

#[test]
fn a_traceback_is_part_of_the_errors_line() {
    let folder = LUA.folder();
    folder.write("function deep() error('boom') end\nfunction ksr_request_route() deep(); KSR.x.exit() end\n");
    let proxy = folder.start(&["-f", &config(&folder)]);
    let phone = Phone::new(&proxy);
    send_options(&phone, &proxy);
    assert_eq!(phone.receive().status(), Some(500));
    proxy.expect_log("boom");
    let log = proxy.log();
    let line = log.lines().find(|line| line.contains("boom")).expect("it is there");
    assert!(line.contains("in function 'deep'") && line.contains("ksr_request_route"), "{line}");
}

/// A terminal: what a program sees, and what its user does.
fn terminal() -> (File, Stdio) {
    use std::os::fd::{FromRawFd, OwnedFd};
    let (mut user, mut program) = (0, 0);
    let null = std::ptr::null_mut();
    // SAFETY: two places for descriptors; the rest may be null.
    let done = unsafe { libc::openpty(&mut user, &mut program, null, null.cast(), null.cast()) };
    assert_eq!(done, 0, "the system has a terminal");
    // SAFETY: both were just opened, and nobody else has them.
    unsafe { (File::from(OwnedFd::from_raw_fd(user)), OwnedFd::from_raw_fd(program).into()) }
}

#[test]
fn colours_are_for_terminals_whose_users_want_them() {
    let shown = |environment: &[(&str, &str)]| {
        let folder = LUA.folder();
        let (mut user, program) = terminal();
        let proxy = Proxy::deaf(&folder, &["-f", &config(&folder)], program, environment);
        ask(&Phone::new(&proxy), &proxy, "log", "x\n FORGED\x1b[2J\x07");
        let (mut log, mut chunk) = (String::new(), [0; 4096]);
        while !log.contains("FORGED") {
            let length = user.read(&mut chunk).expect("the terminal can be read");
            log.push_str(&String::from_utf8_lossy(&chunk[..length]));
        }
        drop(proxy);
        log
    };
    let coloured = shown(&[("TERM", "xterm"), ("NO_COLOR", "")]);
    assert!(coloured.contains("\x1b[2m"), "{coloured:?}");
    assert!(!coloured.contains("\x1b[2J") && coloured.contains("\\n FORGED\\x1b[2J\\x07"), "{coloured:?}");
    for environment in [[("TERM", "xterm"), ("NO_COLOR", "1")], [("TERM", "dumb"), ("NO_COLOR", "")]] {
        let plain = shown(&environment);
        assert!(!plain.contains('\x1b'), "{plain:?}");
    }
    let folder = LUA.folder();
    let piped = Proxy::deaf(&folder, &[], pipe().1, &[("TERM", "xterm")]);
    drop(piped);
}

fn run(arguments: &[&str], out: Stdio, err: Stdio) -> Output {
    let command = Command::new(env!("CARGO_BIN_EXE_sip-proxy")).args(arguments).stdout(out).stderr(err).output();
    command.expect("the proxy starts")
}

#[test]
fn what_is_asked_for_on_the_command_line_ends_with_its_code_whoever_reads_it() {
    let folder = LUA.folder();
    let config = config(&folder);
    let script = text(&folder.script);
    let sound = ["-c", "-f", &config, "--cfgengine", "lua", "--script", &script];
    let broken = ["-c", "-f", &config, "--cfgengine", "lua", "--script", "/nowhere/at/all.lua"];
    let outputs: [fn() -> Stdio; 3] =
        [|| pipe().1, || File::options().write(true).open("/dev/full").expect("Linux has it").into(), Stdio::null];
    for output in outputs {
        for (arguments, code) in [(&sound[..], 0), (&broken, 1), (&["-f", "/nowhere/at/all.cfg"], 1)] {
            let ended = run(arguments, output(), output());
            assert_eq!((ended.status.code(), ended.status.signal()), (Some(code), None), "{arguments:?}");
        }
    }
    let told = run(&sound, Stdio::piped(), Stdio::piped());
    let expected = "sip-proxy: the configuration and the script are sound (Lua 5.4)\n";
    assert!(String::from_utf8_lossy(&told.stderr).ends_with(expected), "{told:?}");
    let told = run(&broken, Stdio::piped(), Stdio::piped());
    assert!(String::from_utf8_lossy(&told.stderr).contains("sip-proxy: "), "{told:?}");
    // A reader that has seen enough is no failure.
    assert!(run(&["--settings"], pipe().1, Stdio::piped()).status.success());
}

#[test]
fn the_last_words_of_a_process_that_aborts_are_in_the_log() {
    let folder = LUA.folder();
    let path = folder.path.join("log");
    let log = File::create(&path).expect("the folder can be written");
    folder.write(
        "function ksr_request_route()\n  io.stderr:write('the last words\\n')\n  os.execute('kill -ABRT $PPID')\nend\n",
    );
    let mut proxy = Proxy::deaf(&folder, &["-f", &config(&folder)], log.into(), &[]);
    let phone = Phone::new(&proxy);
    send_options(&phone, &proxy);
    assert!(!proxy.wait(), "SIGABRT ends it");
    let log = fs::read_to_string(&path).expect("it is text");
    assert!(log.contains("WARN stderr: the last words"), "{log}");
}

#[test]
fn lines_of_a_slow_end_are_written_before_it() {
    let folder = LUA.folder();
    let (mut reader, writer) = pipe();
    let mut proxy = Proxy::deaf(&folder, &["-f", &config(&folder)], writer, &[]);
    let phone = Phone::new(&proxy);
    let marker = format!("marker-{}", unique());
    ask(&phone, &proxy, "log", &marker);
    proxy.signal("TERM");
    let mut log = String::new();
    reader.read_to_string(&mut log).expect("it is text");
    assert!(proxy.wait());
    assert!(log.contains(&marker) && log.contains("drained in "), "{log}");
}

#[test]
fn a_mistake_again_and_again_hides_no_other_one_of_the_same_kind() {
    let folder = LUA.folder();
    folder.write(
        "function ksr_request_route()
  KSR.pv.sets('$ft', 'x')
  if KSR.kx.get_ruser() == 'other' then KSR.pv.sets('$tt', 'x') end
  KSR.sl.sl_send_reply(200, 'alive')
end
",
    );
    let proxy = folder.start(&["-f", &config(&folder)]);
    let phone = Phone::new(&proxy);
    for _ in 0..50 {
        ask(&phone, &proxy, "print", "test");
    }
    ask(&phone, &proxy, "other", "test");
    proxy.expect_log("$tt is not set");
    let lines = proxy.log().matches("$ft is not set").count();
    assert!((1..=20).contains(&lines), "{lines} lines for 51 requests");
}

#[test]
fn a_flood_of_messages_does_not_fill_the_log() {
    let proxy = Proxy::start(&[]);
    let phone = Phone::new(&proxy);
    for _ in 0..200 {
        // The proxy resolves no names, and says so.
        phone.invite("sip:callee@nowhere.invalid");
    }
    for _ in 0..200 {
        let reply = phone.receive();
        assert!(reply.status() >= Some(100), "{}", reply.text);
    }
    let lines = proxy.log().lines().filter(|line| line.contains("a branch was not sent")).count();
    assert!((1..=40).contains(&lines), "{lines} lines for 200 requests");
}
