//! Clients of the RPC socket that are slow, silent or deaf, and a log that nobody reads: reload and status are answered.

mod support;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use support::folder::{Folder, options, reason, send_options, text, version};
use support::{Phone, Proxy};

const SCRIPT: &str = "function ksr_request_route()
  if KSR.kx.get_ruser() == 'talks' then KSR.err(string.rep('x', 5000)) end
  if KSR.kx.get_ruser() == 'stuck' then KSR.info('it begins') os.execute('sleep 30') end
  KSR.sl.sl_send_reply(200, 'VERSION')
end
";

fn folder() -> Folder {
    let folder = Folder::new("lua", "app_lua", "lua");
    folder.write(&version(SCRIPT, "V1"));
    folder
}

fn expect_answer(proxy: &Proxy, expected: &str) {
    let phone = Phone::new(proxy);
    send_options(&phone, proxy);
    assert_eq!(reason(&phone.receive()), expected);
}

#[test]
fn clients_that_do_not_write_or_read_block_no_reload_and_no_status() {
    let folder = folder();
    let proxy = folder.start(&[]);
    let mut clients = Vec::new();
    for number in 0..40 {
        let mut stream = UnixStream::connect(folder.socket()).expect("it listens");
        stream.set_nonblocking(true).expect("the system can");
        match number % 3 {
            0 => {}
            1 => drop(stream.write(b"{\"jsonrpc\": \"2.0\", \"id\"")),
            _ => {
                // Asks for more than it takes.
                let ask = b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"app_lua.api_list\"}\n".repeat(200);
                let _ = stream.write(&ask);
            }
        }
        clients.push(stream);
    }
    for number in 2..6 {
        folder.write(&version(SCRIPT, &format!("V{number}")));
        assert_eq!(folder.reload()["new"], number);
        folder.expect_version(number);
        expect_answer(&proxy, &format!("V{number}"));
    }
}

#[test]
fn status_and_health_are_answered_while_all_workers_are_stuck() {
    let folder = folder();
    let config = folder.path.join("proxy.cfg");
    std::fs::write(&config, "kemi.stuck_ms=300\nkemi.max_time_ms=0\nloadmodule \"kemix.so\"\nloadmodule \"sl.so\"\n")
        .expect("it can be written");
    let proxy = folder.start(&["-f", &text(&config), "--http", "0"]);
    proxy.expect_page("/health", 200);
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut phones = Vec::new();
    while proxy.log().matches("it begins").count() < 2 {
        assert!(Instant::now() < deadline, "the workers are not stuck:\n{}", proxy.log());
        let phone = Phone::new(&proxy);
        phone.send(&options(&phone, proxy.address, "stuck"));
        phones.push(phone);
        std::thread::sleep(Duration::from_millis(50));
    }
    proxy.expect_page("/health", 503);
    let status = folder.call("app_lua.list").expect("it has no reason to fail");
    assert!(status["workers"].as_array().expect("a list").iter().all(|worker| worker["doing"].is_string()), "{status}");
    assert!(folder.number("uptime") < 1000);
    let done = folder.reload();
    assert_eq!((&done["new"], &done["workers"][0]["version"]), (&2.into(), &1.into()), "{done}");
}

#[test]
fn a_reload_is_answered_while_nobody_reads_the_log() {
    let folder = folder();
    let (mut reader, writer) = std::io::pipe().expect("the system has a pipe");
    let proxy = Proxy::deaf(&folder, &[], writer.into(), &[]);
    let begin = Instant::now();
    while folder.number("log_lines_lost") == 0 {
        let phone = Phone::new(&proxy);
        for _ in 0..20 {
            phone.send(&options(&phone, proxy.address, "talks"));
            assert_eq!(reason(&phone.receive()), "V1");
        }
        assert!(begin.elapsed() < Duration::from_secs(120), "no line is lost");
    }
    for number in 2..5 {
        folder.write(&version(SCRIPT, &format!("V{number}")));
        assert_eq!(folder.reload()["new"], number);
        expect_answer(&proxy, &format!("V{number}"));
    }
    drop(proxy);
    reader.read_to_end(&mut Vec::new()).expect("what is in the pipe can be read");
}

#[test]
fn a_script_that_forks_does_not_make_a_second_proxy() {
    let folder = Folder::new("python", "app_python3", "py");
    folder.write(
        "import os, time\nimport KSR\ndef ksr_request_route():\n    child = os.fork()\n    \
         KSR.sl.sl_send_reply(200, 'child' if child == 0 else 'parent')\n    \
         if child: os.waitpid(child, 0)\n",
    );
    let proxy = folder.start(&[]);
    let phone = Phone::new(&proxy);
    for _ in 0..5 {
        send_options(&phone, &proxy);
        assert_eq!(reason(&phone.receive()), "parent");
        if let Some(other) = phone.receive_within(Duration::from_millis(100)) {
            panic!("the child has answered as well:\n{}", other.text);
        }
    }
}
