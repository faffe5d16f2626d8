//! One worker thread: receive a batch, route each message, look at the timers, send a batch.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use kemi_core::{CallbackId, Instance, Outcome};

use crate::caught::caught;
use crate::message::{Fault, HeaderName, Message, NameSet, ParseError};
use crate::proxy::context::{Cx, MessageState, Route};
use crate::proxy::worker_pool::OwnSlot;
use crate::proxy::{DropReason, Outbox, Shared, drain, fork, leave_progress, send_stateless};
use crate::tm;
use crate::transport::{Datagram, RecvBatch, UdpSocket, Waker};

/// How long a worker sleeps at most, so that expired registrations go in time.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

/// How long it sleeps while another one is stuck: it does not wait for that one's datagrams, but looks for them.
const RELIEF_SLEEP: Duration = Duration::from_millis(5);

/// How long what is ready waits in a turn of a patient worker.
const PATIENCE: Duration = Duration::from_millis(1);

/// How long it waits after an error of its socket, which may well come again at once.
const AFTER_ERROR: Duration = Duration::from_millis(50);

/// How many due registrations are looked at in one turn.
const EXPIRE_BUDGET: usize = 256;

/// A worker: one receiving socket, one context, one script.
#[derive(Debug)]
pub(super) struct Worker<'a> {
    cx: Cx,
    place: &'a OwnSlot,
    stop: &'a AtomicBool,
    /// The last message, whose buffers are used again.
    spare: Arc<Message>,
    on_reply: Option<CallbackId>,
    pace: Pace,
}

/// How quick a worker's callbacks have been lately.
#[derive(Debug, Default)]
struct Pace {
    /// How many messages it has routed since the last slow turn.
    quick: usize,
}

impl Pace {
    /// From how long a message on, on the average of a turn, callbacks are slow.
    const SLOW: Duration = Duration::from_micros(500);
    /// From how long a turn on they are slow in any case.
    const SLOW_TURN: Duration = Duration::from_millis(4);
    /// After how many messages they count as quick.
    const QUICK_AFTER: usize = 256;

    /// Notes how long a batch took, and sets how many datagrams the next one is to have: what a worker with slow callbacks
    /// has not taken from the socket others can take.
    fn turn(&mut self, took: Duration, batch: &mut RecvBatch) {
        let messages = batch.len();
        if messages == 0 {
            return;
        }
        let slow = took >= Pace::SLOW_TURN || took / messages as u32 >= Pace::SLOW;
        self.quick = if slow { 0 } else { self.quick.saturating_add(messages) };
        batch.set_limit(if slow { 1 } else { batch.limit() * 2 });
    }

    /// Whether what is ready to be sent may wait for the end of the turn.
    fn is_quick(&self) -> bool {
        self.quick >= Pace::QUICK_AFTER
    }
}

impl<'a> Worker<'a> {
    pub(super) fn new(shared: Arc<Shared>, place: &'a OwnSlot, stop: &'a AtomicBool) -> Worker<'a> {
        let mut cx = Cx::new(shared, Outbox::new(place.me.sockets.clone()));
        cx.statistics = cx.shared.statistics.join();
        cx.timers = place.me.timers.clone();
        cx.place = Some(place.clone());
        Worker { cx, place, stop, spare: Arc::new(Message::new()), on_reply: None, pace: Pace::default() }
    }

    /// Works until it is told to stop.
    pub(super) fn run(&mut self, mut script: kemi_core::Worker<Cx>) {
        let me = &self.place.me;
        let mut batch = RecvBatch::new();
        self.on_reply = reply_route(&self.cx, script.instance());
        while !self.stop.load(Ordering::Acquire) {
            fill(&mut batch, &me.socket, self.sleep(), Some(&me.waker));
            me.begin_turn(self.cx.shared.now());
            if refresh(&mut script) {
                self.on_reply = reply_route(&self.cx, script.instance());
            }
            let script = script.instance();
            self.route(&mut batch, me.listener, script);
            look_at_timers(&mut self.cx, script);
            self.relieve(&mut batch, script);
            self.flush(script);
            me.end_turn();
        }
    }

    /// Sends what is to be sent.
    fn flush(&mut self, script: &Instance<Cx>) {
        // The callback of a timer may have forked; what is to be sent is the parent's to send.
        fork::end_child();
        self.cx.out.flush();
        guarded(&mut self.cx, |cx| tm::fail_refused(cx, script));
        self.cx.out.flush();
    }

    fn route(&mut self, batch: &mut RecvBatch, listener: usize, script: &Instance<Cx>) {
        let begun = Instant::now();
        for datagram in batch.iter() {
            if self.cx.out.is_waiting() && begun.elapsed() >= PATIENCE {
                self.cx.out.flush();
            }
            receive(&mut self.cx, script, self.on_reply, &mut self.spare, datagram, listener);
            fork::end_child();
        }
        self.place.me.end_messages();
        self.pace.turn(begun.elapsed(), batch);
        self.cx.out.set_patient(self.pace.is_quick());
    }

    /// Does the work of the workers that are stuck.
    fn relieve(&mut self, batch: &mut RecvBatch, script: &Instance<Cx>) {
        for other in self.place.stuck_others() {
            // This worker may get stuck as well; what is done does not wait for that.
            self.flush(script);
            fill(batch, &other.socket, Duration::ZERO, None);
            self.route(batch, other.listener, script);
            guarded(&mut self.cx, |cx| tm::on_timers(cx, &other.timers, script));
        }
    }

    /// How long to sleep when nothing comes.
    fn sleep(&self) -> Duration {
        let longest = if self.place.stuck_others().next().is_some() { RELIEF_SLEEP } else { LONGEST_SLEEP };
        match self.cx.timers.next_wakeup() {
            Some(at) => Duration::from_millis(at.saturating_sub(self.cx.shared.now())).min(longest),
            None => longest,
        }
    }
}

impl Drop for Worker<'_> {
    /// However it ends.
    fn drop(&mut self) {
        self.place.me.end();
    }
}

/// Takes a new version of the script up; returns whether another one may run now.
fn refresh(script: &mut kemi_core::Worker<Cx>) -> bool {
    caught(|| script.refresh()).unwrap_or_else(|| {
        tracing::error!("the worker panicked when it took a new version of the script up; this is a bug in the proxy");
        true
    })
}

/// Receives what is there, or what comes in time.
fn fill(batch: &mut RecvBatch, socket: &UdpSocket, timeout: Duration, waker: Option<&Waker>) {
    if let Err(error) = socket.recv_batch(batch, Some(timeout), waker) {
        tracing::error!(%error, "the socket cannot be read");
        std::thread::sleep(AFTER_ERROR);
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
        cx.statistics.dropped(DropReason::Truncated);
        tracing::debug!(source = %datagram.source, "a datagram longer than the buffer; dropped");
        return;
    }
    // The last message's buffers are free for the next one.
    cx.msg.message = Arc::clone(&cx.nothing);
    match parse(spare, datagram.bytes) {
        Ok(()) => {}
        Err(ParseError::KeepAlive) => {
            cx.statistics.dropped(DropReason::KeepAlive);
            return;
        }
        Err(error) => {
            cx.statistics.dropped(DropReason::Malformed);
            tracing::debug!(source = %datagram.source, "not a SIP message: {error}; dropped");
            return;
        }
    }
    cx.msg.start_over(Arc::clone(spare), datagram.source, listener);
    if !begin(cx) {
        tracing::debug!(source = %datagram.source, "a retransmission of what another worker is stuck in; dropped");
        return;
    }
    guarded(cx, |cx| {
        if cx.msg.message.is_request() {
            request(cx, script);
        } else {
            reply(cx, script, reply_route);
        }
    });
}

/// Notes which message the worker begins with; `false` if another worker is stuck in the same one. Its retransmissions
/// would get one worker after the other stuck.
fn begin(cx: &Cx) -> bool {
    let Some(place) = &cx.place else { return true };
    let message = &cx.msg.message;
    let (via, cseq) = (message.value(HeaderName::Via), message.value(HeaderName::CSeq));
    place.begin_message(cx.shared.quick_hash((message.status(), via, cseq)))
}

/// Lets time pass for the worker's transactions and for the registrations.
pub(super) fn look_at_timers(cx: &mut Cx, script: &Instance<Cx>) {
    let timers = Arc::clone(&cx.timers);
    guarded(cx, |cx| tm::on_timers(cx, &timers, script));
    cx.shared.expire_registrations(EXPIRE_BUDGET);
}

/// Does one piece of work; a panic in it costs that piece, not the worker.
///
/// Native functions are guarded on their own. This is for a mistake in the proxy itself, which one message must not
/// turn into an outage.
fn guarded(cx: &mut Cx, work: impl FnOnce(&mut Cx)) {
    if caught(|| work(cx)).is_none() {
        let call_id = cx.msg.message.call_id().unwrap_or_default().escape_ascii().to_string();
        tracing::error!(%call_id, "the worker panicked and dropped this message; this is a bug in the proxy");
        if let Some(key) = cx.msg.in_progress.take() {
            leave_progress(&cx.shared, key);
        }
        cx.msg = MessageState::default();
    }
}

/// The core's reply route, if the script has one.
pub(super) fn reply_route(cx: &Cx, script: &Instance<Cx>) -> Option<CallbackId> {
    cx.shared.routes.reply.filter(|&callback| script.has(callback))
}

fn request(cx: &mut Cx, script: &Instance<Cx>) {
    let message = &cx.msg.message;
    if let Some(method) = message.method() {
        cx.statistics.request_received(method);
    }
    if !has_mandatory_headers(message) {
        cx.statistics.dropped(DropReason::Incomplete);
        tracing::debug!(source = %cx.msg.source, "a request without a mandatory header; dropped");
        return;
    }
    if let Some(fault) = message.fault().filter(|fault| !is_for_script(*fault)) {
        refuse_faulty(cx, fault);
        return;
    }
    // The ACK for a stateless reply ends here: there is nothing that it could find (Kamailio's sl_filter_ACK).
    if cx.msg.method() == b"ACK" && message.to_tag().is_some_and(|tag| cx.shared.is_own_tag(tag)) {
        return;
    }
    if drain::refuse(cx) {
        return;
    }
    if tm::has_been_here(cx) {
        if let Err(error) = send_stateless(cx, 482, b"Loop Detected") {
            tracing::debug!("a request that goes round in circles stays without an answer: {error}");
        }
        return;
    }
    if has_failed_before(cx) {
        cx.statistics.retransmission_received();
        tm::finish(cx, script, true);
        return;
    }
    let callback = cx.shared.routes.request;
    let failed = match cx.call_script(script, callback) {
        Ok(_) => false,
        Err(error) => {
            cx.report(&error);
            note_failure(cx);
            true
        }
    };
    tm::finish(cx, script, failed);
}

/// Whether the script has failed for this request when it came first: then it is answered like that, and not run again.
fn has_failed_before(cx: &Cx) -> bool {
    let shared = &cx.shared;
    shared.failures.any() && shared.failures.knows(failure_key(cx), shared.now())
}

/// Remembers the request for as long as its retransmissions may come, if nothing else knows them.
fn note_failure(cx: &Cx) {
    if cx.msg.transaction.is_none() && !cx.msg.final_reply {
        let until = cx.shared.now() + 64 * cx.shared.settings.transaction.timers.t1;
        cx.shared.failures.note(failure_key(cx), until);
    }
}

fn failure_key(cx: &Cx) -> u64 {
    cx.shared.quick_hash((cx.shared.identity_hash(&cx.msg.message), cx.msg.method()))
}

fn reply(cx: &mut Cx, script: &Instance<Cx>, reply_route: Option<CallbackId>) {
    if let Some(status) = cx.msg.message.status() {
        cx.statistics.reply_received(status);
    }
    let message = &cx.msg.message;
    if !has_mandatory_headers(message) {
        cx.statistics.dropped(DropReason::Incomplete);
        tracing::debug!(source = %cx.msg.source, "a reply without a mandatory header; dropped");
        return;
    }
    if let Some(fault) = message.fault() {
        cx.statistics.dropped(DropReason::Malformed);
        tracing::debug!(source = %cx.msg.source, "a faulty reply ({fault}); dropped");
        return;
    }
    cx.msg.route = Route::Reply;
    if let Some(callback) = reply_route {
        match cx.call_script(script, callback) {
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

/// Whether what no SIP message may lack is there (RFC 3261 §8.1.1), Max-Forwards aside, and a reply to it could be sent.
fn has_mandatory_headers(message: &Message) -> bool {
    const MANDATORY: NameSet =
        NameSet::of(&[HeaderName::Via, HeaderName::From, HeaderName::To, HeaderName::CallId, HeaderName::CSeq]);
    message.names().contains_all(MANDATORY) && message.top_via().is_some()
}

/// Whether a request with that fault is the script's to refuse (`sanity_check`), as in Kamailio.
fn is_for_script(fault: Fault) -> bool {
    matches!(fault, Fault::Unfinished | Fault::ShortBody | Fault::CSeq)
}

/// Answers a request that Kamailio's core drops and that RFC 3261 and 4475 want answered with 400.
fn refuse_faulty(cx: &mut Cx, fault: Fault) {
    cx.statistics.dropped(DropReason::Malformed);
    tracing::debug!(source = %cx.msg.source, "a faulty request ({fault}); refused");
    // An answer repeats headers, and what is wrong with them.
    if cx.msg.method() != b"ACK"
        && fault != Fault::LineEnd
        && let Err(error) = send_stateless(cx, 400, fault.to_string().as_bytes())
    {
        tracing::debug!(source = %cx.msg.source, "no reply 400: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_is_quick_after_many_quick_messages_and_slow_at_once() {
        let socket = UdpSocket::bind("127.0.0.1:0".parse().unwrap(), false, None).unwrap();
        let receive = |batch: &mut RecvBatch, count: usize| {
            for _ in 0..count {
                let sender = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
                sender.send_to(b"x", socket.local_addr()).unwrap();
            }
            socket.recv_batch(batch, Some(Duration::from_secs(1)), None).unwrap();
        };
        let (mut pace, mut batch) = (Pace::default(), RecvBatch::new());
        for _ in 0..64 {
            assert!(!pace.is_quick());
            receive(&mut batch, 4);
            pace.turn(Duration::from_micros(200), &mut batch);
        }
        assert!(pace.is_quick());
        receive(&mut batch, 1);
        pace.turn(Duration::from_millis(1), &mut batch);
        assert!(!pace.is_quick());
        assert_eq!(batch.limit(), 1, "the rest is left to others");
        for expected in [1, 2, 4] {
            receive(&mut batch, 4);
            assert_eq!(batch.len(), expected);
            pace.turn(Duration::from_micros(10), &mut batch);
        }
    }
}
