//! The phones around the proxy: they make the messages, and check and answer what comes out.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::ops::Range;
use std::time::Duration;

use sip_modules::proxy::Harness;

use crate::timing;

/// What the proxy calls itself.
pub(super) const PROXY: SocketAddr = address(5060);
const CALLER: SocketAddr = address(6001);
const CALLEE: SocketAddr = address(6002);

/// How many messages a worker's turn takes: as many as one system call receives under load.
const TURN: u64 = 32;

/// How many users register in turns.
const USERS: u64 = 10_000;

/// The messages of a call that pass the proxy, in order.
pub const STAGES: [&str; 6] = ["INVITE", "180", "200", "ACK", "BYE", "200 (BYE)"];

const SDP: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
    m=audio 40000 RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n\
    a=rtpmap:101 telephone-event/8000\r\na=sendrecv\r\n";

const fn address(port: u16) -> SocketAddr {
    SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))
}

/// The script routes in a way that the phones do not expect: the measurement would mean something else.
#[derive(Clone, Debug)]
pub struct Unexpected {
    start: &'static str,
    dest: SocketAddr,
    call_id: String,
    sent: Vec<String>,
}

impl fmt::Display for Unexpected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Unexpected { start, dest, call_id, sent } = self;
        write!(f, "no '{}' went to {dest} for {call_id}; what was sent begins with ", start.trim_end())?;
        f.debug_list().entries(sent.iter().take(3)).finish()
    }
}

impl std::error::Error for Unexpected {}

/// A caller, a callee and many registering phones around one proxy.
///
/// The times they return are the thread's CPU time within the proxy; what the phones do is not in it.
#[derive(Debug)]
pub struct Phones {
    proxy: Harness,
    next: u64,
}

impl Phones {
    /// Puts the phones around a proxy.
    #[must_use]
    pub fn new(proxy: Harness) -> Phones {
        Phones { proxy, next: 0 }
    }

    /// Makes calls and returns the time that the proxy took for each of the [`STAGES`].
    ///
    /// # Errors
    /// If the proxy does not relay a message as it should.
    pub fn calls(&mut self, count: u64) -> Result<[Duration; STAGES.len()], Unexpected> {
        let mut times = [Duration::ZERO; STAGES.len()];
        self.in_turns(count, |phones, calls| phones.turn_of_calls(calls, &mut times))?;
        Ok(times)
    }

    /// Sends OPTIONS, answered without a transaction.
    ///
    /// # Errors
    /// If one is not answered by 200.
    pub fn options(&mut self, count: u64) -> Result<Duration, Unexpected> {
        let mut time = Duration::ZERO;
        self.in_turns(count, |phones, numbers| {
            time += phones.answered(numbers, options)?;
            Ok(())
        })?;
        Ok(time)
    }

    /// Sends REGISTER, by ten thousand users in turns.
    ///
    /// # Errors
    /// If one is not answered by 200.
    pub fn registers(&mut self, count: u64) -> Result<Duration, Unexpected> {
        let mut time = Duration::ZERO;
        self.in_turns(count, |phones, numbers| {
            time += phones.answered(numbers, register)?;
            Ok(())
        })?;
        Ok(time)
    }

    /// Returns the proxy.
    #[must_use]
    pub fn proxy(&self) -> &Harness {
        &self.proxy
    }

    fn in_turns(
        &mut self,
        count: u64,
        mut turn: impl FnMut(&mut Phones, Range<u64>) -> Result<(), Unexpected>,
    ) -> Result<(), Unexpected> {
        let end = self.next + count;
        while self.next < end {
            let numbers = self.next..end.min(self.next + TURN);
            self.next = numbers.end;
            turn(self, numbers)?;
        }
        Ok(())
    }

    fn answered(&mut self, numbers: Range<u64>, request: fn(u64) -> String) -> Result<Duration, Unexpected> {
        let requests: Vec<_> = numbers.clone().map(request).collect();
        let (time, sent) = self.turn(&requests, CALLER);
        pick(&sent, CALLER, "SIP/2.0 200 ", numbers)?;
        Ok(time)
    }

    fn turn_of_calls(&mut self, calls: Range<u64>, times: &mut [Duration; STAGES.len()]) -> Result<(), Unexpected> {
        let [invite, ringing, answer, ack, bye, done] = times;
        let (time, sent) = self.turn(&calls.clone().map(self::invite).collect::<Vec<_>>(), CALLER);
        *invite += time;
        let invites = pick(&sent, CALLEE, "INVITE ", calls.clone())?;

        let replies: Vec<_> = invites.iter().map(|invite| reply(invite, "180 Ringing", "")).collect();
        let (time, sent) = self.turn(&replies, CALLEE);
        *ringing += time;
        pick(&sent, CALLER, "SIP/2.0 180 ", calls.clone())?;

        let replies: Vec<_> = invites.iter().map(|invite| reply(invite, "200 OK", SDP)).collect();
        let (time, sent) = self.turn(&replies, CALLEE);
        *answer += time;
        let answers = pick(&sent, CALLER, "SIP/2.0 200 ", calls.clone())?;

        let requests: Vec<_> = answers.iter().map(|answer| in_dialog(answer, "ACK", 1)).collect();
        let (time, sent) = self.turn(&requests, CALLER);
        *ack += time;
        pick(&sent, CALLEE, "ACK ", calls.clone())?;

        let requests: Vec<_> = answers.iter().map(|answer| in_dialog(answer, "BYE", 2)).collect();
        let (time, sent) = self.turn(&requests, CALLER);
        *bye += time;
        let byes = pick(&sent, CALLEE, "BYE ", calls.clone())?;

        let replies: Vec<_> = byes.iter().map(|bye| reply(bye, "200 OK", "")).collect();
        let (time, sent) = self.turn(&replies, CALLEE);
        *done += time;
        pick(&sent, CALLER, "SIP/2.0 200 ", calls)?;
        Ok(())
    }

    /// Hands one batch to the proxy; returns the time it took and what is to be sent.
    fn turn(&mut self, messages: &[String], source: SocketAddr) -> (Duration, Vec<(String, SocketAddr)>) {
        let time = timing::time(|| {
            for message in messages {
                self.proxy.receive(message.as_bytes(), source);
            }
            self.proxy.end_turn();
        });
        let mut sent = Vec::with_capacity(messages.len() * 2);
        self.proxy.sent(|bytes, dest| sent.push((String::from_utf8_lossy(bytes).into_owned(), dest)));
        (time, sent)
    }
}

/// Returns for each number the message that was sent for it; a retransmission may be among what was sent.
fn pick(
    sent: &[(String, SocketAddr)],
    dest: SocketAddr,
    start: &'static str,
    numbers: Range<u64>,
) -> Result<Vec<String>, Unexpected> {
    let mut candidates = sent.iter().filter(|(text, to)| *to == dest && text.starts_with(start));
    let mut found = Vec::new();
    for number in numbers {
        let id = call_id(number);
        // They come in order, but for retransmissions.
        let message = candidates.find(|(text, _)| header(text, "Call-ID") == id);
        let Some((text, _)) = message else {
            return Err(Unexpected {
                start,
                dest,
                call_id: id,
                sent: sent.iter().map(|(text, _)| first_line(text)).collect(),
            });
        };
        found.push(text.clone());
    }
    Ok(found)
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

fn call_id(number: u64) -> String {
    format!("call-{number}@127.0.0.1")
}

fn invite(number: u64) -> String {
    let (caller, callee, id) = (CALLER, CALLEE, call_id(number));
    format!(
        "INVITE sip:uas@{callee} SIP/2.0\r\nVia: SIP/2.0/UDP {caller};branch=z9hG4bKi{number:x};rport\r\n\
         Max-Forwards: 70\r\nFrom: \"load\" <sip:uac@{caller}>;tag=f{number:x}\r\nTo: <sip:uas@{callee}>\r\n\
         Call-ID: {id}\r\nCSeq: 1 INVITE\r\nContact: <sip:uac@{caller}>\r\nUser-Agent: phone\r\n\
         Allow: INVITE, ACK, BYE, CANCEL, OPTIONS\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{SDP}",
        SDP.len()
    )
}

fn options(number: u64) -> String {
    let (caller, id) = (CALLER, call_id(number));
    format!(
        "OPTIONS sip:{PROXY} SIP/2.0\r\nVia: SIP/2.0/UDP {caller};branch=z9hG4bKo{number:x};rport\r\n\
         Max-Forwards: 70\r\nFrom: <sip:load@127.0.0.1>;tag=f{number:x}\r\nTo: <sip:{PROXY}>\r\nCall-ID: {id}\r\n\
         CSeq: 1 OPTIONS\r\nUser-Agent: phone\r\nContent-Length: 0\r\n\r\n"
    )
}

fn register(number: u64) -> String {
    let (caller, id, user) = (CALLER, call_id(number), number % USERS);
    // The Call-ID is another one each time, so the CSeq may stay.
    format!(
        "REGISTER sip:{PROXY} SIP/2.0\r\nVia: SIP/2.0/UDP {caller};branch=z9hG4bKr{number:x};rport\r\n\
         Max-Forwards: 70\r\nFrom: <sip:u{user}@{PROXY}>;tag=f{number:x}\r\nTo: <sip:u{user}@{PROXY}>\r\n\
         Call-ID: {id}\r\nCSeq: 1 REGISTER\r\nContact: <sip:u{user}@{caller}>\r\nExpires: 3600\r\n\
         User-Agent: phone\r\nContent-Length: 0\r\n\r\n"
    )
}

/// The callee's reply to a request as it came from the proxy.
fn reply(request: &str, status: &str, body: &str) -> String {
    let mut text = format!("SIP/2.0 {status}\r\n");
    for name in ["Via", "Record-Route", "From", "To", "Call-ID", "CSeq"] {
        for value in headers(request, name) {
            let tag = if name == "To" && !value.contains(";tag=") { ";tag=uas" } else { "" };
            text += &format!("{name}: {value}{tag}\r\n");
        }
    }
    let content_type = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
    text += &format!("Contact: <sip:uas@{CALLEE}>\r\n{content_type}Content-Length: {}\r\n\r\n{body}", body.len());
    text
}

/// The caller's request within the dialog that a 2xx has made.
fn in_dialog(answer: &str, method: &str, number: u32) -> String {
    let branch = header(answer, "Call-ID").replace('@', "-");
    let mut text = format!(
        "{method} sip:uas@{CALLEE} SIP/2.0\r\nVia: SIP/2.0/UDP {CALLER};branch=z9hG4bK{method}{branch};rport\r\n\
         Max-Forwards: 70\r\n"
    );
    for route in headers(answer, "Record-Route") {
        text += &format!("Route: {route}\r\n");
    }
    for name in ["From", "To", "Call-ID"] {
        text += &format!("{name}: {}\r\n", header(answer, name));
    }
    text += &format!("CSeq: {number} {method}\r\nUser-Agent: phone\r\nContent-Length: 0\r\n\r\n");
    text
}

fn headers<'a>(text: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let lines = text.split("\r\n").take_while(|line| !line.is_empty());
    lines.filter_map(move |line| line.strip_prefix(name)?.strip_prefix(": "))
}

fn header<'a>(text: &'a str, name: &str) -> &'a str {
    headers(text, name).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::{ENGINES, Guards, Script, proxy};

    #[test]
    fn every_engine_routes_calls_options_and_registrations() {
        for engine in ENGINES {
            let proxy = proxy(engine, &Script::BuiltIn, Guards::default()).unwrap().unwrap();
            let mut phones = Phones::new(proxy);
            phones.calls(TURN + 1).unwrap();
            phones.options(2).unwrap();
            phones.registers(2).unwrap();
            let shared = phones.proxy().shared();
            assert_eq!(shared.location.stats("location").unwrap().contacts, 2, "{engine}");
            assert_eq!(shared.transactions.stats().created, (TURN + 1) * 2, "{engine}");
        }
    }
}
