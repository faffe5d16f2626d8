//! A server can be stopped, whatever its workers are at.

mod support;

use std::io::Read;
use std::time::{Duration, Instant};

use support::folder::{Folder, options, text};
use support::{Phone, Proxy};

/// Scripts whose route never ends for the user `stuck`.
const STUCK: &[(&str, &str, &str, &str)] = &[
    ("lua", "app_lua", "lua", "io.popen('sleep 600'):read('a')"),
    ("lua", "app_lua", "lua", "os.execute('sleep 600')"),
    ("python", "app_python3", "py", "time.sleep(600)"),
    ("python", "app_python3", "py", "subprocess.run(['sleep', '600'])"),
    ("python", "app_python3", "py", "threading.Lock().acquire() and deadlock.acquire()"),
];

fn folder(engine: &'static str, module: &'static str, ending: &'static str, code: &str) -> Folder {
    let folder = Folder::new(engine, module, ending);
    folder.write(&match engine {
        "lua" => format!(
            "function ksr_request_route()\n  if KSR.kx.get_ruser() == 'stuck' then KSR.info('it begins') {code} end\n\
             \x20 KSR.sl.sl_send_reply(200, 'alive')\nend\n"
        ),
        _ => format!(
            "import subprocess, threading, time\nimport KSR\ndeadlock = threading.Lock()\ndeadlock.acquire()\n\
             def ksr_request_route():\n    if KSR.kx.get_ruser() == 'stuck':\n        KSR.info('it begins')\n        {code}\n\
             \x20   KSR.sl.sl_send_reply(200, 'alive')\n"
        ),
    });
    // Without a limit, since most of this ends with the call otherwise.
    let config = "kemi.max_time_ms=0\nexit_timeout=EXIT_TIMEOUT\nloadmodule \"kemix.so\"\nloadmodule \"sl.so\"\n";
    std::fs::write(folder.path.join("proxy.cfg"), config).expect("the folder can be written");
    folder
}

/// Starts a proxy and has all of its workers stuck.
fn stuck(folder: &Folder, exit_timeout: u32) -> Proxy {
    let config = text(&folder.path.join("proxy.cfg"));
    let proxy = folder.start(&["-f", &config, "-A", &format!("EXIT_TIMEOUT={exit_timeout}")]);
    let begun = || proxy.log().matches("it begins").count();
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut phones = Vec::new();
    while begun() < 2 {
        assert!(Instant::now() < deadline, "the workers are not stuck:\n{}", proxy.log());
        let phone = Phone::new(&proxy);
        phone.send(&options(&phone, proxy.address, "stuck"));
        phones.push(phone);
        std::thread::sleep(Duration::from_millis(50));
    }
    proxy
}

/// Waits for the end, which is not one in good order.
fn expect_end(proxy: &mut Proxy, what: &str) {
    assert!(!proxy.wait(), "{what}: it left a worker behind:\n{}", proxy.log());
    assert!(proxy.log().contains("so the process ends without"), "{what}:\n{}", proxy.log());
}

#[test]
fn a_second_signal_ends_it_whatever_a_worker_does() {
    for &(engine, module, ending, code) in STUCK {
        for [first, second] in [["TERM", "TERM"], ["INT", "INT"], ["TERM", "INT"]] {
            let folder = folder(engine, module, ending, code);
            let mut proxy = stuck(&folder, 600);
            // The C library ignores SIGINT from the start of `os.execute` on; the proxy soon takes it back.
            std::thread::sleep(Duration::from_secs(2));
            proxy.signal(first);
            std::thread::sleep(Duration::from_millis(100));
            assert!(proxy.is_alive(), "it waits for its workers");
            proxy.signal(second);
            expect_end(&mut proxy, &format!("{first}, {second} at {code}"));
        }
    }
}

#[test]
fn exit_timeout_ends_it_whatever_a_worker_does() {
    for &(engine, module, ending, code) in STUCK {
        let folder = folder(engine, module, ending, code);
        let mut proxy = stuck(&folder, 1);
        proxy.signal("TERM");
        expect_end(&mut proxy, code);
    }
}

#[test]
fn a_single_sigint_ends_it_after_a_while() {
    let folder = folder("lua", "app_lua", "lua", "os.execute('sleep 600')");
    let mut proxy = stuck(&folder, 600);
    // The C library ignores SIGINT from the start of `os.execute` on; the proxy soon takes it back.
    std::thread::sleep(Duration::from_secs(2));
    proxy.signal("INT");
    expect_end(&mut proxy, "INT");
}

#[test]
fn a_sigterm_without_a_drain_ends_it_after_a_while() {
    let folder = folder("lua", "app_lua", "lua", "os.execute('sleep 600')");
    let mut proxy = stuck(&folder, 0);
    proxy.signal("TERM");
    expect_end(&mut proxy, "TERM");
}

#[test]
fn it_ends_while_a_script_is_stuck_that_is_being_loaded() {
    let folder = folder("lua", "app_lua", "lua", "");
    let config = text(&folder.path.join("proxy.cfg"));
    let mut proxy = folder.start(&["-f", &config, "-A", "EXIT_TIMEOUT=1"]);
    folder.write("KSR.x = nil\nos.execute('sleep 600')\nfunction ksr_request_route() end\n");
    proxy.signal("HUP");
    std::thread::sleep(Duration::from_millis(500));
    proxy.signal("TERM");
    expect_end(&mut proxy, "a reload");
}

#[test]
fn it_ends_while_nobody_reads_the_log() {
    let folder = folder("lua", "app_lua", "lua", "os.execute('sleep 600')");
    let config = text(&folder.path.join("proxy.cfg"));
    let (mut reader, writer) = std::io::pipe().expect("the system has a pipe");
    let mut proxy = Proxy::deaf(&folder, &["-f", &config, "-A", "EXIT_TIMEOUT=600"], writer.into(), &[]);
    let phone = Phone::new(&proxy);
    phone.send(&options(&phone, proxy.address, "stuck"));
    // Fill the pipe.
    for _ in 0..2000 {
        phone.send(&options(&phone, proxy.address, "somebody"));
    }
    std::thread::sleep(Duration::from_millis(500));
    proxy.signal("TERM");
    std::thread::sleep(Duration::from_millis(100));
    proxy.signal("TERM");
    assert!(!proxy.wait());
    let mut log = Vec::new();
    reader.read_to_end(&mut log).expect("what is in the pipe can be read");
}
