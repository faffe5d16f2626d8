//! One connection: finds the requests in what is received and answers them.

use std::io::{ErrorKind, Read, Result, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Deserializer, Value};

use crate::rpc::message::{answer, failure};
use crate::rpc::{MAX_REQUEST, Methods, RpcError};

/// How long a connection waits for its client.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// For the next request.
    pub(super) idle: Duration,
    /// For the rest of a request that has begun.
    pub(super) arrival: Duration,
    /// For a client that does not read.
    pub(super) write: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Patience { idle: Duration::from_secs(60), arrival: Duration::from_secs(10), write: Duration::from_secs(10) }
    }
}

/// What a connection is at, for who must choose one to close.
#[derive(Debug, Default)]
pub(super) struct Activity {
    /// A method runs for it; else it waits for its client.
    working: AtomicBool,
    /// When it was last asked for something, by the number of requests up to then.
    last: AtomicU64,
}

impl Activity {
    /// Returns the number of the last request of a connection that waits for its client.
    pub(super) fn waiting_since(&self) -> Option<u64> {
        (!self.working.load(Ordering::Acquire)).then(|| self.last.load(Ordering::Relaxed))
    }

    /// Notes that its client was there.
    pub(super) fn ask(&self, number: u64) {
        self.last.store(number, Ordering::Relaxed);
    }

    /// Notes that the connection works from now on.
    pub(super) fn begin(&self, number: u64) {
        self.ask(number);
        self.working.store(true, Ordering::Release);
    }

    /// Notes that it waits for its client.
    pub(super) fn end(&self) {
        self.working.store(false, Ordering::Release);
    }
}

/// Answers requests until the client has no more, takes too long, or sends too much. `work` calls what it is given, which
/// is where the methods run.
pub(super) fn serve(
    mut stream: &UnixStream,
    methods: &Methods,
    patience: Patience,
    work: impl Fn(&mut dyn FnMut()),
) -> Result<()> {
    stream.set_write_timeout(Some(patience.write))?;
    let mut received = Received::default();
    let mut chunk = vec![0; 64 << 10];
    let mut begun: Option<Instant> = None;
    loop {
        while let Some(found) = received.next() {
            let response = match found {
                Ok(request) => {
                    let (mut request, mut answered) = (Some(request), None);
                    work(&mut || answered = request.take().and_then(|request| answer(methods, request)));
                    answered
                }
                Err(error) => Some(failure(Value::Null, &error)),
            };
            if let Some(response) = response {
                send(stream, &response)?;
            }
            // What follows it has just begun.
            begun = Some(Instant::now());
        }
        if received.pending() > MAX_REQUEST {
            let message = format!("a request longer than {MAX_REQUEST} bytes");
            return refuse(stream, RpcError::INVALID_REQUEST, message);
        }
        if received.pending() == 0 {
            begun = None;
        }
        let time = begun.map_or(patience.idle, |begun| patience.arrival.saturating_sub(begun.elapsed()));
        if time.is_zero() {
            return refuse(stream, RpcError::PARSE, format!("the request did not end within {:?}", patience.arrival));
        }
        stream.set_read_timeout(Some(time))?;
        match stream.read(&mut chunk) {
            Ok(0) if received.pending() == 0 => return Ok(()),
            Ok(0) => return refuse(stream, RpcError::PARSE, "the connection ended within a request".to_owned()),
            Ok(length) => {
                received.take(chunk.get(..length).unwrap_or_default());
                begun = begun.or_else(|| Some(Instant::now()));
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // The next turn says that time is up, unless the connection was merely idle.
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                if begun.is_none() {
                    return Ok(());
                }
            }
            Err(error) => return Err(error),
        }
    }
}

/// Says why no further request is read.
pub(super) fn refuse(stream: &UnixStream, code: i64, message: String) -> Result<()> {
    send(stream, &failure(Value::Null, &RpcError::new(code, message)))
}

fn send(mut stream: &UnixStream, response: &Value) -> Result<()> {
    let mut line = response.to_string();
    line.push('\n');
    stream.write_all(line.as_bytes())
}

/// What has been received and not yet answered.
#[derive(Default)]
pub(super) struct Received {
    bytes: Vec<u8>,
    /// Where the first request that is not answered begins.
    at: usize,
    /// The rest of the line belongs to something that is not JSON.
    skipping: bool,
}

impl Received {
    pub(super) fn take(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.at);
        self.at = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// How many bytes belong to a request that is not complete.
    pub(super) fn pending(&self) -> usize {
        self.rest().len()
    }

    fn rest(&self) -> &[u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// Returns the next complete request; what is not JSON is an error, and is skipped to the end of its line.
    pub(super) fn next(&mut self) -> Option<std::result::Result<Value, RpcError>> {
        if self.skipping {
            match self.rest().iter().position(|&byte| byte == b'\n') {
                Some(end) => {
                    self.at += end + 1;
                    self.skipping = false;
                }
                None => {
                    self.at = self.bytes.len();
                    return None;
                }
            }
        }
        let blank = self.rest().iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        self.at += blank;
        let mut values = Deserializer::from_slice(self.rest()).into_iter::<Value>();
        match values.next()? {
            Ok(value) => {
                self.at += values.byte_offset();
                Some(Ok(value))
            }
            Err(error) if error.is_eof() => None,
            Err(error) => {
                let mut ends = self.rest().iter().enumerate().filter(|&(_, &byte)| byte == b'\n').map(|(i, _)| i + 1);
                match ends.nth(error.line().saturating_sub(1)) {
                    Some(end) => self.at += end,
                    None => {
                        self.at = self.bytes.len();
                        self.skipping = true;
                    }
                }
                Some(Err(RpcError::new(RpcError::PARSE, format!("not JSON: {error}"))))
            }
        }
    }
}
