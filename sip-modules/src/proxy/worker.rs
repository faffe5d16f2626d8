//! One worker thread: receive a batch, route each message, look at the timers, send a batch.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kemi_core::{CallbackId, Instance, Outcome};

use crate::message::{HeaderName, Message, ParseError};
use crate::proxy::context::{Cx, MessageState, Route};
use crate::tm;
use crate::transport::{Datagram, RecvBatch, UdpSocket, Waker};

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
        let mut on_reply = reply_route(&self.cx, script.instance());
        while !self.stop.load(Ordering::Acquire) {
            let sleep = self.until_next_timer().min(LONGEST_SLEEP);
            if let Err(error) = self.socket.recv_batch(&mut batch, Some(sleep), Some(&self.waker)) {
                tracing::error!("{error}");
            }
            if script.refresh() {
                on_reply = reply_route(&self.cx, script.instance());
            }
            let script = script.instance();
            for datagram in batch.iter() {
                receive(&mut self.cx, script, on_reply, &mut spare, datagram, self.listener);
            }
            look_at_timers(&mut self.cx, script);
            self.cx.out.flush();
            // The last message's buffers are free for the next one.
            self.cx.msg = MessageState::default();
        }
        self.cx.out.flush();
    }

    fn until_next_timer(&self) -> Duration {
        match self.cx.timers.next_wakeup() {
            Some(at) => Duration::from_millis(at.saturating_sub(self.cx.shared.now())),
            None => LONGEST_SLEEP,
        }
    }
}

/// Routes one datagram; what is to be sent for it is in the context's outbox then.
pub(super) fn receive(
    cx: &mut Cx,
    script: &Instance<Cx>,
    reply_route: Option<CallbackId>,
    spare: &mut Arc<Message>,
    datagram: Datagram<'_>,
    listener: usize,
) {
    if datagram.truncated {
        tracing::debug!(source = %datagram.source, "a datagram longer than the buffer; dropped");
        return;
    }
    match parse(spare, datagram.bytes) {
        Ok(()) => {}
        Err(ParseError::KeepAlive) => return,
        Err(error) => {
            tracing::debug!(source = %datagram.source, "not a SIP message: {error}; dropped");
            return;
        }
    }
    cx.msg = MessageState::new(Arc::clone(spare), datagram.source, listener);
    guarded(cx, |cx| {
        if cx.msg.message.is_request() {
            request(cx, script);
        } else {
            reply(cx, script, reply_route);
        }
    });
}

/// Lets time pass for the worker's transactions and for the registrations.
pub(super) fn look_at_timers(cx: &mut Cx, script: &Instance<Cx>) {
    guarded(cx, |cx| tm::on_timers(cx, script));
    let now = cx.shared.unix_now();
    cx.shared.location.expire(now, EXPIRE_BUDGET);
}

/// Does one piece of work; a panic in it costs that piece, not the worker.
///
/// Native functions are guarded on their own. This is for a mistake in the proxy itself, which one message must not
/// turn into an outage.
fn guarded(cx: &mut Cx, work: impl FnOnce(&mut Cx)) {
    if catch_unwind(AssertUnwindSafe(|| work(cx))).is_err() {
        let call_id = cx.msg.message.call_id().unwrap_or_default().escape_ascii().to_string();
        tracing::error!(%call_id, "the worker panicked and dropped this message; this is a bug in the proxy");
        cx.msg = MessageState::default();
    }
}

/// The core's reply route, if the script has one.
pub(super) fn reply_route(cx: &Cx, script: &Instance<Cx>) -> Option<CallbackId> {
    cx.shared.routes.reply.filter(|&callback| script.has(callback))
}

fn request(cx: &mut Cx, script: &Instance<Cx>) {
    let message = &cx.msg.message;
    if !has_mandatory_headers(message) {
        tracing::debug!(source = %cx.msg.source, "a request without a mandatory header; dropped");
        return;
    }
    // The ACK for a stateless reply ends here: there is nothing that it could find (Kamailio's sl_filter_ACK).
    if cx.msg.method() == b"ACK" && message.to().and_then(|to| to.tag()).is_some_and(|tag| cx.shared.is_own_tag(tag)) {
        return;
    }
    let callback = cx.shared.routes.request;
    let failed = match script.call(callback, cx, &[]) {
        Ok(_) => false,
        Err(error) => {
            cx.report(&error);
            true
        }
    };
    tm::finish(cx, script, failed);
}

fn reply(cx: &mut Cx, script: &Instance<Cx>, reply_route: Option<CallbackId>) {
    if !has_mandatory_headers(&cx.msg.message) {
        tracing::debug!(source = %cx.msg.source, "a reply without a mandatory header; dropped");
        return;
    }
    cx.msg.route = Route::Reply;
    if let Some(callback) = reply_route {
        match script.call(callback, cx, &[]) {
            Ok(Outcome::Drop) => return,
            Ok(_) if cx.msg.drop => return,
            Ok(_) => {}
            Err(error) => cx.report(&error),
        }
    }
    tm::on_reply(cx, script);
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
