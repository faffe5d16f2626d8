//! What all workers share.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use kemi_core::Registry;
use kemi_core::telemetry::ErrorLog;

use crate::location::Location;
use crate::message::Message;
use crate::proxy::failures::Failures;
use crate::proxy::statistics::Statistics;
use crate::proxy::{Cx, Identity, Lifecycle, ProxySettings, Routes, WorkerPool};
use crate::tm::{Call, Memory};
use crate::transaction::{TransactionTable, hex_digits};

/// The state of one proxy, shared by its workers.
#[derive(Debug)]
pub struct Shared {
    /// What the configuration sets.
    pub settings: ProxySettings,
    /// The sockets and names of the proxy.
    pub identity: Identity,
    /// What scripts may call.
    pub registry: Registry<Cx>,
    /// The callbacks.
    pub routes: Routes,
    /// All transactions.
    pub transactions: TransactionTable<Call>,
    /// What they hold.
    pub(crate) transaction_memory: Memory,
    /// All registered contacts.
    pub location: Location,
    /// Where errors of the script go.
    pub errors: ErrorLog,
    /// What the proxy is at.
    pub lifecycle: Lifecycle,
    /// The workers; none where a context is made by hand.
    pub(crate) pool: Arc<WorkerPool>,
    /// The requests whose script has failed lately.
    pub(crate) failures: Failures,
    /// What the workers count.
    pub(crate) statistics: Statistics,
    /// The preprocessor's definitions, for `kx.ifdef`.
    pub defines: BTreeMap<String, String>,
    in_progress: InProgress,
    hasher: RandomState,
    quick: foldhash::quality::RandomState,
    tag_prefix: String,
    start: Instant,
}

impl Shared {
    /// Creates the state of a proxy.
    #[must_use]
    pub fn new(
        settings: ProxySettings,
        identity: Identity,
        registry: Registry<Cx>,
        routes: Routes,
        defines: BTreeMap<String, String>,
    ) -> Shared {
        let hasher = RandomState::new();
        let tag_prefix = format!("{:016x}", hasher.hash_one("tag prefix"));
        Shared {
            transaction_memory: Memory::new(settings.transaction_memory),
            location: Location::with_settings(settings.registrar.store),
            settings,
            identity,
            registry,
            routes,
            transactions: TransactionTable::new(),
            errors: ErrorLog::new(),
            lifecycle: Lifecycle::default(),
            pool: Arc::default(),
            failures: Failures::default(),
            statistics: Statistics::default(),
            defines,
            in_progress: InProgress::default(),
            hasher,
            quick: foldhash::quality::RandomState::default(),
            tag_prefix,
            start: Instant::now(),
        }
    }

    /// Returns the milliseconds since the proxy started: the clock of all transactions.
    #[must_use]
    pub fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Returns the seconds since the proxy started: the clock of registrations, which nobody can set.
    #[must_use]
    pub fn registrar_now(&self) -> u64 {
        self.now() / 1000
    }

    /// Frees registrations that have run out; while there are none this reads one number, and no clock.
    pub(crate) fn expire_registrations(&self, budget: usize) {
        if self.location.next_due() != u64::MAX {
            self.location.expire(self.registrar_now(), budget);
        }
    }

    /// Makes the proxy older than it is; `false` if no clock goes back that far.
    pub(crate) fn age(&mut self, by: Duration) -> bool {
        let start = self.start.checked_sub(by);
        self.start = start.unwrap_or(self.start);
        start.is_some()
    }

    /// Returns the seconds since 1970.
    #[must_use]
    pub fn unix_now(&self) -> u64 {
        unix_now()
    }

    /// Hashes with the process's own secret.
    #[must_use]
    pub fn hash(&self, value: impl std::hash::Hash) -> u64 {
        self.hasher.hash_one(value)
    }

    /// Hashes to tell things apart within the process: faster, and not for the eyes of others.
    #[must_use]
    pub(crate) fn quick_hash(&self, value: impl std::hash::Hash) -> u64 {
        self.quick.hash_one(value)
    }

    /// Returns the To tag of a stateless reply: the same for every retransmission of the request, and recognisable in
    /// the ACK by [`is_own_tag`](Self::is_own_tag).
    #[must_use]
    pub fn stateless_tag(&self, request: &Message) -> String {
        let mut tag = String::with_capacity(self.tag_prefix.len() + 17);
        tag.push_str(&self.tag_prefix);
        tag.push('-');
        push_hex(&mut tag, self.identity_hash(request));
        tag
    }

    /// Returns the To tag of a reply that a transaction sends; not one that [`is_own_tag`](Self::is_own_tag) knows, since
    /// its ACK belongs to the transaction.
    #[must_use]
    pub fn stateful_tag(&self, request: &Message) -> String {
        let mut tag = String::with_capacity(16);
        push_hex(&mut tag, self.identity_hash(request));
        tag
    }

    /// Hashes what is the same in every retransmission of a request and in no other request but its CANCEL and ACK.
    pub(crate) fn identity_hash(&self, request: &Message) -> u64 {
        let from_tag = request.from_tag();
        let number = request.cseq().map(|cseq| cseq.number);
        // The many bytes quickly; the secret that nobody can tell from the result is for the few.
        self.hash(self.quick_hash((request.call_id(), from_tag, request.top_branch(), number, request.ruri())))
    }

    /// Returns whether a To tag is one of this proxy's stateless replies.
    #[must_use]
    pub fn is_own_tag(&self, tag: &[u8]) -> bool {
        tag.strip_prefix(self.tag_prefix.as_bytes()).is_some_and(|rest| rest.first() == Some(&b'-'))
    }
}

/// Appends sixteen hexadecimal digits.
fn push_hex(text: &mut String, number: u64) {
    let mut digits = [0; 16];
    digits.iter_mut().zip(hex_digits(number, 16)).for_each(|(place, digit)| *place = digit);
    text.push_str(std::str::from_utf8(&digits).unwrap_or_default());
}

/// The requests whose route runs right now, for `tmx.t_precheck_trans`.
///
/// There are no more of them than workers, so each part is a short list.
#[derive(Debug)]
struct InProgress {
    parts: Box<[Part]>,
}

/// Apart from the others, since each worker writes to another one.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Part(Mutex<Vec<u64>>);

impl Default for InProgress {
    fn default() -> InProgress {
        InProgress { parts: (0..32).map(|_| Part::default()).collect() }
    }
}

impl InProgress {
    fn part(&self, key: u64) -> MutexGuard<'_, Vec<u64>> {
        let index = key as usize % self.parts.len();
        self.parts[index].0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the seconds since 1970.
pub(crate) fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

/// Notes that a request's route runs; `false` if one for the same request runs already.
pub(crate) fn enter_progress(shared: &Shared, key: u64) -> bool {
    let mut part = shared.in_progress.part(key);
    let new = !part.contains(&key);
    if new {
        part.push(key);
    }
    new
}

/// Notes that it is over.
pub(crate) fn leave_progress(shared: &Shared, key: u64) {
    shared.in_progress.part(key).retain(|other| *other != key);
}
