//! One worker thread: receive a batch, route each message, look at the timers, send a batch.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kemi_core::{Instance, Outcome};

use crate::message::{HeaderName, Message, ParseError};
use crate::proxy::context::{Cx, MessageState, Route};
use crate::proxy::{DropReason, drain};
use crate::tm;
use crate::transport::{RecvBatch, UdpSocket, Waker};

/// How long a worker sleeps at most, so that expired registrations go in time.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

/// How many due registrations are looked at in one turn.
const EXPIRE_BUDGET: usize = 256;

/// A worker: one receiving socket, one context, one script.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) cx: Cx,
    pub(super) socket: Arc<UdpSocket>,
    pub(super) listener: usize,
    pub(super) waker: Waker,
    pub(super) stop: Arc<AtomicBool>,
}

impl Worker {
    /// Works until it is told to stop.
    pub(super) fn run(&mut self, mut script: kemi_core::Worker<Cx>) {
        let mut batch = RecvBatch::new();
        let mut spare = Arc::new(Message::new());
        let nothing = Arc::new(Message::new());
        let mut reply_route = self.reply_route(script.instance());
        while !self.stop.load(Ordering::Acquire) {
            let sleep = self.until_next_timer().min(LONGEST_SLEEP);
            if let Err(error) = self.socket.recv_batch(&mut batch, Some(sleep), Some(&self.waker)) {
                tracing::error!("{error}");
            }
            self.cx.statistics.begin_turn(self.cx.shared.now());
            if script.refresh() {
                reply_route = self.reply_route(script.instance());
            }
            let script = script.instance();
            for datagram in batch.iter() {
                if datagram.truncated {
                    self.cx.statistics.dropped(DropReason::Truncated);
                    tracing::debug!(source = %datagram.source, "a datagram longer than the buffer; dropped");
                    continue;
                }
                // The last message's buffers are free for the next one.
                self.cx.msg.message = Arc::clone(&nothing);
                match parse(&mut spare, datagram.bytes) {
                    Ok(()) => {}
                    Err(ParseError::KeepAlive) => {
                        self.cx.statistics.dropped(DropReason::KeepAlive);
                        continue;
                    }
                    Err(error) => {
                        self.cx.statistics.dropped(DropReason::Malformed);
                        tracing::debug!(source = %datagram.source, "not a SIP message: {error}; dropped");
                        continue;
                    }
                }
                self.cx.msg = MessageState::new(Arc::clone(&spare), datagram.source, self.listener);
                self.guarded(|worker| {
                    if worker.cx.msg.message.is_request() {
                        worker.request(script);
                    } else {
                        worker.reply(script, reply_route);
                    }
                });
            }
            self.guarded(|worker| tm::on_timers(&mut worker.cx, script));
            let now = self.cx.shared.unix_now();
            self.cx.shared.location.expire(now, EXPIRE_BUDGET);
            self.cx.out.flush();
            self.cx.statistics.end_turn();
        }
        self.cx.out.flush();
    }

    /// Does one piece of work; a panic in it costs that piece, not the worker.
    ///
    /// Native functions are guarded on their own. This is for a mistake in the proxy itself, which one message must not
    /// turn into an outage.
    fn guarded(&mut self, work: impl FnOnce(&mut Worker)) {
        if catch_unwind(AssertUnwindSafe(|| work(self))).is_err() {
            let call_id = self.cx.msg.message.call_id().unwrap_or_default().escape_ascii().to_string();
            tracing::error!(%call_id, "the worker panicked and dropped this message; this is a bug in the proxy");
            self.cx.msg = MessageState::default();
        }
    }

    /// The core's reply route, if the script has one.
    fn reply_route(&self, script: &Instance<Cx>) -> Option<kemi_core::CallbackId> {
        self.cx.shared.routes.reply.filter(|&callback| script.has(callback))
    }

    fn until_next_timer(&self) -> Duration {
        match self.cx.timers.next_wakeup() {
            Some(at) => Duration::from_millis(at.saturating_sub(self.cx.shared.now())),
            None => LONGEST_SLEEP,
        }
    }

    fn request(&mut self, script: &Instance<Cx>) {
        let message = &self.cx.msg.message;
        if let Some(method) = message.method() {
            self.cx.statistics.request_received(method);
        }
        if !has_mandatory_headers(message) {
            self.cx.statistics.dropped(DropReason::Incomplete);
            tracing::debug!(source = %self.cx.msg.source, "a request without a mandatory header; dropped");
            return;
        }
        // The ACK for a stateless reply ends here: there is nothing that it could find (Kamailio's sl_filter_ACK).
        if self.cx.msg.method() == b"ACK"
            && message.to().and_then(|to| to.tag()).is_some_and(|tag| self.cx.shared.is_own_tag(tag))
        {
            return;
        }
        if drain::refuse(&mut self.cx) {
            return;
        }
        let callback = self.cx.shared.routes.request;
        let failed = match script.call(callback, &mut self.cx, &[]) {
            Ok(_) => false,
            Err(error) => {
                self.cx.report(&error);
                true
            }
        };
        tm::finish(&mut self.cx, script, failed);
    }

    fn reply(&mut self, script: &Instance<Cx>, reply_route: Option<kemi_core::CallbackId>) {
        if let Some(status) = self.cx.msg.message.status() {
            self.cx.statistics.reply_received(status);
        }
        if !has_mandatory_headers(&self.cx.msg.message) {
            self.cx.statistics.dropped(DropReason::Incomplete);
            tracing::debug!(source = %self.cx.msg.source, "a reply without a mandatory header; dropped");
            return;
        }
        self.cx.msg.route = Route::Reply;
        if let Some(callback) = reply_route {
            match script.call(callback, &mut self.cx, &[]) {
                Ok(Outcome::Drop) => return,
                Ok(_) if self.cx.msg.drop => return,
                Ok(_) => {}
                Err(error) => self.cx.report(&error),
            }
        }
        tm::on_reply(&mut self.cx, script);
    }
}

/// Parses into the spare message, or into a new one while a transaction still has it.
fn parse(spare: &mut Arc<Message>, bytes: &[u8]) -> Result<(), ParseError> {
    if let Some(message) = Arc::get_mut(spare) {
        return message.parse_into(bytes);
    }
    let mut message = Message::new();
    message.parse_into(bytes)?;
    *spare = Arc::new(message);
    Ok(())
}

/// Whether what no SIP message may lack is there (RFC 3261 §8.1.1), Max-Forwards aside.
fn has_mandatory_headers(message: &Message) -> bool {
    [HeaderName::Via, HeaderName::From, HeaderName::To, HeaderName::CallId, HeaderName::CSeq]
        .into_iter()
        .all(|name| message.known(name).is_some())
        && message.top_via().is_some()
        && message.cseq().is_some()
}
