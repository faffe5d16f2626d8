//! A proxy process and SIP peers for the tests, all on 127.0.0.1 with ports that the system picks.
#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test file uses its own part")]

/// Makes a test of each function for each of the constants `LUA`, `RHAI`, `PYTHON` and `JS`.
#[allow(unused_macros, reason = "each test file uses its own part")]
macro_rules! for_each_language {
    ($($test:ident)*) => {
        for_each_language! { @ lua LUA $($test)* }
        for_each_language! { @ rhai RHAI $($test)* }
        for_each_language! { @ python PYTHON $($test)* }
        for_each_language! { @ js JS $($test)* }
    };
    (@ $module:ident $language:ident $($test:ident)*) => {
        mod $module {
            $(#[test] fn $test() { super::$test(&super::$language); })*
        }
    };
}

pub mod folder;
pub mod isolated;
pub mod route;

use std::cell::RefCell;
use std::collections::HashSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Longer than any answer takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// Two workers, a port that the system picks, debug output.
pub const STANDARD: [&str; 7] = ["-E", "-d", "-d", "-l", "udp:127.0.0.1:0", "--workers", "2"];

/// A running `sip-proxy`; ended when dropped.
#[derive(Debug)]
pub struct Proxy {
    child: Child,
    pub address: SocketAddr,
    log: Arc<Mutex<String>>,
}

impl Proxy {
    /// Starts a proxy with two workers and debug output.
    pub fn start(args: &[&str]) -> Proxy {
        Proxy::start_with(args, &[])
    }

    /// Starts a proxy with environment variables of its own.
    pub fn start_with(args: &[&str], environment: &[(&str, &str)]) -> Proxy {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sip-proxy"));
        command.args(STANDARD).args(args).envs(environment.iter().copied());
        Proxy::spawn(command)
    }

    /// Starts a proxy by a command that has its arguments.
    pub fn spawn(mut command: Command) -> Proxy {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the proxy starts");
        let log = Arc::new(Mutex::new(String::new()));
        let (found, address) = std::sync::mpsc::channel();
        let stderr = BufReader::new(child.stderr.take().expect("stderr is piped"));
        let sink = log.clone();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                if let Some((_, rest)) = line.split_once("listening on udp:")
                    && let Some(address) = rest.split(',').next().and_then(|a| a.parse().ok())
                {
                    let _ = found.send(address);
                }
                let mut log = sink.lock().expect("no reader panics with the lock");
                log.push_str(&line);
                log.push('\n');
            }
        });
        let address = address.recv_timeout(Duration::from_secs(60)).unwrap_or_else(|_| {
            panic!("the proxy does not listen; its log:\n{}", log.lock().expect("no writer panics"))
        });
        Proxy { child, address, log }
    }

    /// Starts a proxy whose log goes somewhere else than into the test, with a folder's script and RPC socket.
    pub fn deaf(folder: &folder::Folder, more: &[&str], log: Stdio, environment: &[(&str, &str)]) -> Proxy {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sip-proxy"));
        command.args(STANDARD).args(folder.arguments()).args(more).envs(environment.iter().copied());
        Proxy::deaf_by(command, folder, log)
    }

    /// Starts one by a command that has its arguments; its standard output is the log's, too.
    pub fn deaf_by(mut command: Command, folder: &folder::Folder, log: Stdio) -> Proxy {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().expect("the proxy starts");
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut proxy = Proxy { child, address: ([0, 0, 0, 0], 0).into(), log: Arc::default() };
        loop {
            if let Some(address) = folder.address() {
                proxy.address = address;
                return proxy;
            }
            let ended = proxy.child.try_wait().expect("the child can be waited for");
            assert!(ended.is_none(), "the proxy has ended: {ended:?}");
            assert!(Instant::now() < deadline, "the proxy does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Starts a proxy with the built-in script of an engine.
    pub fn basic(engine: &str) -> Proxy {
        Proxy::start(&["--cfgengine", engine])
    }

    /// Starts a proxy with one of the scripts in `tests/scripts`.
    pub fn with_script(engine: &str, script: &str) -> Proxy {
        let path = format!("{}/tests/scripts/{script}", env!("CARGO_MANIFEST_DIR"));
        Proxy::start(&["--cfgengine", engine, "--script", &path])
    }

    /// Waits until the log has a text.
    pub fn expect_log(&self, text: &str) {
        self.expect_log_after(0, text);
    }

    /// Waits until the log has a text behind a position.
    pub fn expect_log_after(&self, position: usize, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.log().get(position..).is_some_and(|log| log.contains(text)) {
            assert!(Instant::now() < deadline, "no '{text}' in the log:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Returns the log so far.
    pub fn log(&self) -> String {
        self.log.lock().expect("no writer panics").clone()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal, by its name without SIG.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.pid().to_string()]).status();
        assert!(status.expect("kill can be run").success());
    }

    /// Asks the HTTP port of a proxy that was started with `--http 0`; returns the answer's status, head and body.
    pub fn http(&self, path: &str) -> Option<(u16, String, String)> {
        let log = self.log();
        let (_, rest) = log.split_once("answering HTTP on ")?;
        let mut stream = TcpStream::connect(rest.lines().next()?).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: proxy\r\n\r\n").as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, head.to_owned(), body.to_owned()))
    }

    /// Waits until a page is answered with a status, and returns its body.
    pub fn expect_page(&self, path: &str, status: u16) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = self.http(path);
            match answer {
                Some((got, _, body)) if got == status => return body,
                _ => assert!(Instant::now() < deadline, "no {status} from {path} but {answer:?}:\n{}", self.log()),
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Returns whether the process still runs.
    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().expect("the child can be waited for").is_none()
    }

    /// Waits for the process to end; returns whether it ended by itself with success.
    pub fn wait(&mut self) -> bool {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("the child can be waited for") {
                return status.success();
            }
            assert!(Instant::now() < deadline, "the proxy does not end:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- log of the proxy\n{}", self.log());
        }
    }
}

/// The value of a metric, by its name with its labels.
pub fn value(metrics: &str, name: &str) -> f64 {
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name} in:\n{metrics}"))
}

/// A SIP phone: one UDP socket.
#[derive(Debug)]
pub struct Phone {
    socket: UdpSocket,
    pub address: SocketAddr,
    proxy: SocketAddr,
    /// What has come so far.
    seen: RefCell<HashSet<String>>,
    /// What has come before a request that was sent before it.
    ahead: RefCell<Option<Received>>,
}

/// A received message.
#[derive(Clone, Debug)]
pub struct Received {
    pub text: String,
    pub source: SocketAddr,
    /// Whether it came before: a retransmission, as there are some on a busy machine.
    pub again: bool,
}

static NEXT: AtomicU32 = AtomicU32::new(1);

/// A number that no other call of the tests has.
pub fn unique() -> u32 {
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl Phone {
    pub fn new(proxy: &Proxy) -> Phone {
        Phone::at("127.0.0.1:0", proxy.address)
    }

    /// A phone at an address of its own, which knows the proxy by one of its addresses.
    pub fn at(address: &str, proxy: SocketAddr) -> Phone {
        let socket = UdpSocket::bind(address).expect("a port is free");
        socket.set_read_timeout(Some(PATIENCE)).expect("a time-out can be set");
        let address = socket.local_addr().expect("the socket is bound");
        Phone { socket, address, proxy, seen: RefCell::default(), ahead: RefCell::default() }
    }

    /// Sends a message to the proxy; lines may end in LF.
    pub fn send(&self, text: &str) {
        let text = text.replace("\r\n", "\n").replace('\n', "\r\n");
        self.socket.send_to(text.as_bytes(), self.proxy).expect("loopback takes it");
    }

    /// What comes until nothing has come for a while.
    pub fn rest(&self, quiet: Duration) -> Vec<Received> {
        std::iter::from_fn(|| self.receive_within(quiet)).collect()
    }

    /// Receives the next message.
    pub fn receive(&self) -> Received {
        self.receive_within(PATIENCE).unwrap_or_else(|| panic!("nothing came to {}", self.address))
    }

    /// Receives the next message, if one comes in time.
    pub fn receive_within(&self, time: Duration) -> Option<Received> {
        if let Some(received) = self.ahead.take() {
            return Some(received);
        }
        let mut buffer = vec![0; 65_536];
        self.socket.set_read_timeout(Some(time)).expect("a time-out can be set");
        let (length, source) = self.socket.recv_from(&mut buffer).ok()?;
        let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
        let again = !self.seen.borrow_mut().insert(text.clone());
        Some(Received { text, source, again })
    }

    /// Receives the next request and checks its method; retransmissions of others are skipped.
    ///
    /// One message of another kind may come before it and is then received next: a datagram overtakes another on the loopback
    /// network, too, when the sender changes its processor between them.
    pub fn request(&self, method: &str) -> Received {
        let mut ahead: Option<Received> = None;
        loop {
            let received = self.receive_within(PATIENCE).unwrap_or_else(|| match &ahead {
                Some(ahead) => panic!("expected {method}, got:\n{}", ahead.text),
                None => panic!("no {method} came to {}", self.address),
            });
            if received.text.starts_with(&format!("{method} ")) {
                self.ahead.replace(ahead);
                return received;
            }
            if received.again {
                continue;
            }
            if let Some(ahead) = ahead.replace(received) {
                panic!("expected {method}, got:\n{}", ahead.text);
            }
        }
    }

    /// Receives replies until one with this status comes; provisional ones before it and retransmissions are skipped.
    pub fn reply(&self, status: u16) -> Received {
        loop {
            let received = self.receive();
            let got = received.status().unwrap_or_else(|| panic!("expected a {status}, got:\n{}", received.text));
            if got == status {
                return received;
            }
            assert!(got < 200 || received.again, "expected a {status}, got:\n{}", received.text);
        }
    }

    /// Receives the next final reply, whatever it says; retransmissions of others are skipped.
    pub fn receive_final(&self) -> Received {
        loop {
            let received = self.receive();
            if !received.again && received.status().is_some_and(|status| status >= 200) {
                return received;
            }
        }
    }

    /// Answers a request, with the headers that a dialog needs.
    pub fn answer(&self, request: &Received, status: u16, reason: &str) {
        let text = self.answer_to(request, status, reason).replace('\n', "\r\n");
        self.socket.send_to(text.as_bytes(), request.source).expect("loopback takes it");
    }

    /// The text of such an answer.
    pub fn answer_to(&self, request: &Received, status: u16, reason: &str) -> String {
        let copied = ["Via", "Record-Route", "From", "Call-ID", "CSeq"];
        let mut text = format!("SIP/2.0 {status} {reason}\n");
        for name in copied {
            for value in request.headers(name) {
                text.push_str(&format!("{name}: {value}\n"));
            }
        }
        let to = request.header("To");
        let tag =
            if to.contains("tag=") || status == 100 { String::new() } else { format!(";tag=t{}", self.address.port()) };
        text.push_str(&format!("To: {to}{tag}\nContact: <sip:phone@{}>\nContent-Length: 0\n\n", self.address));
        text
    }

    /// The BYE of whoever has answered an INVITE as [`answer`](Self::answer) does, along the recorded route.
    pub fn bye_of_callee(&self, invite: &Received) -> String {
        let (id, me) = (unique(), self.address);
        let contact = invite.header("Contact");
        let routes: String = invite.headers("Record-Route").iter().map(|route| format!("Route: {route}\n")).collect();
        format!(
            "BYE {uri} SIP/2.0\n\
             Via: SIP/2.0/UDP {me};branch=z9hG4bKback{id};rport\n\
             Max-Forwards: 70\n\
             {routes}\
             From: {from};tag=t{port}\n\
             To: {to}\n\
             Call-ID: {call}\n\
             CSeq: 1 BYE\n\
             Content-Length: 0\n\n",
            uri = contact.trim_start_matches('<').trim_end_matches('>'),
            from = invite.header("To"),
            port = me.port(),
            to = invite.header("From"),
            call = invite.header("Call-ID"),
        )
    }

    /// Asks a user of the proxy for its abilities, outside of any dialog.
    pub fn options(&self, user: &str) {
        self.send(&folder::options(self, self.proxy, user));
    }

    /// Registers an address of record at the proxy.
    pub fn register(&self, user: &str) -> Received {
        self.register_as(user, &format!("<sip:{user}@{}>", self.address), "");
        self.reply(200)
    }

    /// Sends a REGISTER of a contact, with more header lines.
    pub fn register_as(&self, user: &str, contact: &str, lines: &str) {
        let id = unique();
        self.send(&format!(
            "REGISTER sip:{proxy} SIP/2.0\n\
             Via: SIP/2.0/UDP {me};branch=z9hG4bKreg{id};rport\n\
             Max-Forwards: 70\n\
             From: <sip:{user}@{proxy}>;tag=r{id}\n\
             To: <sip:{user}@{proxy}>\n\
             Call-ID: reg-{id}\n\
             CSeq: 1 REGISTER\n\
             Contact: {contact}\n\
             Expires: 600\n\
             {lines}\
             Content-Length: 0\n\n",
            proxy = self.proxy,
            me = self.address
        ));
    }

    /// Begins a call to a URI.
    pub fn invite(&self, uri: &str) -> Call {
        self.invite_with(uri, "")
    }

    /// Begins a call all of whose requests have more header lines.
    pub fn invite_with(&self, uri: &str, lines: &str) -> Call {
        let call = Call { id: unique(), uri: uri.to_owned(), lines: lines.to_owned() };
        self.send(&call.invite(self));
        call
    }

    /// Sends a MESSAGE with more header lines.
    pub fn message(&self, uri: &str, lines: &str) {
        let call = Call { id: unique(), uri: uri.to_owned(), lines: lines.to_owned() };
        self.send(&call.request(self, "MESSAGE", uri, "msg", "", "", 1));
    }
}

/// A call as its caller knows it.
#[derive(Debug)]
pub struct Call {
    id: u32,
    uri: String,
    /// What its requests have beside the headers that each of them needs.
    lines: String,
}

impl Call {
    /// The INVITE, the same each time: sending it again is a retransmission.
    pub fn invite(&self, caller: &Phone) -> String {
        self.request(caller, "INVITE", &self.uri, "inv", "", "", 1)
    }

    /// The CANCEL of the INVITE.
    pub fn cancel(&self, caller: &Phone) -> String {
        self.request(caller, "CANCEL", &self.uri, "inv", "", "", 1)
    }

    /// The CANCEL of the INVITE, with more header lines.
    pub fn cancel_with(&self, caller: &Phone, lines: &str) -> String {
        self.request(caller, "CANCEL", &self.uri, "inv", "", lines, 1)
    }

    /// The ACK for a final reply of 300 or more: part of the INVITE's transaction.
    pub fn ack_failure(&self, caller: &Phone, reply: &Received) -> String {
        self.request(caller, "ACK", &self.uri, "inv", &tag_of(reply), "", 1)
    }

    /// The ACK for a 2xx: a request of its own, along the recorded route.
    pub fn ack(&self, caller: &Phone, reply: &Received) -> String {
        self.within(caller, "ACK", "ack", 1, reply)
    }

    /// The ACK for a 2xx to another URI than its Contact, which the answer of a script does not have.
    pub fn ack_to(&self, caller: &Phone, reply: &Received, uri: &str) -> String {
        self.request(caller, "ACK", uri, "ack", &tag_of(reply), "", 1)
    }

    /// A second INVITE in the dialog that a 200 has made, along the recorded route.
    pub fn reinvite(&self, caller: &Phone, reply: &Received) -> String {
        self.within(caller, "INVITE", "again", 2, reply)
    }

    /// The ACK for its refusal: part of its transaction, with its route.
    pub fn ack_refused_reinvite(&self, caller: &Phone, reply: &Received) -> String {
        self.within(caller, "ACK", "again", 2, reply)
    }

    /// The BYE, along the recorded route.
    pub fn bye(&self, caller: &Phone, reply: &Received) -> String {
        self.within(caller, "BYE", "bye", 2, reply)
    }

    fn within(&self, caller: &Phone, method: &str, branch: &str, number: u32, reply: &Received) -> String {
        let contact = reply.header("Contact");
        let uri = contact.trim_start_matches('<').split('>').next().unwrap_or_default();
        let mut routes: Vec<String> = reply.headers("Record-Route");
        routes.reverse();
        let routes: String = routes.iter().map(|route| format!("Route: {route}\n")).collect();
        self.request(caller, method, uri, branch, &tag_of(reply), &routes, number)
    }

    #[allow(clippy::too_many_arguments, reason = "each is one line of the message")]
    fn request(
        &self,
        caller: &Phone,
        method: &str,
        uri: &str,
        branch: &str,
        to_tag: &str,
        routes: &str,
        number: u32,
    ) -> String {
        let (id, me, target, lines) = (self.id, caller.address, &self.uri, &self.lines);
        format!(
            "{method} {uri} SIP/2.0\n\
             Via: SIP/2.0/UDP {me};branch=z9hG4bK{branch}{id};rport\n\
             Max-Forwards: 70\n\
             {routes}\
             From: \"caller\" <sip:caller@{me}>;tag=f{id}\n\
             To: <{target}>{to_tag}\n\
             Call-ID: call-{id}\n\
             CSeq: {number} {method}\n\
             Contact: <sip:caller@{me}>\n\
             User-Agent: test\n\
             {lines}\
             Content-Length: 0\n\n"
        )
    }
}

fn tag_of(reply: &Received) -> String {
    let to = reply.header("To");
    to.split_once(";tag=").map(|(_, tag)| format!(";tag={tag}")).unwrap_or_default()
}

impl Received {
    pub fn status(&self) -> Option<u16> {
        self.text.strip_prefix("SIP/2.0 ")?.get(..3)?.parse().ok()
    }

    /// The Request-URI.
    pub fn uri(&self) -> &str {
        self.text.split(' ').nth(1).unwrap_or_default()
    }

    pub fn headers(&self, name: &str) -> Vec<String> {
        let lines = self.text.split("\r\n").skip(1).take_while(|line| !line.is_empty());
        let pairs = lines.filter_map(|line| line.split_once(':'));
        pairs.filter(|(n, _)| n.trim().eq_ignore_ascii_case(name)).map(|(_, v)| v.trim().to_owned()).collect()
    }

    pub fn header(&self, name: &str) -> String {
        self.headers(name).into_iter().next().unwrap_or_else(|| panic!("no {name} in:\n{}", self.text))
    }
}

/// Runs a test once for each engine, as a test of its own.
#[macro_export]
macro_rules! for_each_engine {
    ($($test:ident)*) => {
        $crate::for_each_engine! { @ "lua" lua $($test)* }
        $crate::for_each_engine! { @ "rhai" rhai $($test)* }
        $crate::for_each_engine! { @ "python" python $($test)* }
        $crate::for_each_engine! { @ "js" js $($test)* }
        $crate::for_each_engine! { @ "rust" rust $($test)* }
    };
    (@ $name:literal $module:ident $($test:ident)*) => {
        mod $module {
            $(#[test] fn $test() { super::$test($name); })*
        }
    };
}
