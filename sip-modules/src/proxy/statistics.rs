//! What the workers count: each writes its own part without contention, anybody reads the sum.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use crate::message::Method;

/// What a method counts as that is not one of [`Method::NAMES`], so that no sender can make up new counters.
const OTHER: &str = "other";

const CLASSES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "6xx"];

const REASONS: [&str; 6] = ["keep_alive", "truncated", "malformed", "incomplete", "stray_reply", "no_room"];

/// Why a received datagram went nowhere, without a script having a say in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DropReason {
    /// Empty lines that keep a NAT's binding open.
    KeepAlive,
    /// Longer than the receive buffer.
    Truncated,
    /// Not a SIP message.
    Malformed,
    /// A message without one of the headers that none may lack.
    Incomplete,
    /// A reply to nothing that this proxy has sent.
    StrayReply,
    /// A reply that is larger than what its transaction holds, while all hold all that they may.
    NoRoom,
}

/// A number that one thread adds to and others read.
#[derive(Debug, Default)]
struct Counter(AtomicU64);

impl Counter {
    /// Adds; only the owner may, which spares it the atomic addition.
    fn add(&self, n: u64) {
        self.0.store(self.get().wrapping_add(n), Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The counters of one worker, apart from those of others so that no two cores fight for a cache line.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct WorkerStatistics {
    requests: [Counter; Method::NAMES.len()],
    other_requests: Counter,
    replies_received: [Counter; CLASSES.len()],
    replies_sent: [Counter; CLASSES.len()],
    dropped: [Counter; REASONS.len()],
    retransmissions_received: Counter,
    retransmissions_sent: Counter,
    transactions_refused: Counter,
}

impl WorkerStatistics {
    pub(crate) fn request_received(&self, method: Method<'_>) {
        method.position().and_then(|position| self.requests.get(position)).unwrap_or(&self.other_requests).add(1);
    }

    pub(crate) fn reply_received(&self, status: u16) {
        add(&self.replies_received, class_index(status));
    }

    pub(crate) fn reply_sent(&self, status: u16) {
        add(&self.replies_sent, class_index(status));
    }

    pub(crate) fn dropped(&self, reason: DropReason) {
        add(&self.dropped, reason as usize);
    }

    pub(crate) fn retransmission_received(&self) {
        self.retransmissions_received.add(1);
    }

    pub(crate) fn retransmissions_sent(&self, count: usize) {
        self.retransmissions_sent.add(count as u64);
    }

    pub(crate) fn transaction_refused(&self) {
        self.transactions_refused.add(1);
    }
}

/// The counters of all workers.
#[derive(Debug, Default)]
pub(crate) struct Statistics {
    workers: Mutex<Vec<Arc<WorkerStatistics>>>,
}

impl Statistics {
    /// Adds a worker and returns what it counts by, for its own thread alone.
    pub(crate) fn join(&self) -> Arc<WorkerStatistics> {
        let worker = Arc::new(WorkerStatistics::default());
        lock(&self.workers).push(worker.clone());
        worker
    }

    /// Returns the sums.
    pub(crate) fn sum(&self) -> Counts {
        let mut counts = Counts::default();
        for worker in &*lock(&self.workers) {
            collect(&mut counts.requests_received, Method::NAMES, &worker.requests);
            *counts.requests_received.entry(OTHER).or_default() += worker.other_requests.get();
            collect(&mut counts.replies_received, &CLASSES, &worker.replies_received);
            collect(&mut counts.replies_sent, &CLASSES, &worker.replies_sent);
            collect(&mut counts.datagrams_dropped, &REASONS, &worker.dropped);
            *counts.retransmissions.entry("received").or_default() += worker.retransmissions_received.get();
            *counts.retransmissions.entry("sent").or_default() += worker.retransmissions_sent.get();
            counts.transactions_refused += worker.transactions_refused.get();
        }
        counts
    }
}

/// What all workers have counted since the start, by what each number is told apart by.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Counts {
    pub(crate) requests_received: BTreeMap<&'static str, u64>,
    pub(crate) replies_received: BTreeMap<&'static str, u64>,
    pub(crate) replies_sent: BTreeMap<&'static str, u64>,
    pub(crate) datagrams_dropped: BTreeMap<&'static str, u64>,
    pub(crate) retransmissions: BTreeMap<&'static str, u64>,
    pub(crate) transactions_refused: u64,
}

fn add(counters: &[Counter], index: usize) {
    if let Some(counter) = counters.get(index) {
        counter.add(1);
    }
}

fn collect(into: &mut BTreeMap<&'static str, u64>, names: &[&'static str], counters: &[Counter]) {
    for (&name, counter) in names.iter().zip(counters) {
        *into.entry(name).or_default() += counter.get();
    }
}

/// A status outside of 100 to 699 counts nowhere.
fn class_index(status: u16) -> usize {
    usize::from(status / 100).wrapping_sub(1)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_counts_under_its_own_name_and_unknown_ones_under_one() {
        let statistics = Statistics::default();
        let worker = statistics.join();
        for name in Method::NAMES {
            worker.request_received(Method::from_bytes(name.as_bytes()));
        }
        for name in ["invite", "FOO", "other", ""] {
            worker.request_received(Method::from_bytes(name.as_bytes()));
        }
        let expected = Method::NAMES.iter().map(|&name| (name, 1)).chain([(OTHER, 4)]).collect();
        assert_eq!(statistics.sum().requests_received, expected);
    }

    #[test]
    fn the_counters_of_all_workers_are_added_also_of_those_that_have_ended() {
        let statistics = Statistics::default();
        let (one, two) = (statistics.join(), statistics.join());
        for (worker, status) in [(&one, 100), (&two, 199), (&two, 200), (&one, 699), (&one, 99), (&two, 700)] {
            worker.reply_sent(status);
        }
        one.dropped(DropReason::StrayReply);
        drop(two);
        let counts = statistics.sum();
        let replies: Vec<_> = counts.replies_sent.into_iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(replies, [("1xx", 2), ("2xx", 1), ("6xx", 1)]);
        assert_eq!(counts.datagrams_dropped["stray_reply"], 1);
    }

    #[test]
    fn two_workers_share_no_cache_line() {
        assert!(align_of::<WorkerStatistics>() >= 128);
    }
}
