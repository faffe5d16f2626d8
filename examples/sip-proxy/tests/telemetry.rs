//! What operators see of a running proxy: metrics, health and readiness by HTTP and RPC, and what systemd is told.

mod support;

use std::fs;
use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sip_modules::rpc::{Params, RpcError, call};
use support::{Phone, Proxy, folder, unique, value};

const PATIENCE: Duration = Duration::from_secs(30);

/// A folder of its own for a test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        let path = std::env::temp_dir().join(format!("sip-telemetry-{}-{}", std::process::id(), unique()));
        fs::create_dir_all(&path).expect("the temporary directory can be written");
        Folder(path)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_string_lossy().into_owned()
    }

    fn call(&self, method: &str, params: &Params) -> Value {
        call(&self.0.join("rpc.sock"), method, params).unwrap_or_else(|error| panic!("{method}: {error}"))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A folder left in the temporary directory harms nobody.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn with_faults(args: &[&str]) -> Proxy {
    let path = |name: &str| format!("{}/tests/scripts/{name}", env!("CARGO_MANIFEST_DIR"));
    let (config, script) = (path("telemetry.cfg"), path("telemetry.lua"));
    let fixed = ["-f", &config, "--cfgengine", "lua", "--script", &script, "--http", "0"];
    Proxy::start(&[&fixed, args].concat())
}

fn metrics(proxy: &Proxy) -> String {
    let (status, head, body) = proxy.http("/metrics").expect("it is served");
    assert_eq!(status, 200);
    assert!(head.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8"), "{head}");
    assert!(body.ends_with("# EOF\n"), "{body}");
    body
}

#[test]
fn every_message_is_counted_where_it_belongs() {
    let proxy = Proxy::start(&["--http", "0"]);
    let (caller, callee) = (Phone::new(&proxy), Phone::new(&proxy));
    callee.register("alice");
    let call = caller.invite(&format!("sip:alice@{}", proxy.address));
    caller.reply(100);
    let invite = callee.request("INVITE");
    caller.send(&call.invite(&caller));
    caller.reply(100);
    callee.answer(&invite, 180, "Ringing");
    caller.reply(180);
    caller.send("\n\n\n\n");
    caller.send("nonsense\n\n");
    caller.send(&call.invite(&caller).replace("CSeq", "X-CSeq"));
    caller.send(&call.invite(&caller).replace("INVITE", "FOO").replace("z9hG4bKinv", "z9hG4bKfoo"));
    callee.request("FOO");
    callee.send(
        "SIP/2.0 200 OK\nVia: SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bKx\nFrom: <sip:a@b>;tag=1\n\
                 To: <sip:a@b>;tag=2\nCall-ID: stray\nCSeq: 1 INVITE\nContent-Length: 0\n\n",
    );
    callee.answer(&invite, 486, "Busy Here");
    callee.request("ACK");
    caller.reply(486);

    let deadline = Instant::now() + PATIENCE;
    let dropped =
        |metrics: &str, reason| value(metrics, &format!("sip_datagrams_dropped_total{{reason=\"{reason}\"}}"));
    let mut numbers = metrics(&proxy);
    while dropped(&numbers, "stray_reply") == 0.0 && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
        numbers = metrics(&proxy);
    }
    let requests = |method| value(&numbers, &format!("sip_requests_received_total{{method=\"{method}\"}}"));
    // Two INVITEs that are whole and one without its CSeq.
    assert_eq!([requests("REGISTER"), requests("INVITE"), requests("other"), requests("BYE")], [1.0, 3.0, 1.0, 0.0]);
    for reason in ["keep_alive", "malformed", "incomplete", "stray_reply"] {
        assert_eq!(dropped(&numbers, reason), 1.0, "{reason}:\n{numbers}");
    }
    let received = |class| value(&numbers, &format!("sip_replies_received_total{{class=\"{class}\"}}"));
    assert_eq!([received("1xx"), received("2xx"), received("4xx")], [1.0, 1.0, 1.0]);
    let sent = |class| value(&numbers, &format!("sip_replies_sent_total{{class=\"{class}\"}}"));
    assert_eq!((sent("1xx"), sent("2xx")), (3.0, 1.0), "{numbers}");
    assert!(sent("4xx") >= 1.0, "{numbers}");
    assert_eq!(value(&numbers, "sip_retransmissions_total{direction=\"received\"}"), 1.0);
    assert_eq!(value(&numbers, "sip_transactions_created_total"), 2.0);
    assert_eq!(value(&numbers, "sip_transactions"), 2.0);
    assert_eq!(value(&numbers, "sip_registered_contacts{table=\"location\"}"), 1.0);
    assert_eq!(value(&numbers, "sip_workers{state=\"working\"}"), 2.0);
    assert_eq!(value(&numbers, "sip_ready"), 1.0);
    assert!(value(&numbers, "process_start_time_seconds") > 1.7e9);
}

#[test]
fn script_errors_and_reloads_are_counted_and_each_worker_tells_its_version() {
    let callback =
        |name: &str, label: &str| format!("{name}{{callback=\"ksr_request_route\",route=\"request_route\",{label}}}");
    let folder = Folder::new();
    fs::write(folder.0.join("route.lua"), "function ksr_request_route() error('boom') end\n")
        .expect("it can be written");
    let (script, socket) = (folder.path("route.lua"), folder.path("rpc.sock"));
    let proxy = Proxy::start(&["--script", &script, "--rpc", &socket, "--http", "0"]);
    let phone = Phone::new(&proxy);
    phone.options("x");
    phone.reply(500);
    folder.call("app_lua.reload", &Params::none());
    fs::write(folder.0.join("route.lua"), "function\n").expect("it can be written");
    call(&folder.0.join("rpc.sock"), "app_lua.reload", &Params::none()).expect_err("it does not parse");

    let numbers = metrics(&proxy);
    assert_eq!(value(&numbers, &callback("kemi_callback_errors_total", "code=\"runtime\"")), 1.0);
    assert_eq!(value(&numbers, "kemi_reloads_total{result=\"published\"}"), 1.0);
    assert_eq!(value(&numbers, "kemi_reloads_total{result=\"refused\"}"), 1.0);
    assert_eq!(value(&numbers, "kemi_program_version"), 2.0);
    for worker in ["0.0", "1.0"] {
        assert_eq!(value(&numbers, &format!("kemi_worker_program_version{{worker=\"{worker}\"}}")), 2.0);
    }
}

#[test]
fn the_same_numbers_are_told_over_rpc_under_kamailios_names_and_as_json() {
    let folder = Folder::new();
    let proxy = Proxy::start(&["--rpc", &folder.path("rpc.sock")]);
    let phone = Phone::new(&proxy);
    phone.register("alice");

    let all = folder.call("stats.fetch", &Params::from(["all"]));
    assert_eq!(all["core.rcv_requests_register"], json!("1"), "{all}");
    assert_eq!(all["usrloc.location-contacts"], json!("1"), "{all}");
    assert_eq!(folder.call("stats.fetch", &Params::none()), all);
    let some = folder.call("stats.fetchn", &Params::from(["rcv_requests", "tmx:"]));
    assert_eq!(some, json!({ "core.rcv_requests": 1, "tmx.inuse_transactions": 0 }));
    let lines = folder.call("stats.get_statistics", &Params::from(["registered_users"]));
    assert_eq!(lines, json!(["usrloc:registered_users = 1"]));
    match call(&folder.0.join("rpc.sock"), "stats.fetch", &Params::from(["rcv_request"])) {
        Err(sip_modules::rpc::ClientError::Rpc(error)) => {
            assert_eq!(error.code, RpcError::INVALID_PARAMS);
            assert_eq!(error.message, "there is no statistic rcv_request; did you mean rcv_requests?");
        }
        other => panic!("{other:?}"),
    }

    let metrics = folder.call("kemi.metrics", &Params::none());
    assert_eq!(metrics["requests_received"]["REGISTER"], json!(1), "{metrics}");
    assert_eq!(metrics["registrations"]["location"]["contacts"], json!(1), "{metrics}");
    assert_eq!(metrics["health"]["healthy"], json!(true), "{metrics}");
    assert_eq!(metrics["program"]["version"], json!(1), "{metrics}");
    assert_eq!(metrics["script"]["callbacks"][0]["name"], json!("ksr_request_route"), "{metrics}");
}

#[test]
fn http_is_off_unless_it_is_wanted_and_a_taken_port_is_an_error() {
    assert!(!Proxy::start(&[]).log().contains("HTTP"));
    let port = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let taken = port.local_addr().expect("it is bound").to_string();
    let second = std::process::Command::new(env!("CARGO_BIN_EXE_sip-proxy"))
        .args(["-l", "udp:127.0.0.1:0", "--http", &taken])
        .output()
        .expect("the proxy can be run");
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(!second.status.success() && said.contains(&format!("cannot listen for HTTP on {taken}")), "{said}");
}

#[test]
fn a_stuck_worker_is_seen_and_so_is_its_return() {
    let proxy = with_faults(&[]);
    proxy.expect_page("/ready", 200);
    let healthy = proxy.expect_page("/health", 200);
    let healthy: Value = serde_json::from_str(&healthy).expect("it is JSON");
    let names: Vec<&Value> = (0..2).map(|worker| &healthy["workers"][worker]["name"]).collect();
    assert_eq!(names, [&json!("0.0"), &json!("1.0")], "{healthy}");

    Phone::new(&proxy).options("loop");
    let ill: Value = serde_json::from_str(&proxy.expect_page("/health", 503)).expect("it is JSON");
    let states: Vec<&str> = (0..2).filter_map(|worker| ill["workers"][worker]["state"].as_str()).collect();
    assert!(states.contains(&"stuck") && states.contains(&"working"), "{ill}");
    // Its loop is ended by the clock.
    proxy.expect_page("/health", 200);
}

#[test]
fn a_failed_request_is_answered_or_left_alone_as_the_configuration_says() {
    let faults = ["fail", "loop", "relay_then_fail"];
    let answering = with_faults(&[]);
    let phone = Phone::new(&answering);
    for fault in faults {
        phone.options(fault);
        phone.reply(500);
    }

    let silent = with_faults(&["-A", "SILENCE"]);
    let phone = Phone::new(&silent);
    for fault in faults {
        phone.options(fault);
    }
    phone.options("good");
    let first = phone.receive();
    assert_eq!(first.status(), Some(200), "the faults before it get no answer:\n{}", first.text);
    silent.expect_log("on purpose");
    assert!(phone.receive_within(Duration::from_millis(300)).is_none());
}

#[test]
fn what_has_failed_is_not_run_again_for_a_retransmission() {
    let proxy = with_faults(&[]);
    let phone = Phone::new(&proxy);
    let request = folder::options(&phone, proxy.address, "fail");
    let failed = || {
        value(
            &metrics(&proxy),
            r#"kemi_callback_calls_total{callback="ksr_request_route",route="request_route",outcome="error"}"#,
        )
    };
    for _ in 0..3 {
        phone.send(&request);
        phone.reply(500);
        assert_eq!(failed(), 1.0);
    }
    assert_eq!(value(&metrics(&proxy), r#"sip_retransmissions_total{direction="received"}"#), 2.0);
    phone.send(&request.replace("CSeq: 1", "CSeq: 2"));
    phone.reply(500);
    assert_eq!(failed(), 2.0, "another request");
}

/// The other end of systemd's notification socket.
struct Manager {
    folder: Folder,
    socket: UnixDatagram,
}

impl Manager {
    fn new() -> Manager {
        let folder = Folder::new();
        let socket = UnixDatagram::bind(folder.0.join("notify.sock")).expect("a socket can be made");
        socket.set_read_timeout(Some(PATIENCE)).expect("a time-out can be set");
        Manager { folder, socket }
    }

    fn start(&self, args: &[&str], environment: &[(&str, &str)]) -> Proxy {
        let path = self.folder.path("notify.sock");
        Proxy::start_with(args, &[&[("NOTIFY_SOCKET", path.as_str())], environment].concat())
    }

    /// The next message that is not a sign of life.
    fn told(&self) -> String {
        loop {
            let message = self.receive().expect("it is told in time");
            if message != "WATCHDOG=1\n" {
                return message;
            }
        }
    }

    fn receive(&self) -> Option<String> {
        let mut buffer = [0; 4096];
        match self.socket.recv(&mut buffer) {
            Ok(length) => Some(String::from_utf8_lossy(&buffer[..length]).into_owned()),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => None,
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn systemd_is_told_of_the_start_each_reload_and_the_end() {
    let manager = Manager::new();
    let script = manager.folder.path("route.lua");
    fs::write(&script, "function ksr_request_route() end\n").expect("it can be written");
    let mut proxy = manager.start(&["--script", &script], &[]);
    assert_eq!(manager.told(), "READY=1\n");
    for text in ["function ksr_request_route() end\n", "function\n"] {
        fs::write(&script, text).expect("it can be written");
        proxy.signal("HUP");
        let reloading = manager.told();
        let (first, second) = reloading.split_once('\n').expect("two lines");
        assert_eq!(first, "RELOADING=1");
        let time = second.trim_end().strip_prefix("MONOTONIC_USEC=").and_then(|time| time.parse::<u64>().ok());
        assert!(time.is_some_and(|time| time > 0), "{reloading}");
        assert_eq!(manager.told(), "READY=1\n", "whatever came of it");
    }
    proxy.signal("TERM");
    assert_eq!(manager.told(), "STOPPING=1\n");
    assert!(proxy.wait(), "{}", proxy.log());
}

#[test]
fn systemds_watchdog_hears_nothing_while_a_worker_is_stuck() {
    let manager = Manager::new();
    let path = |name: &str| format!("{}/tests/scripts/{name}", env!("CARGO_MANIFEST_DIR"));
    let (config, script) = (path("telemetry.cfg"), path("telemetry.lua"));
    let args = ["-f", &config, "--cfgengine", "lua", "--script", &script];
    let proxy = manager.start(&args, &[("WATCHDOG_USEC", "200000")]);
    assert_eq!(manager.told(), "READY=1\n");
    assert_eq!(manager.receive().as_deref(), Some("WATCHDOG=1\n"));
    Phone::new(&proxy).options("loop");
    proxy.expect_log("not well, so systemd's watchdog is not told otherwise");
    assert!(proxy.log().contains("Stuck"), "{}", proxy.log());
    // Whatever was sent before is read; the loop goes on for more than a second.
    manager.socket.set_nonblocking(true).expect("it can be set");
    while manager.receive().is_some() {}
    assert_eq!(manager.receive(), None);
    manager.socket.set_nonblocking(false).expect("it can be set");
    assert_eq!(manager.receive().as_deref(), Some("WATCHDOG=1\n"), "it is back");
}
