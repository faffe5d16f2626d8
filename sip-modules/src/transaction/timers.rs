//! The named timer values of RFC 3261 and the two of a proxy.

/// How one transaction is timed and how it treats the replies of failed branches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// The timer values.
    pub timers: Timers,
    /// What happens to earlier replies when a failure route adds branches.
    pub failure_reply_mode: FailureReplyMode,
}

/// The base values, in milliseconds, from which every timer of RFC 3261 §17 follows.
///
/// | timer | value | where it runs |
/// |---|---|---|
/// | A | T1, doubling | INVITE to the callee until the first reply; unreliable transport only |
/// | B | `fr` | INVITE to the callee without any reply |
/// | C | `fr_inv` | INVITE to the callee after a provisional reply |
/// | D | 64·T1 (0 if reliable) | INVITE to the callee after a final reply of 300 or more |
/// | E | T1, doubling up to T2 | other request to the callee; T2 after a provisional reply |
/// | F | `fr` | other request to the callee without a final reply; 64·T1 for a CANCEL |
/// | G | T1, doubling up to T2 | final reply of 300 or more to an INVITE, until its ACK |
/// | H | 64·T1 | the wait for that ACK |
/// | I | T4 (0 if reliable) | absorbs further ACKs |
/// | J | 64·T1 (0 if reliable) | absorbs retransmissions of another request |
/// | K | T4 (0 if reliable) | absorbs retransmissions of its final reply |
/// | L | 64·T1 | RFC 6026: INVITE from the caller after a 2xx |
/// | M | 64·T1 | RFC 6026: INVITE to the callee after a 2xx |
///
/// B and F are 64·T1 in the RFC; here they are the operator's `fr`, as in Kamailio.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timers {
    /// T1, the estimated round trip: 500 ms.
    pub t1: u64,
    /// T2, the longest interval between retransmissions: 4 s.
    pub t2: u64,
    /// T4, how long a message may live in the network: 5 s.
    pub t4: u64,
    /// How long a branch may stay without any reply (Kamailio's `fr_timer`): 30 s.
    pub fr: u64,
    /// How long an INVITE branch may ring after its last provisional reply (`fr_inv_timer`): 120 s.
    pub fr_inv: u64,
}

impl Timers {
    /// 64·T1, the life of everything that waits for a peer to fall silent.
    pub fn timeout(&self) -> u64 {
        self.t1.saturating_mul(64)
    }
}

impl Default for Timers {
    fn default() -> Self {
        Self { t1: 500, t2: 4_000, t4: 5_000, fr: 30_000, fr_inv: 120_000 }
    }
}

/// Which replies still count after a failure route has added branches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FailureReplyMode {
    /// All branches of the transaction compete (`failure_reply_mode` 0).
    #[default]
    KeepAll,
    /// Only the new branches compete (`failure_reply_mode` 3).
    DropEarlier,
}

/// A retransmission that is due at a time, and the interval that led to it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Retransmit {
    pub(super) at: u64,
    pub(super) interval: u64,
}

impl Retransmit {
    pub(super) fn start(now: u64, interval: u64) -> Self {
        Self { at: now.saturating_add(interval), interval }
    }

    /// Doubles the interval up to `cap` and counts it from now, so that a late clock causes no burst.
    pub(super) fn again(&mut self, now: u64, cap: u64) {
        // An interval of zero would be due for ever.
        self.interval = self.interval.saturating_mul(2).min(cap).max(1);
        self.at = now.saturating_add(self.interval);
    }
}
