//! The tables, and the operations on them.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use serde::Serialize;

use super::contact::Marks;
use super::save;
use super::shard::Shard;
use super::{Contact, NewContact, SaveError, SaveOutcome, SaveRequest};

/// What a store may hold and how it orders contacts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreSettings {
    /// How many addresses of record all tables together may hold; 0 for no limit.
    pub max_records: usize,
    /// How many bytes all tables together may take; 0 for no limit.
    pub max_memory: usize,
    /// Whether the contact that was set last comes first, whatever its `q`; else the highest `q` does, and among equals the
    /// one that was registered first.
    pub newest_first: bool,
}

/// A million addresses, 512 MiB, and the highest `q` first.
impl Default for StoreSettings {
    fn default() -> Self {
        Self { max_records: 1_000_000, max_memory: 512 << 20, newest_first: false }
    }
}

/// All tables of contacts, shared by all workers.
///
/// Each operation locks one small part of one table, for the time of a few comparisons and copies
/// of pointers. A table comes into being with the first `save`.
#[derive(Debug)]
pub struct Location {
    tables: RwLock<BTreeMap<Box<str>, Arc<Table>>>,
    shards: usize,
    /// The part at which the next `expire` begins, so that a small budget reaches all in turn.
    cursor: AtomicUsize,
    ledger: Ledger,
}

impl Location {
    /// No tables yet; a table will have 128 parts.
    pub fn new() -> Self {
        Self::with_settings(StoreSettings::default())
    }

    /// Like [`new`](Self::new), with other settings than the default ones.
    pub fn with_settings(settings: StoreSettings) -> Self {
        Self { tables: RwLock::default(), shards: 128, cursor: AtomicUsize::new(0), ledger: Ledger::new(settings) }
    }

    /// Like [`new`](Self::new), with another number of parts, which is raised to a power of two.
    pub fn with_shards(shards: usize) -> Self {
        Self { shards: shards.clamp(1, MAX_SHARDS).next_power_of_two(), ..Self::new() }
    }

    /// Applies a REGISTER to an address of record, wholly or not at all.
    ///
    /// # Errors
    ///
    /// Why the request breaks a rule, or that there is no room for another contact; nothing has changed then.
    pub fn save(&self, table: &str, aor: &[u8], request: &SaveRequest<'_>) -> Result<SaveOutcome, SaveError> {
        let table = self.table(table);
        let hash = table.hash(aor);
        let outcome = table.shard(hash).save(hash, aor, request, &self.ledger);
        if matches!(outcome, Err(SaveError::Full)) {
            table.refused.fetch_add(1, Ordering::Relaxed);
        }
        outcome
    }

    /// Puts the contacts bound at `now` into `out`, in the order to try them, and counts them.
    ///
    /// The order is that of the [settings](StoreSettings::newest_first); no `q` comes last. What `out` held before is gone.
    /// An unknown table has no contacts.
    pub fn lookup(&self, table: &str, aor: &[u8], now: u64, out: &mut Vec<Arc<Contact>>) -> usize {
        out.clear();
        if let Some(table) = self.existing(table) {
            let hash = table.hash(aor);
            save::sorted(table.shard(hash).contacts_of(hash, aor), now, self.ledger.newest_first(), out);
        }
        out.len()
    }

    /// What [`find`](Self::find) finds an address of record by, for as long as this process runs.
    pub fn address(&self, table: &str, aor: &[u8]) -> u64 {
        self.table(table).hash(aor)
    }

    /// Finds the contact of that number ([`Contact::id`]) where only [`SaveOutcome::address`] is known.
    pub fn find(&self, table: &str, address: u64, id: u64, now: u64) -> Option<Arc<Contact>> {
        let table = self.existing(table)?;
        let shard = table.shard(address);
        shard.find(address, id).filter(|contact| !contact.is_expired(now)).cloned()
    }

    /// Whether any contact is bound at `now`.
    pub fn is_registered(&self, table: &str, aor: &[u8], now: u64) -> bool {
        self.existing(table).is_some_and(|table| {
            let hash = table.hash(aor);
            table.shard(hash).contacts_of(hash, aor).iter().any(|contact| !contact.is_expired(now))
        })
    }

    /// Removes all contacts of an address of record and counts them, expired ones included.
    pub fn remove(&self, table: &str, aor: &[u8]) -> usize {
        self.existing(table).map_or(0, |table| {
            let hash = table.hash(aor);
            table.shard(hash).remove(hash, aor, &self.ledger)
        })
    }

    /// When the next contact may expire, in seconds of the store's clock; `u64::MAX` if there is none.
    pub fn next_due(&self) -> u64 {
        self.ledger.due.load(Ordering::Relaxed)
    }

    /// Removes expired contacts, looking at no more than `budget` addresses of record.
    ///
    /// While nothing is due this reads one number, so a timer may call it often; when [`Expired::more`] says so, the next
    /// call goes on where this one stopped.
    pub fn expire(&self, now: u64, budget: usize) -> Expired {
        if now < self.next_due() {
            return Expired::default();
        }
        // Who comes now finds nothing due; what is left, and what is added meanwhile, says so itself.
        self.ledger.due.swap(u64::MAX, Ordering::AcqRel);
        let tables: Vec<Arc<Table>> = {
            let tables = self.tables.read().unwrap_or_else(PoisonError::into_inner);
            tables.values().cloned().collect()
        };
        let total = tables.len() * self.shards;
        let mut result = Expired::default();
        let start = self.cursor.load(Ordering::Relaxed);
        for step in 0..total {
            if result.looked >= budget {
                result.more = true;
                self.ledger.due_at(now);
                break;
            }
            let at = start.wrapping_add(step) % total;
            let Some(table) = tables.get(at / self.shards) else { continue };
            let Some(shard) = table.shards.get(at % self.shards) else { continue };
            let (looked, removed) = lock(shard).expire(now, budget - result.looked, &self.ledger);
            table.expired.fetch_add(removed as u64, Ordering::Relaxed);
            result.looked += looked;
            result.removed += removed;
            // A part that used the budget up may have more; it is the first of the next call.
            self.cursor.store(at, Ordering::Relaxed);
        }
        result
    }

    /// The names of the tables, sorted.
    pub fn tables(&self) -> Vec<String> {
        let tables = self.tables.read().unwrap_or_else(PoisonError::into_inner);
        tables.keys().map(|name| name.to_string()).collect()
    }

    /// Counts what a table holds; `None` if there is no such table.
    ///
    /// The parts are counted one after the other, so changes meanwhile may be half in it.
    pub fn stats(&self, table: &str) -> Option<TableStats> {
        let table = self.existing(table)?;
        let mut stats = TableStats {
            expired: table.expired.load(Ordering::Relaxed),
            refused: table.refused.load(Ordering::Relaxed),
            ..TableStats::default()
        };
        for shard in &table.shards {
            let (records, contacts, bytes) = lock(shard).counts();
            stats.records += records;
            stats.contacts += contacts;
            stats.bytes += bytes;
        }
        Some(stats)
    }

    fn existing(&self, name: &str) -> Option<Arc<Table>> {
        let tables = self.tables.read().unwrap_or_else(PoisonError::into_inner);
        tables.get(name).cloned()
    }

    fn table(&self, name: &str) -> Arc<Table> {
        if let Some(table) = self.existing(name) {
            return table;
        }
        let mut tables = self.tables.write().unwrap_or_else(PoisonError::into_inner);
        let table = tables.entry(Box::from(name)).or_insert_with(|| Arc::new(Table::new(self.shards)));
        Arc::clone(table)
    }
}

impl Default for Location {
    fn default() -> Self {
        Self::new()
    }
}

/// What one call of [`Location::expire`] did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Expired {
    /// Addresses of record that were looked at.
    pub looked: usize,
    /// Contacts that were removed.
    pub removed: usize,
    /// The budget ran out before all parts were visited.
    pub more: bool,
}

/// What a table holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct TableStats {
    /// Addresses of record.
    pub records: usize,
    /// Contacts, with those that have expired and wait for [`Location::expire`].
    pub contacts: usize,
    /// Contacts that [`Location::expire`] has removed so far.
    pub expired: u64,
    /// The bytes that addresses and contacts take.
    pub bytes: usize,
    /// Requests that were refused so far because the store was full.
    pub refused: u64,
}

/// What all tables together hold, as far as limits and timers must know it.
#[derive(Debug)]
pub(super) struct Ledger {
    settings: StoreSettings,
    records: AtomicUsize,
    bytes: AtomicUsize,
    ids: AtomicU64,
    hasher: foldhash::quality::RandomState,
    /// When the next contact may expire.
    due: AtomicU64,
}

impl Ledger {
    pub(super) fn new(settings: StoreSettings) -> Self {
        Self {
            settings,
            records: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            ids: AtomicU64::new(1),
            hasher: foldhash::quality::RandomState::default(),
            due: AtomicU64::new(u64::MAX),
        }
    }

    pub(super) fn newest_first(&self) -> bool {
        self.settings.newest_first
    }

    /// The number of a new binding.
    pub(super) fn next_id(&self) -> u64 {
        self.ids.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn marks(&self, new: &NewContact<'_>) -> Marks {
        Marks::new(new, &self.hasher)
    }

    /// Whether an address of record may grow so.
    ///
    /// Two workers that ask at once may both be let in: a limit is passed by a request a worker at most.
    pub(super) fn admit(&self, new_record: bool, before: usize, after: usize) -> Result<(), SaveError> {
        let StoreSettings { max_records, max_memory, .. } = self.settings;
        let no_record = new_record && max_records > 0 && self.records.load(Ordering::Relaxed) >= max_records;
        let bytes = self.bytes.load(Ordering::Relaxed).saturating_sub(before).saturating_add(after);
        let no_memory = after > before && max_memory > 0 && bytes > max_memory;
        if no_record || no_memory { Err(SaveError::Full) } else { Ok(()) }
    }

    pub(super) fn record_added(&self) {
        self.records.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn record_removed(&self) {
        self.records.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn bytes_changed(&self, before: usize, after: usize) {
        // It wraps around where it shrinks, as the addition does.
        self.bytes.fetch_add(after.wrapping_sub(before), Ordering::Relaxed);
    }

    /// Notes that something may expire then. Who notes it holds the lock of the part that it is in: an `expire` that begins
    /// meanwhile comes to that part later and finds it itself.
    pub(super) fn due_at(&self, at: u64) {
        // Mostly something else is due before it, and every worker reads this number in every turn.
        if at < self.due.load(Ordering::Acquire) {
            self.due.fetch_min(at, Ordering::AcqRel);
        }
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }
}

const MAX_SHARDS: usize = 65_536;

#[derive(Debug)]
struct Table {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
    expired: AtomicU64,
    refused: AtomicU64,
}

impl Table {
    fn new(shards: usize) -> Self {
        Self {
            shards: (0..shards).map(|_| Mutex::new(Shard::new())).collect(),
            hasher: RandomState::new(),
            expired: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }

    fn hash(&self, aor: &[u8]) -> u64 {
        self.hasher.hash_one(aor)
    }

    /// The part that holds the address of record with that hash, locked.
    fn shard(&self, hash: u64) -> MutexGuard<'_, Shard> {
        // The parts' own tables go by the lowest and the highest bits. The number of parts is a power of two and never 0, so
        // the mask gives one of them.
        let index = (hash >> 32) as usize & (self.shards.len() - 1);
        lock(&self.shards[index])
    }
}

/// A panic while the lock was held left the part as it was: it is changed only when nothing can fail any more.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}
