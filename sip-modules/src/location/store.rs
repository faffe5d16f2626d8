//! The tables, and the operations on them.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use serde::Serialize;

use super::save;
use super::shard::Shard;
use super::{Contact, SaveError, SaveOutcome, SaveRequest};

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
}

impl Location {
    /// No tables yet; a table will have 128 parts.
    pub fn new() -> Self {
        Self::with_shards(128)
    }

    /// Like [`new`](Self::new), with another number of parts, which is raised to a power of two.
    pub fn with_shards(shards: usize) -> Self {
        Self {
            tables: RwLock::default(),
            shards: shards.clamp(1, MAX_SHARDS).next_power_of_two(),
            cursor: AtomicUsize::new(0),
        }
    }

    /// Applies a REGISTER to an address of record, wholly or not at all.
    ///
    /// # Errors
    ///
    /// Why the request breaks a rule; nothing has changed then.
    pub fn save(&self, table: &str, aor: &[u8], request: &SaveRequest<'_>) -> Result<SaveOutcome, SaveError> {
        self.table(table).shard(aor).save(aor, request)
    }

    /// Puts the contacts bound at `now` into `out`, in the order to try them, and counts them.
    ///
    /// The highest `q` comes first, no `q` last; among equals the latest changed. What `out` held
    /// before is gone. An unknown table has no contacts.
    pub fn lookup(&self, table: &str, aor: &[u8], now: u64, out: &mut Vec<Arc<Contact>>) -> usize {
        out.clear();
        if let Some(table) = self.existing(table) {
            save::sorted(table.shard(aor).contacts_of(aor), now, out);
        }
        out.len()
    }

    /// Whether any contact is bound at `now`.
    pub fn is_registered(&self, table: &str, aor: &[u8], now: u64) -> bool {
        self.existing(table)
            .is_some_and(|table| table.shard(aor).contacts_of(aor).iter().any(|contact| !contact.is_expired(now)))
    }

    /// Removes all contacts of an address of record and counts them, expired ones included.
    pub fn remove(&self, table: &str, aor: &[u8]) -> usize {
        self.existing(table).map_or(0, |table| table.shard(aor).remove(aor))
    }

    /// Removes expired contacts, looking at no more than `budget` addresses of record.
    ///
    /// Only records that are due cost anything, so a timer may call this often; when
    /// [`Expired::more`] says so, the next call goes on where this one stopped.
    pub fn expire(&self, now: u64, budget: usize) -> Expired {
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
                break;
            }
            let at = start.wrapping_add(step) % total;
            let Some(table) = tables.get(at / self.shards) else { continue };
            let Some(shard) = table.shards.get(at % self.shards) else { continue };
            let (looked, removed) = lock(shard).expire(now, budget - result.looked);
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
        let mut stats = TableStats { expired: table.expired.load(Ordering::Relaxed), ..TableStats::default() };
        for shard in &table.shards {
            let (records, contacts) = lock(shard).counts();
            stats.records += records;
            stats.contacts += contacts;
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
}

const MAX_SHARDS: usize = 65_536;

#[derive(Debug)]
struct Table {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
    expired: AtomicU64,
}

impl Table {
    fn new(shards: usize) -> Self {
        Self {
            // Each part has keys of its own: with those of the table all its hashes would share their low bits.
            shards: (0..shards).map(|_| Mutex::new(Shard::new(RandomState::new()))).collect(),
            hasher: RandomState::new(),
            expired: AtomicU64::new(0),
        }
    }

    /// The part that holds the address of record, locked.
    fn shard(&self, aor: &[u8]) -> MutexGuard<'_, Shard> {
        // The number of parts is a power of two and never 0, so the mask gives one of them.
        let index = self.hasher.hash_one(aor) as usize & (self.shards.len() - 1);
        lock(&self.shards[index])
    }
}

/// A panic while the lock was held, in the caller's comparison of URIs, left the part as it was.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}
