//! Reloads: by JSON-RPC, by signal and by a changed file; what is broken changes nothing, and nobody who is being served
//! notices.

#[macro_use]
mod support;

use std::fs;
use std::os::unix::net::UnixStream;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use sip_modules::rpc::RpcError;
use support::folder::{Folder, reason, send_options, text, version, workers};
use support::{Phone, Proxy};

/// How a language writes what these tests need.
struct Language {
    engine: &'static str,
    /// The module that Kamailio has for it.
    module: &'static str,
    ending: &'static str,
    /// A route that answers `VERSION`.
    route: &'static str,
    /// A route that answers what the module `helper` says.
    importing: &'static str,
    /// The module `helper`, which says `VERSION`.
    helper: &'static str,
    /// What cannot be loaded: the error's code, the line, a part of the text, the script. The first one does not parse,
    /// the fourth one throws on line 3.
    broken: &'static [(&'static str, Option<u64>, &'static str, &'static str)],
}

impl Language {
    fn folder(&self) -> Folder {
        Folder::new(self.engine, self.module, self.ending)
    }
}

const LUA: Language = Language {
    engine: "lua",
    module: "app_lua",
    ending: "lua",
    route: "function ksr_request_route()\n  KSR.sl.sl_send_reply(200, 'VERSION')\nend\n",
    importing: "local helper = require('helper')\n\
                function ksr_request_route() KSR.sl.sl_send_reply(200, helper.version()) end\n",
    helper: "return { version = function() return 'VERSION' end }\n",
    broken: &[
        ("syntax", Some(2), "", "function ksr_request_route()\n  if then\nend\n"),
        ("missing-callback", None, "did you mean 'ksr_request_rout'?", "function ksr_request_rout() end\n"),
        (
            "unknown-function",
            Some(2),
            "did you mean KSR.sl.sl_send_reply?",
            "function ksr_request_route()\n  KSR.sl.sl_sned_reply(200, 'OK')\nend\n",
        ),
        ("runtime", Some(3), "boom", "function ksr_request_route()\nend\nerror('boom')\n"),
        (
            "unknown-function",
            Some(1),
            "loadmodule \"textops.so\"",
            "KSR.textops.search('x')\nfunction ksr_request_route() end\n",
        ),
        ("time-limit", Some(1), "max_load_time_ms", "while true do end\n"),
        ("missing-callback", None, "ksr_request_route", "KSR.x.exit()\nfunction ksr_request_route() end\n"),
        ("missing-callback", None, "ksr_request_route", "os.exit(1)\nfunction ksr_request_route() end\n"),
        ("syntax", Some(2), "", "function ksr_request_route() end\n\u{ff}\n"),
        ("missing-callback", None, "ksr_request_route", ""),
        (
            "missing-callback",
            Some(2),
            "did you mean 'ksr_failure_manage'?",
            "function ksr_request_route()\n  KSR.tm.t_on_failure('ksr_failure_mange')\nend\nfunction ksr_failure_manage() end\n",
        ),
        ("root-replaced", None, "replaced KSR.sl", "KSR.sl = nil\nfunction ksr_request_route() end\n"),
    ],
};

const RHAI: Language = Language {
    engine: "rhai",
    module: "app_rhai",
    ending: "rhai",
    route: "fn ksr_request_route() {\n  KSR.sl.sl_send_reply(200, \"VERSION\");\n}\n",
    importing: "fn ksr_request_route() { import \"helper\" as helper; KSR.sl.sl_send_reply(200, helper::version()); }\n",
    helper: "fn version() { \"VERSION\" }\n",
    broken: &[
        ("syntax", Some(2), "", "fn ksr_request_route() {\n  if { }\n}\n"),
        ("missing-callback", None, "did you mean 'ksr_request_rout'?", "fn ksr_request_rout() { }\n"),
        (
            "unknown-function",
            Some(2),
            "did you mean KSR.sl.sl_send_reply?",
            "fn ksr_request_route() {\n  KSR.sl.sl_sned_reply(200, \"OK\");\n}\n",
        ),
        ("runtime", Some(3), "boom", "fn ksr_request_route() {\n}\nthrow \"boom\";\n"),
        (
            "unknown-function",
            Some(1),
            "loadmodule \"textops.so\"",
            "KSR.textops.search(\"x\");\nfn ksr_request_route() { }\n",
        ),
        ("time-limit", Some(1), "max_load_time_ms", "loop { }\n"),
        ("missing-callback", None, "ksr_request_route", "exit();\n"),
        ("syntax", Some(2), "", "fn ksr_request_route() { }\n\u{ff}\n"),
        ("missing-callback", None, "ksr_request_route", ""),
        (
            "missing-callback",
            Some(2),
            "did you mean 'ksr_failure_manage'?",
            "fn ksr_request_route() {\n  KSR.tm.t_on_failure(\"ksr_failure_mange\");\n}\nfn ksr_failure_manage() { }\n",
        ),
        ("syntax", Some(2), "'KSR' names the host's functions", "fn ksr_request_route() {\n  KSR = 1;\n}\n"),
    ],
};

const PYTHON: Language = Language {
    engine: "python",
    module: "app_python3",
    ending: "py",
    route: "import KSR\ndef ksr_request_route():\n    KSR.sl.sl_send_reply(200, 'VERSION')\n",
    importing: "import KSR\nimport helper\n\
                def ksr_request_route():\n    KSR.sl.sl_send_reply(200, helper.version())\n",
    helper: "def version():\n    return 'VERSION'\n",
    broken: &[
        ("syntax", Some(2), "", "def ksr_request_route():\n    if then\n"),
        ("missing-callback", None, "did you mean 'ksr_request_rout'?", "def ksr_request_rout():\n    pass\n"),
        (
            "unknown-function",
            Some(2),
            "did you mean KSR.sl.sl_send_reply?",
            "def ksr_request_route():\n    KSR.sl.sl_sned_reply(200, 'OK')\n",
        ),
        ("runtime", Some(3), "boom", "def ksr_request_route():\n    pass\nraise ValueError('boom')\n"),
        (
            "unknown-function",
            Some(1),
            "loadmodule \"textops.so\"",
            "KSR.textops.search('x')\ndef ksr_request_route(): pass\n",
        ),
        ("time-limit", Some(1), "max_load_time_ms", "while True: pass\n"),
        ("missing-callback", None, "ksr_request_route", "exit()\ndef ksr_request_route(): pass\n"),
        ("runtime", Some(2), "no configuration", "import sys\nsys.exit('no configuration')\n"),
        ("runtime", Some(2), "os._exit", "import os\nos._exit(1)\n"),
        ("syntax", Some(2), "", "def ksr_request_route(): pass\n\u{ff}\n"),
        ("missing-callback", None, "ksr_request_route", ""),
        (
            "missing-callback",
            Some(2),
            "did you mean 'ksr_failure_manage'?",
            "def ksr_request_route():\n    KSR.tm.t_on_failure('ksr_failure_mange')\ndef ksr_failure_manage(): pass\n",
        ),
        ("root-replaced", None, "replaced KSR.sl", "KSR.sl = None\ndef ksr_request_route(): pass\n"),
    ],
};

const JS: Language = Language {
    engine: "js",
    module: "app_jsdt",
    ending: "js",
    route: "function ksr_request_route() {\n  KSR.sl.sl_send_reply(200, 'VERSION');\n}\n",
    importing: "const helper = require('./helper');\n\
                function ksr_request_route() { KSR.sl.sl_send_reply(200, helper.version()); }\n",
    helper: "exports.version = () => 'VERSION';\n",
    broken: &[
        ("syntax", Some(2), "", "function ksr_request_route() {\n  if { }\n}\n"),
        ("missing-callback", None, "did you mean 'ksr_request_rout'?", "function ksr_request_rout() { }\n"),
        (
            "unknown-function",
            Some(2),
            "did you mean KSR.sl.sl_send_reply?",
            "function ksr_request_route() {\n  KSR.sl.sl_sned_reply(200, 'OK');\n}\n",
        ),
        ("runtime", Some(3), "boom", "function ksr_request_route() {\n}\nthrow new Error('boom');\n"),
        (
            "unknown-function",
            Some(1),
            "loadmodule \"textops.so\"",
            "KSR.textops.search('x');\nfunction ksr_request_route() { }\n",
        ),
        ("time-limit", Some(1), "max_load_time_ms", "for (;;) { }\n"),
        ("missing-callback", None, "ksr_request_route", "KSR.x.exit();\n"),
        ("runtime", Some(1), "process", "process.exit(1);\nfunction ksr_request_route() { }\n"),
        ("syntax", Some(2), "", "function ksr_request_route() { }\n\u{ff}\n"),
        ("missing-callback", None, "ksr_request_route", ""),
        (
            "missing-callback",
            Some(2),
            "did you mean 'ksr_failure_manage'?",
            "function ksr_request_route() {\n  KSR.tm.t_on_failure('ksr_failure_mange');\n}\nfunction ksr_failure_manage() { }\n",
        ),
        (
            "root-replaced",
            Some(3),
            "replaces KSR.sl",
            "'use strict';\nfunction ksr_request_route() { }\nKSR.sl = null;\n",
        ),
    ],
};

for_each_language! {
    all_workers_take_a_new_version_up
    a_broken_script_changes_nothing
    a_signal_reloads
    a_changed_file_reloads
    an_imported_module_is_reloaded_along
    no_request_is_lost_while_reloading
    a_call_in_progress_survives
}

/// Asks from several ports, so that the kernel has both workers answer.
fn expect_answers(proxy: &Proxy, expected: &str) {
    for _ in 0..8 {
        let phone = Phone::new(proxy);
        send_options(&phone, proxy);
        assert_eq!(reason(&phone.receive()), expected);
    }
}

fn hang_up(proxy: &Proxy) {
    let pid = proxy.pid().to_string();
    assert!(Command::new("kill").args(["-HUP", &pid]).status().expect("kill can be run").success());
}

fn all_workers_take_a_new_version_up(language: &Language) {
    let folder = language.folder();
    folder.write(&version(language.route, "V1"));
    let proxy = folder.start(&[]);
    expect_answers(&proxy, "V1");
    folder.write(&version(language.route, "V2"));
    expect_answers(&proxy, "V1");

    let done = folder.reload();
    assert_eq!((&done["old"], &done["new"]), (&json!(1), &json!(2)), "{done}");
    assert_eq!(workers(&done), [2, 2], "{done}");
    assert!(done["took_ms"].is_u64(), "{done}");
    expect_answers(&proxy, "V2");

    let status = folder.call(&format!("{}.list", language.module)).expect("list has no reason to fail");
    assert_eq!((&status["engine"], &status["version"]), (&json!(language.engine), &json!(2)));
    assert_eq!(status["files"], json!([text(&folder.script)]));
    proxy.expect_log("reload by RPC: version 1 -> 2, 2 workers");
}

fn a_broken_script_changes_nothing(language: &Language) {
    let folder = language.folder();
    folder.write(&version(language.route, "V1"));
    // Time enough on a busy machine for all but a loop without end.
    let config = folder.path.join("proxy.cfg");
    let standard = include_str!("../default.cfg");
    fs::write(&config, format!("{standard}kemi.max_load_time_ms=3000\n")).expect("the folder can be written");
    let config = text(&config);
    let proxy = folder.start(&["-f", &config]);
    folder.write(&version(language.route, "V2"));
    folder.reload();
    let method = format!("{}.reload", language.module);
    let file = text(&folder.script);
    for &(code, line, part, script) in language.broken {
        folder.write_bytes(script);
        let from = proxy.log().len();
        let error = folder.call(&method).expect_err(code);
        let data = error.data.clone().unwrap_or_default();
        assert_eq!((error.code, &data["code"]), (RpcError::SERVER, &json!(code)), "{script}: {error}: {data}");
        assert_eq!(data["place"]["line"].as_u64(), line, "{script}: {error}");
        assert!(error.message.contains(part) && error.message.contains(&file), "{script}: {error}");
        if line.is_some() {
            assert_eq!(data["place"]["file"], json!(file), "{error}");
        }
        folder.expect_version(2);
        expect_answers(&proxy, "V2");
        proxy.expect_log_after(from, "ERROR");
        let log = proxy.log();
        let errors: Vec<&str> = log[from..].lines().filter(|line| line.contains("ERROR")).collect();
        let [failure] = errors.as_slice() else { panic!("{script}: expected one line, got {errors:#?}") };
        assert!(
            failure.contains("reload by RPC failed, version 2 goes on") && failure.contains(&error.message),
            "{failure}"
        );

        let start = sip_proxy(&["-c", "-f", &config, "--cfgengine", language.engine, "--script", &file]);
        let said = String::from_utf8_lossy(&start.stderr);
        assert_eq!(start.status.code(), Some(1), "{script}: {said}");
        assert!(said.contains(&format!("sip-proxy: {}", error.message)), "{script}: {said}");
    }
    fs::remove_file(&folder.script).expect("it is there");
    let gone = folder.call(&method).expect_err("there is no file");
    assert!(gone.message.contains(&file) && gone.message.contains("[unreadable]"), "{gone}");
    expect_answers(&proxy, "V2");

    folder.write(&version(language.route, "V3"));
    assert_eq!(folder.reload()["new"], 3);
    expect_answers(&proxy, "V3");
}

fn a_signal_reloads(language: &Language) {
    let folder = language.folder();
    folder.write(&version(language.route, "V1"));
    let mut proxy = folder.start(&[]);
    folder.write(&version(language.route, "V2"));
    hang_up(&proxy);
    proxy.expect_log("reload by SIGHUP: version 1 -> 2, 2 workers");
    folder.expect_version(2);
    expect_answers(&proxy, "V2");

    folder.write(language.broken[0].3);
    hang_up(&proxy);
    proxy.expect_log("reload by SIGHUP failed, version 2 goes on");
    expect_answers(&proxy, "V2");

    folder.write(&version(language.route, "V3"));
    hang_up(&proxy);
    folder.expect_version(3);
    expect_answers(&proxy, "V3");

    let idle = UnixStream::connect(folder.socket()).expect("the proxy listens");
    let pid = proxy.pid().to_string();
    assert!(Command::new("kill").arg(&pid).status().expect("kill can be run").success());
    assert!(proxy.wait(), "SIGTERM ends it in good order:\n{}", proxy.log());
    assert!(!folder.socket().exists(), "the socket goes with it");
    drop(idle);
}

fn a_changed_file_reloads(language: &Language) {
    let folder = language.folder();
    folder.write(&version(language.route, "V1"));
    let proxy = folder.start(&["--watch"]);
    folder.write(&version(language.route, "V2"));
    folder.expect_version(2);
    expect_answers(&proxy, "V2");

    folder.write(language.broken[0].3);
    let failed = "reload by a changed file failed, version 2 goes on";
    proxy.expect_log(failed);
    // Long enough for two more looks at the file.
    std::thread::sleep(Duration::from_millis(2500));
    assert_eq!(proxy.log().matches(failed).count(), 1, "once for each change:\n{}", proxy.log());
    expect_answers(&proxy, "V2");

    // Editors write another file and rename it.
    let other = folder.path.join("other");
    fs::write(&other, version(language.route, "V3")).expect("the folder can be written");
    fs::rename(&other, &folder.script).expect("the folder can be written");
    folder.expect_version(3);
    expect_answers(&proxy, "V3");
}

fn an_imported_module_is_reloaded_along(language: &Language) {
    let folder = language.folder();
    let helper = folder.path.join(format!("helper.{}", language.ending));
    let write = |name: &str| fs::write(&helper, version(language.helper, name)).expect("the folder can be written");
    write("V1");
    folder.write(language.importing);
    let proxy = folder.start(&[]);
    expect_answers(&proxy, "V1");
    for number in 2..5 {
        write(&format!("V{number}"));
        folder.reload();
        expect_answers(&proxy, &format!("V{number}"));
    }
}

fn no_request_is_lost_while_reloading(language: &Language) {
    const REQUESTS: usize = 500;
    const RELOADS: u64 = 20;
    let folder = language.folder();
    folder.write(&version(language.route, "V1"));
    let proxy = folder.start(&[]);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let callers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let phone = Phone::new(&proxy);
                    let mut answered = 0;
                    while answered < REQUESTS || !done.load(Ordering::Acquire) {
                        // Several at a time, so that some wait while a worker changes its script.
                        for _ in 0..10 {
                            send_options(&phone, &proxy);
                        }
                        for _ in 0..10 {
                            let answer = reason(&phone.receive());
                            assert!(answer.starts_with('V'), "{answer}");
                            answered += 1;
                        }
                    }
                })
            })
            .collect();
        for number in 2..RELOADS + 2 {
            folder.write(&version(language.route, &format!("V{number}")));
            let result = folder.reload();
            assert_eq!((&result["new"], workers(&result)), (&json!(number), vec![number, number]), "{result}");
        }
        done.store(true, Ordering::Release);
        for caller in callers {
            caller.join().expect("no request is lost");
        }
    });
    expect_answers(&proxy, "V21");
    assert!(!proxy.log().contains("ERROR"), "{}", proxy.log());
}

fn a_call_in_progress_survives(language: &Language) {
    let basic = format!("{}/scripts/basic.{}", env!("CARGO_MANIFEST_DIR"), language.ending);
    let basic = fs::read_to_string(basic).expect("the basic script is there");
    let write =
        |folder: &Folder, name: &str| folder.write(&basic.replace("failed with ", &format!("{name} failed with ")));
    let folder = language.folder();
    write(&folder, "V1");
    let proxy = folder.start(&[]);
    let (caller, callee) = (Phone::new(&proxy), Phone::new(&proxy));
    let uri = format!("sip:callee@{}", callee.address);
    let ring = || {
        let call = caller.invite(&uri);
        let invite = callee.request("INVITE");
        callee.answer(&invite, 180, "Ringing");
        caller.reply(180);
        (call, invite)
    };

    let (call, invite) = ring();
    write(&folder, "V2");
    folder.reload();
    callee.answer(&invite, 180, "Ringing");
    caller.reply(180);
    callee.answer(&invite, 200, "OK");
    let ok = caller.reply(200);
    folder.reload();
    caller.send(&call.ack(&caller, &ok));
    callee.request("ACK");
    folder.reload();
    caller.send(&call.bye(&caller, &ok));
    let bye = callee.request("BYE");
    callee.answer(&bye, 200, "OK");
    caller.reply(200);

    // A failure route that the old script has set is called in the new one.
    let (call, invite) = ring();
    write(&folder, "V3");
    folder.reload();
    callee.answer(&invite, 486, "Busy Here");
    callee.request("ACK");
    let busy = caller.reply(486);
    caller.send(&call.ack_failure(&caller, &busy));
    proxy.expect_log("V3 failed with 486");

    // Without the function the call fails as it would without a failure route.
    let (call, invite) = ring();
    folder.write(&basic.replace("ksr_failure_manage", "ksr_failure_other"));
    folder.reload();
    callee.answer(&invite, 486, "Busy Here");
    callee.request("ACK");
    let busy = caller.reply(486);
    caller.send(&call.ack_failure(&caller, &busy));
    assert_eq!(proxy.log().matches("failed with 486").count(), 1, "{}", proxy.log());
}

fn sip_proxy(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sip-proxy")).args(args).output().expect("the proxy can be run")
}

/// Runs the client; the output, or what it says on failing.
fn ask(args: &[&str]) -> Result<Value, String> {
    let output = sip_proxy(args);
    if output.status.success() {
        return Ok(serde_json::from_slice(&output.stdout).expect("the client prints JSON"));
    }
    assert_eq!(output.status.code(), Some(1));
    Err(String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn the_client_asks_a_running_proxy() {
    let folder = LUA.folder();
    let (socket, config) = (text(&folder.socket()), text(&folder.path.join("proxy.cfg")));
    let absent = ask(&["--rpc", &socket, "rpc", "core.version"]).expect_err("nobody listens yet");
    assert!(absent.contains(&format!("core.version: there is no socket {socket}")), "{absent}");
    let whom = ask(&["rpc", "core.version"]).expect_err("no socket is named");
    assert!(whom.contains("--rpc PATH"), "{whom}");

    let listen = "listen=udp:127.0.0.1:5060\ncfgengine \"lua\"\nloadmodule \"sl.so\"\n";
    fs::write(&config, listen).expect("the folder can be written");
    let unset = ask(&["-f", &config, "rpc", "core.version"]).expect_err("the configuration names no socket");
    assert!(unset.contains("rpc.socket"), "{unset}");
    fs::write(&config, format!("rpc.socket=\"{socket}\"\n{listen}")).expect("the folder can be written");
    folder.write(&version(LUA.route, "V1"));
    let proxy = Proxy::start(&["-f", &config, "--script", &text(&folder.script)]);

    // The socket comes from the configuration, or from the flag, before or after the word.
    let answer = ask(&["-f", &config, "rpc", "core.version"]).expect("it runs");
    assert_eq!(answer, json!(format!("sip-proxy {}", env!("CARGO_PKG_VERSION"))));
    let sockets = ask(&["rpc", "--rpc", &socket, "core.sockets"]).expect("it runs");
    assert_eq!(sockets, json!([{ "proto": "udp", "address": "127.0.0.1", "port": proxy.address.port() }]));
    let api = ask(&["--rpc", &socket, "rpc", "app_lua.api_list"]).expect("it runs");
    let exports = api["exports"].as_array().expect("the dump has exports");
    assert!(exports.iter().any(|export| export["script_name"] == "KSR.sl.sl_send_reply"), "{api}");
    let methods = ask(&["--rpc", &socket, "rpc", "system.listMethods"]).expect("it runs");
    let names: Vec<&str> = methods.as_array().into_iter().flatten().filter_map(|m| m["name"].as_str()).collect();
    let expected = [
        "app_lua.api_list",
        "app_lua.list",
        "app_lua.reload",
        "core.sockets",
        "core.uptime",
        "core.version",
        "kemi.metrics",
        "stats.fetch",
        "stats.fetchn",
        "stats.get_statistics",
        "system.listMethods",
        "tm.stats",
        "ul.stats",
    ];
    assert_eq!(names, expected);

    for (args, expected) in [
        (&["app_lua.relaod"][..], "there is no method app_lua.relaod; did you mean app_lua.reload?"),
        (&["app_jsdt.reload"], "app_jsdt.reload: the engine in use is 'lua', whose methods begin with app_lua"),
        (&["app_lua.reload", "0"], "app_lua.reload takes no parameters, got 1"),
        (&["core.version", "-1", "text"], "core.version takes no parameters, got 2"),
    ] {
        let error = ask(&[&["--rpc", &socket, "rpc"], args].concat()).expect_err("it is a mistake");
        assert!(error.contains(expected), "{error}");
    }

    folder.write(LUA.broken[3].3);
    let error = ask(&["--rpc", &socket, "rpc", "app_lua.reload"]).expect_err("the script throws");
    assert!(error.starts_with("sip-proxy: app_lua.reload: lua: ") && error.contains("route.lua:3: boom"), "{error}");
}

#[test]
fn registrations_and_transactions_are_counted() {
    let folder = LUA.folder();
    let proxy = Proxy::start(&["--cfgengine", "rust", "--rpc", &text(&folder.socket())]);
    let (caller, callee) = (Phone::new(&proxy), Phone::new(&proxy));
    callee.register("alice");
    let mut contacts = folder.call("ul.stats").expect("it runs");
    let bytes = contacts[0]["bytes"].take().as_u64().expect("a number");
    assert!((100..1000).contains(&bytes), "{bytes}");
    let counts = json!({ "table": "location", "records": 1, "contacts": 1, "expired": 0, "bytes": null, "refused": 0 });
    assert_eq!(contacts, json!([counts]));
    caller.invite(&format!("sip:alice@{}", proxy.address));
    callee.request("INVITE");
    let transactions = folder.call("tm.stats").expect("it runs");
    assert_eq!((&transactions["created"], &transactions["current"]), (&json!(1), &json!(1)), "{transactions}");

    // A route that is compiled in has nothing to reload.
    let error = folder.call("app_lua.reload").expect_err("there is no script");
    assert!(error.message.contains("the engine in use is 'rust', whose route is compiled in"), "{error}");
    hang_up(&proxy);
    proxy.expect_log("reload by SIGHUP: there is no script, the route is compiled in");
}

#[test]
fn a_second_proxy_does_not_take_the_socket() {
    let folder = LUA.folder();
    let socket = text(&folder.socket());
    let proxy = Proxy::start(&["--rpc", &socket]);
    let second = sip_proxy(&["-l", "udp:127.0.0.1:0", "--rpc", &socket]);
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(1), "{said}");
    assert!(said.contains(&format!("cannot listen on {socket}: another process listens there")), "{said}");
    assert!(folder.call("core.version").is_ok(), "the first one is not disturbed");

    // One that was killed leaves its file behind; the next one takes it.
    drop(proxy);
    assert!(folder.socket().exists());
    let _next = Proxy::start(&["--rpc", &socket]);
    assert!(folder.call("core.version").is_ok());
}

#[test]
fn a_script_that_is_built_in_cannot_be_watched() {
    let output = sip_proxy(&["-l", "udp:127.0.0.1:0", "--watch"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("there is no file to watch"));
}
