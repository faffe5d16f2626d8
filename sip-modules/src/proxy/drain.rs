//! The end without a broken call: nothing new is taken, what is in progress is finished.

use std::thread;
use std::time::{Duration, Instant};

use crate::proxy::{Cx, Phase, Shared, Stopper, UNAVAILABLE, send_error};
use crate::tm::server_key;

/// How long late ACKs and retransmissions are waited for after the last request has got its final reply: T4, the longest
/// that a message stays in the network (RFC 3261 §17.1.2.2).
const LINGER: Duration = Duration::from_secs(5);

/// How often the transactions are looked at.
const POLL: Duration = Duration::from_millis(50);

impl Stopper {
    /// Stops the proxy as soon as that breaks nothing, and returns when it is told to end.
    ///
    /// From now on requests that begin something new are answered `503`; requests within a dialog, ACK, CANCEL, PRACK, BYE
    /// and retransmissions are routed as ever. The workers end when no transaction is left, or all requests have
    /// had their final reply for 5 s, or after `limit`. Returns at once if the proxy is ending already.
    pub fn drain(&self, limit: Duration) {
        let shared = self.shared();
        if !shared.lifecycle.advance(Phase::Draining) {
            return;
        }
        let (begun, clock) = (Instant::now(), shared.now());
        let State { live, open } = State::of(shared);
        tracing::info!(
            "draining for at most {limit:?}: {live} transactions, {open} of them without a final reply; nothing new is taken"
        );
        let mut answered = None;
        loop {
            // A request that was being routed when the drain began may not have its transaction yet, so this comes first.
            let routed = !shared.pool.any_busy_since_before(clock);
            let (took, State { live, open }) = (begun.elapsed(), State::of(shared));
            if shared.lifecycle.phase() > Phase::Draining {
                tracing::warn!("told to end while draining: {open} requests stay without a final reply");
                return;
            }
            let settled = routed && open == 0;
            answered = if settled { answered.or(Some(took)) } else { None };
            if settled && (live == 0 || answered.is_some_and(|since| took - since >= LINGER)) {
                tracing::info!("drained in {took:.1?}: every request has its final reply");
                return self.stop();
            }
            if took >= limit {
                tracing::warn!("drained for {took:.1?}, the limit: {open} requests stay without a final reply");
                return self.stop();
            }
            thread::sleep(POLL);
        }
    }
}

/// How many transactions there are.
struct State {
    live: u64,
    /// Those without a final reply.
    open: usize,
}

impl State {
    fn of(shared: &Shared) -> State {
        let open = shared.transactions.count(|call| !call.machine.is_answered());
        State { live: shared.transactions.stats().current, open }
    }
}

/// Answers a request that begins something new while the proxy is ending; `false` if it is to be routed.
pub(super) fn refuse(cx: &mut Cx) -> bool {
    if !cx.shared.lifecycle.is_ending() || !begins_something(cx) {
        return false;
    }
    if let Err(error) = send_error(cx, UNAVAILABLE) {
        tracing::debug!("a request is not taken and stays without an answer: {error}");
    }
    true
}

fn begins_something(cx: &Cx) -> bool {
    let follows = matches!(cx.msg.method(), b"ACK" | b"CANCEL" | b"PRACK" | b"BYE");
    !cx.msg.is_within_dialog()
        && !follows
        && server_key(&cx.msg.message).is_none_or(|key| cx.shared.transactions.find(&key).is_none())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::testing::{INVITE, cx};
    use crate::tm;

    #[test]
    fn what_begins_something_is_refused_and_what_follows_is_not() {
        let without_tag = INVITE.replace(";tag=to1", "");
        for (message, refused) in [
            (without_tag.clone(), true),
            (without_tag.replace("INVITE", "OPTIONS"), true),
            (without_tag.replace("INVITE", "REGISTER"), true),
            (without_tag.replace("INVITE", "CANCEL"), false),
            (without_tag.replace("INVITE", "ACK"), false),
            (INVITE.to_owned(), false),
            (INVITE.replace("INVITE", "BYE"), false),
        ] {
            let mut cx = cx(&message);
            assert!(!refuse(&mut cx), "nothing is refused before the end begins");
            cx.shared.lifecycle.advance(Phase::Draining);
            assert_eq!(begins_something(&cx), refused, "{message}");
        }
    }

    #[test]
    fn a_retransmission_of_what_is_in_progress_is_not_refused() {
        let mut cx = cx(&INVITE.replace(";tag=to1", ""));
        cx.shared.lifecycle.advance(Phase::Draining);
        assert!(begins_something(&cx));
        tm::create(&mut cx, &tm::NoCaller);
        assert!(!begins_something(&cx));
        assert_eq!(State::of(&cx.shared).open, 1);
    }
}
