//! What a black-box test of the proxy shows: `proxy MODE [ARGUMENT]`. SIP_PROXY names the binary, built from the code at d55f506.
//!
//! signal NAME, raw lua|python, full, forged, fifo LANGUAGE, clients, fork, execute, load

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::net::UdpSocket;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio, exit};
use std::time::{Duration, Instant};

/// A proxy in a folder of its own.
struct Proxy {
    child: Child,
    folder: PathBuf,
    port: u16,
}

const LUA: &str = "function ksr_request_route() KSR.sl.sl_send_reply(200, 'OK') end";

impl Proxy {
    fn start(engine: &str, script: &str, log: Stdio) -> Proxy {
        let folder = std::env::temp_dir().join(format!("soundness-proxy-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        fs::write(folder.join("route"), script).expect("a script");
        let port = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port").port();
        let binary = std::env::var("SIP_PROXY").unwrap_or_else(|_| "target/d55f506/target/debug/sip-proxy".to_owned());
        let listen = format!("udp:127.0.0.1:{port}");
        let mut command = Command::new(binary);
        command.args(["-l", &listen, "--workers", "2", "--cfgengine", engine, "--script"]).arg(folder.join("route"));
        command.arg("--rpc").arg(folder.join("rpc")).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let mut proxy = Proxy { child: command.spawn().expect("SIP_PROXY names the binary"), folder, port };
        let begin = Instant::now();
        while proxy.ask("x", "x").is_none() {
            if let Some(status) = proxy.child.try_wait().expect("a child") {
                proxy.end(&format!("DOES NOT START: {status}"));
            }
            if begin.elapsed() > Duration::from_secs(20) {
                proxy.end("HANGS: it does not start");
            }
        }
        proxy
    }

    /// Asks for a user; returns how many replies come within a second, `None` if none does.
    fn ask(&self, user: &str, agent: &str) -> Option<usize> {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
        socket.set_read_timeout(Some(Duration::from_secs(1))).expect("a time-out");
        let (me, port) = (socket.local_addr().expect("an address"), self.port);
        let id = Instant::now().elapsed().as_nanos() + u128::from(me.port());
        let text = format!(
            "OPTIONS sip:{user}@127.0.0.1:{port} SIP/2.0\r\nVia: SIP/2.0/UDP {me};branch=z9hG4bK{id};rport\r\nMax-Forwards: 70\r\n\
             From: <sip:a@b>;tag={id}\r\nTo: <sip:{user}@b>\r\nCall-ID: {id}\r\nCSeq: 1 OPTIONS\r\nUser-Agent: {agent}\r\nContent-Length: 0\r\n\r\n"
        );
        socket.send_to(text.as_bytes(), ("127.0.0.1", port)).expect("loopback takes it");
        socket.recv(&mut [0; 4096]).ok()?;
        socket.set_read_timeout(Some(Duration::from_millis(300))).expect("a time-out");
        Some(1 + std::iter::from_fn(|| socket.recv(&mut [0; 4096]).ok()).count())
    }

    /// Calls a method; `None` if no answer comes in time.
    fn call(&self, method: &str) -> Option<String> {
        let mut stream = UnixStream::connect(self.folder.join("rpc")).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(25))).expect("a time-out");
        let request = format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"{method}\"}}\n");
        // Who refuses does not read.
        let _ = stream.write_all(request.as_bytes());
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer).ok().filter(|&length| length > 0)?;
        Some(answer)
    }

    fn signal(&self, name: &str) {
        let done = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(done.expect("kill can be run").success());
    }

    /// Ends the process and says what was seen.
    fn end(&mut self, last: &str) -> ! {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
        println!("{last}");
        exit(i32::from(!last.starts_with("sound")));
    }
}

fn pipe() -> (std::io::PipeReader, Stdio) {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    (reader, writer.into())
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let argument = arguments.get(1).map(String::as_str);
    match (arguments.first().map(String::as_str).unwrap_or_default(), argument) {
        ("signal", Some(name)) => {
            let mut proxy = Proxy::start("lua", LUA, Stdio::null());
            proxy.signal(name);
            std::thread::sleep(Duration::from_millis(500));
            match proxy.child.try_wait().expect("a child") {
                Some(status) => proxy.end(&format!("ENDS: {status}")),
                None => proxy.end("sound: it goes on"),
            }
        }
        ("raw", Some(engine)) => {
            let script = match engine {
                "lua" => {
                    "function ksr_request_route() io.stderr:write(string.rep('x', 500), '\\n') KSR.sl.sl_send_reply(200, 'OK') end"
                }
                _ => {
                    "import sys\nimport KSR\ndef ksr_request_route():\n    print(500 * 'x', file=sys.stderr)\n    KSR.sl.sl_send_reply(200, 'OK')\n"
                }
            };
            let (_reader, writer) = pipe();
            let mut proxy = Proxy::start(engine, script, writer);
            for number in 1..200 {
                if proxy.ask("x", "x").is_none() {
                    proxy.end(&format!("HANGS: no answer to request {number}, since nobody reads the standard error"));
                }
            }
            proxy.end("sound: all are answered");
        }
        ("full", _) => {
            let full = File::options().write(true).open("/dev/full").expect("Linux has it");
            Proxy::start("lua", LUA, full.into()).end("sound: it starts");
        }
        ("forged", _) => {
            let script = "function ksr_request_route() KSR.err(KSR.pv.gete('$ua')) KSR.sl.sl_send_reply(200, 'OK') end";
            let path = std::env::temp_dir().join(format!("soundness-log-{}", std::process::id()));
            let mut proxy = Proxy::start("lua", script, File::create(&path).expect("a file").into());
            proxy.ask("x", "y\r\n FORGED ERROR");
            std::thread::sleep(Duration::from_millis(300));
            let log = fs::read_to_string(&path).expect("text");
            let _ = fs::remove_file(path);
            match log.lines().find(|line| line.starts_with(" FORGED")) {
                Some(line) => {
                    proxy.end(&format!("WRONG: the network has written a line of its own into the log: {line:?}"))
                }
                None => proxy.end("sound: one event, one line"),
            }
        }
        ("fifo", _) => {
            let mut proxy = Proxy::start("lua", LUA, Stdio::null());
            let script = proxy.folder.join("route");
            fs::remove_file(&script).expect("it is there");
            assert!(Command::new("mkfifo").arg(&script).status().expect("mkfifo can be run").success());
            match proxy.call("app_lua.reload") {
                Some(answer) => proxy.end(&format!("sound: {}", answer.trim())),
                None => proxy.end("HANGS: no answer to a reload of a script that is a pipe"),
            }
        }
        ("clients", _) => {
            let mut proxy = Proxy::start("lua", LUA, Stdio::null());
            let connect = |_| UnixStream::connect(proxy.folder.join("rpc")).expect("it listens");
            let _open: Vec<_> = (0..16).map(connect).collect();
            std::thread::sleep(Duration::from_millis(300));
            let answer = proxy.call("app_lua.reload").unwrap_or_else(|| "nothing".to_owned());
            let sound = answer.contains("\"result\"");
            proxy.end(&format!("{}: {}", if sound { "sound" } else { "REFUSED" }, answer.trim()));
        }
        ("fork", _) => {
            let script =
                "import os\nimport KSR\ndef ksr_request_route():\n    os.fork()\n    KSR.sl.sl_send_reply(200, 'OK')\n";
            let mut proxy = Proxy::start("python", script, Stdio::null());
            let replies = (0..5).filter_map(|_| proxy.ask("x", "x")).max().unwrap_or_default();
            // Those that the script has made; they have its folder in their command line, as the proxy has.
            let children = children_of(&proxy.folder);
            children.iter().for_each(|child| drop(Command::new("kill").args(["-KILL", child]).status()));
            let children = children.len();
            if replies > 1 || children > 1 {
                proxy.end(&format!(
                    "WRONG: {replies} replies to one request, and {children} processes are proxies on one socket"
                ));
            }
            proxy.end("sound: one reply");
        }
        ("execute", _) => {
            let script = "function ksr_request_route() if KSR.kx.get_ruser() == 's' then os.execute('exec sleep 60') end KSR.sl.sl_send_reply(200, 'OK') end";
            let mut proxy = Proxy::start("lua", script, Stdio::null());
            proxy.ask("s", "x");
            proxy.signal("INT");
            proxy.signal("INT");
            wait_for_end(&mut proxy, "two SIGINT");
        }
        ("load", _) => {
            let mut proxy = Proxy::start("lua", LUA, Stdio::null());
            fs::write(proxy.folder.join("route"), format!("os.execute('exec sleep 60')\n{LUA}")).expect("a script");
            proxy.signal("HUP");
            std::thread::sleep(Duration::from_millis(500));
            proxy.signal("TERM");
            proxy.signal("TERM");
            wait_for_end(&mut proxy, "two SIGTERM while a script is loaded");
        }
        (mode, _) => panic!("no such mode: {mode}"),
    }
}

fn wait_for_end(proxy: &mut Proxy, what: &str) -> ! {
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(15) {
        if let Some(status) = proxy.child.try_wait().expect("a child") {
            proxy.end(&format!("sound: {status}"));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    proxy.end(&format!("HANGS: still there 15 s after {what}"));
}

/// The processes whose command line has the folder.
fn children_of(folder: &Path) -> Vec<String> {
    let name = folder.display().to_string();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let of_it = processes.filter(|process| {
        fs::read(process.path().join("cmdline")).is_ok_and(|line| String::from_utf8_lossy(&line).contains(&name))
    });
    of_it
        .filter_map(|process| process.file_name().into_string().ok())
        .filter(|name| name.bytes().all(|b| b.is_ascii_digit()))
        .collect()
}
