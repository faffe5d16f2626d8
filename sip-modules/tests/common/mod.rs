//! A proxy without sockets, routed by functions in Rust, between a caller and a callee.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kemi_core::engine::NativeCallback;
use kemi_core::{NativeEngine, Program, Registry};
use sip_modules::proxy::{Cx, Harness, ProxySettings, RouteNames, Routes, Setup};

/// Where the caller is.
pub(crate) const CALLER: &str = "127.0.0.9:5090";

/// Where the callee is.
pub(crate) const CALLEE: &str = "127.0.0.8:5070";

/// The proxy, and what it has sent.
pub(crate) struct Proxy {
    pub(crate) harness: Harness,
    pub(crate) program: Arc<Program<Cx>>,
    sent: Vec<(String, SocketAddr)>,
}

impl Proxy {
    /// Starts a proxy of one worker on 127.0.0.1:5060 whose request route is the function.
    pub(crate) fn new(route: NativeCallback<Cx>) -> Proxy {
        Proxy::with(ProxySettings::default(), route, &[])
    }

    /// As [`new`](Self::new), with settings and with callbacks that the route may set by their names.
    pub(crate) fn with(
        settings: ProxySettings,
        route: NativeCallback<Cx>,
        callbacks: &[(&'static str, NativeCallback<Cx>)],
    ) -> Proxy {
        let (declared, routes) = Routes::declare(&RouteNames::default());
        let registry = Registry::builder().root("KSR").callbacks(declared).build().unwrap();
        let engine = NativeEngine::new("rust").callback("ksr_request_route", route);
        let engine = callbacks.iter().fold(engine, |engine, (name, function)| engine.callback(name, *function));
        let program = Program::open(Arc::new(engine), &registry, &[]).unwrap();
        let setup = Setup {
            listen: vec![address("127.0.0.1:5060")],
            workers: 1,
            receive_buffer: None,
            aliases: Vec::new(),
            settings,
            registry,
            routes,
            defines: BTreeMap::new(),
        };
        Proxy { harness: Harness::new(setup, &program).unwrap(), program, sent: Vec::new() }
    }

    /// Has the proxy receive a message.
    pub(crate) fn receive(&mut self, from: &str, message: &str) {
        self.harness.receive(message.as_bytes(), address(from));
        self.harness.sent(|bytes, dest| self.sent.push((String::from_utf8_lossy(bytes).into_owned(), dest)));
    }

    /// Lets time pass.
    pub(crate) fn pass(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            std::thread::sleep(Duration::from_millis(5));
            self.harness.end_turn();
        }
        self.harness.sent(|bytes, dest| self.sent.push((String::from_utf8_lossy(bytes).into_owned(), dest)));
    }

    /// The method or the status of all that the proxy has sent and nobody has taken, in order.
    pub(crate) fn order(&self) -> Vec<String> {
        self.sent.iter().map(|(message, _)| word(message).to_owned()).collect()
    }

    /// Takes what the proxy has sent to an address.
    pub(crate) fn taken(&mut self, to: &str) -> Vec<String> {
        let to = address(to);
        let (taken, rest) = std::mem::take(&mut self.sent).into_iter().partition(|(_, dest)| *dest == to);
        self.sent = rest;
        let taken: Vec<_> = taken;
        taken.into_iter().map(|(message, _)| message).collect()
    }

    /// Takes what the proxy has sent to an address: the method or the status of each message.
    pub(crate) fn words(&mut self, to: &str) -> Vec<String> {
        self.taken(to).iter().map(|message| word(message).to_owned()).collect()
    }

    /// Has the caller send a request that the route sends on to the callee, and returns it as the callee gets it.
    pub(crate) fn call(&mut self, method: &str) -> String {
        self.receive(CALLER, &request(method, ""));
        self.taken(CALLEE).pop().expect("it is relayed")
    }
}

/// The method or the status of a message.
pub(crate) fn word(message: &str) -> &str {
    let line = message.lines().next().unwrap_or_default();
    let mut words = line.split(' ');
    match words.next() {
        Some("SIP/2.0") => words.next().unwrap_or_default(),
        first => first.unwrap_or_default(),
    }
}

/// A request of the caller to the callee, with more header lines, each with its CRLF.
pub(crate) fn request(method: &str, more: &str) -> String {
    format!(
        "{method} sip:bob@{CALLEE} SIP/2.0\r\n\
         Via: SIP/2.0/UDP {CALLER};branch=z9hG4bKtest{method}\r\n\
         Max-Forwards: 70\r\n\
         From: <sip:alice@example.net>;tag=from\r\n\
         To: <sip:bob@{CALLEE}>\r\n\
         Call-ID: test-{method}\r\n\
         CSeq: 1 {method}\r\n\
         Contact: <sip:alice@{CALLER}>\r\n\
         {more}Content-Length: 0\r\n\r\n"
    )
}

/// The ACK or CANCEL of a request: of the same hop, with the To of a reply to it if there is one.
pub(crate) fn hop_request(method: &str, request: &str, reply: Option<&str>, more: &str) -> String {
    let (first, _) = request.split_once("\r\n").unwrap();
    let uri = first.split(' ').nth(1).unwrap();
    let via = line(request, "Via");
    let to = line(reply.unwrap_or(request), "To");
    let (from, call_id) = (line(request, "From"), line(request, "Call-ID"));
    let number = line(request, "CSeq").split(' ').nth(1).unwrap().to_owned();
    format!(
        "{method} {uri} SIP/2.0\r\n{via}\r\nMax-Forwards: 70\r\n{from}\r\n{to}\r\n{call_id}\r\n\
         CSeq: {number} {method}\r\n{more}Content-Length: 0\r\n\r\n"
    )
}

/// The callee's reply to a request as it has got it.
pub(crate) fn reply(request: &str, status: &str) -> String {
    reply_with(request, status, usize::MAX, None)
}

/// As [`reply`], with at most so many Via lines and another method in its CSeq.
pub(crate) fn reply_with(request: &str, status: &str, vias: usize, method: Option<&str>) -> String {
    let vias: Vec<_> = request.lines().filter(|line| line.starts_with("Via:")).take(vias).collect();
    let to = line(request, "To");
    let tag = if to.contains(";tag=") || status.starts_with("100") { "" } else { ";tag=callee" };
    let cseq = match method {
        Some(method) => format!("CSeq: 1 {method}"),
        None => line(request, "CSeq").to_owned(),
    };
    format!(
        "SIP/2.0 {status}\r\n{}\r\n{}\r\n{to}{tag}\r\n{}\r\n{cseq}\r\nContact: <sip:bob@{CALLEE}>\r\nContent-Length: 0\r\n\r\n",
        vias.join("\r\n"),
        line(request, "From"),
        line(request, "Call-ID")
    )
}

/// The first line of a header.
pub(crate) fn line<'m>(message: &'m str, name: &str) -> &'m str {
    let of = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(':'));
    message.lines().find(of).unwrap_or_else(|| panic!("no {name} in {message}"))
}

/// Whether a message has such a header.
pub(crate) fn has(message: &str, name: &str) -> bool {
    message.lines().any(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(':')))
}

pub(crate) fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}
