//! Where all workers find a transaction again.

use std::{
    fmt,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use foldhash::quality::RandomState as KeyHasher;
use hashbrown::{HashTable, hash_table::Entry};
use serde::Serialize;

use super::{
    key::ServerKey,
    token::{BranchToken, TransactionId},
};

const SHARDS: usize = 256;

/// All transactions of the process, found by the caller's key or by our own branch token.
///
/// `T` is what the owner keeps for a transaction: the [`Transaction`](super::Transaction) and whatever belongs to it.
/// The table's own locks are held for a look-up only; a transaction's lock is taken with [`Handle::lock`] and may be
/// given back at any time, so that no lock is held while a script runs.
pub struct TransactionTable<T> {
    by_key: Box<[Shard<T>]>,
    by_number: Box<[Shard<T>]>,
    /// The INVITEs answered with a 2xx, by the hash of what its ACK repeats.
    by_dialog: Box<[Shard<T>]>,
    /// Places keys; seeded at random.
    places: KeyHasher,
    /// Makes secrets: nobody can guess them who has seen others.
    secrets: RandomState,
    next: AtomicU64,
    retransmitted: AtomicU64,
    removed: AtomicU64,
}

/// Handles with the hash that places them.
type Shard<T> = Mutex<HashTable<(u64, Handle<T>)>>;

/// One transaction in the table.
///
/// It stays usable after its removal; whoever still holds it then finds the transaction finished.
pub struct Handle<T> {
    pub(super) slot: Arc<Slot<T>>,
}

/// What a handle leads to.
pub(super) struct Slot<T> {
    id: TransactionId,
    key: ServerKey,
    /// The key's hash.
    place: u64,
    payload: Mutex<T>,
    /// Its place in `by_dialog`; 0 for none.
    dialog: AtomicU64,
    /// The deadline of its one live entry in a timer queue; the greatest value for none.
    pub(super) scheduled: AtomicU64,
}

/// What an insertion found.
#[derive(Debug)]
pub enum Inserted<T> {
    /// The transaction is new and this is it.
    New(Handle<T>),
    /// Another worker has it already: the request is a retransmission.
    Existing(Handle<T>),
}

/// Counters since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// Transactions created.
    pub created: u64,
    /// Transactions removed.
    pub removed: u64,
    /// Transactions in the table.
    pub current: u64,
    /// Requests whose transaction existed when it was to be inserted.
    pub retransmitted: u64,
}

impl<T> TransactionTable<T> {
    /// An empty table.
    pub fn new() -> Self {
        Self {
            by_key: (0..SHARDS).map(|_| Mutex::default()).collect(),
            by_number: (0..SHARDS).map(|_| Mutex::default()).collect(),
            by_dialog: (0..SHARDS).map(|_| Mutex::default()).collect(),
            places: KeyHasher::default(),
            secrets: RandomState::new(),
            next: AtomicU64::new(0),
            retransmitted: AtomicU64::new(0),
            removed: AtomicU64::new(0),
        }
    }

    /// Finds the transaction of a caller's request.
    pub fn find(&self, key: &ServerKey) -> Option<Handle<T>> {
        self.find_placed(self.places.hash_one(key), key)
    }

    /// Finds the transaction that a reply's branch token names; a token with a wrong secret names none.
    pub fn find_branch(&self, token: &BranchToken) -> Option<Handle<T>> {
        self.find_id(token.transaction)
    }

    /// Finds a transaction by its identity.
    pub fn find_id(&self, id: TransactionId) -> Option<Handle<T>> {
        let same = |(_, handle): &(u64, Handle<T>)| handle.id() == id;
        let (_, handle) = lock(self.number_shard(id.number)).find(spread(id.number), same)?.clone();
        Some(handle)
    }

    /// Finds the INVITE that was put down under the hash of a dialog.
    pub fn find_accepted(&self, dialog: u64) -> Option<Handle<T>> {
        let same = |(place, _): &(u64, Handle<T>)| *place == dialog;
        let (_, handle) = lock(self.dialog_shard(dialog)).find(dialog, same)?.clone();
        Some(handle)
    }

    /// Puts an INVITE that is answered with a 2xx down under the hash of what its ACK repeats, once.
    ///
    /// The hash must be one that nobody can choose. To be called under the transaction's lock and only as long as it is not
    /// finished: what comes after the removal would stay for ever.
    pub fn set_accepted(&self, handle: &Handle<T>, dialog: u64) {
        let dialog = dialog.max(1);
        if handle.slot.dialog.compare_exchange(0, dialog, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            lock(self.dialog_shard(dialog)).insert_unique(dialog, (dialog, handle.clone()), |(dialog, _)| *dialog);
        }
    }

    /// Makes a transaction and inserts it, unless the key has one already.
    ///
    /// `make` runs without a lock; when two workers race, the slower one's result is dropped.
    pub fn insert(&self, key: ServerKey, make: impl FnOnce(TransactionId) -> T) -> Inserted<T> {
        let place = self.places.hash_one(&key);
        if let Some(handle) = self.find_placed(place, &key) {
            return self.existing(handle);
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let id = TransactionId { number, secret: self.secrets.hash_one(number) };
        let handle = Handle {
            slot: Arc::new(Slot {
                id,
                key,
                place,
                payload: Mutex::new(make(id)),
                dialog: AtomicU64::new(0),
                scheduled: AtomicU64::new(u64::MAX),
            }),
        };
        let mut shard = lock(self.key_shard(place));
        let same = |(_, other): &(u64, Handle<T>)| other.slot.key == handle.slot.key;
        match shard.entry(place, same, |(place, _)| *place) {
            Entry::Occupied(entry) => {
                let (_, handle) = entry.get().clone();
                drop(shard);
                // The number stays unused; it counts as created and removed so that the difference is right.
                self.removed.fetch_add(1, Ordering::Relaxed);
                self.existing(handle)
            }
            Entry::Vacant(entry) => {
                // Within the key's lock, so that whoever finds it by key can be answered by token.
                let spread = spread(number);
                lock(self.number_shard(number)).insert_unique(spread, (spread, handle.clone()), |(spread, _)| *spread);
                entry.insert((place, handle.clone()));
                Inserted::New(handle)
            }
        }
    }

    /// Removes a transaction; `false` if it was removed before.
    pub fn remove(&self, handle: &Handle<T>) -> bool {
        let number = handle.slot.id.number;
        let removed = take(self.number_shard(number), spread(number), handle).is_some();
        if removed {
            let place = handle.slot.place;
            // The payload is dropped after the lock.
            drop(take(self.key_shard(place), place, handle));
            match handle.slot.dialog.load(Ordering::Acquire) {
                0 => {}
                dialog => drop(take(self.dialog_shard(dialog), dialog, handle)),
            }
            self.removed.fetch_add(1, Ordering::Relaxed);
        }
        removed
    }

    /// Counts the transactions that a condition holds for.
    ///
    /// Looks at each under its own lock and no other, so it may be slow but holds nobody up; not for every message.
    pub fn count(&self, mut condition: impl FnMut(&T) -> bool) -> usize {
        let shards = self.by_number.iter();
        shards
            .flat_map(|shard| lock(shard).iter().map(|(_, handle)| handle.clone()).collect::<Vec<_>>())
            .filter(|handle| condition(&handle.lock()))
            .count()
    }

    /// The counters.
    pub fn stats(&self) -> Stats {
        // Removed first, so that a transaction made in between cannot make the difference negative.
        let removed = self.removed.load(Ordering::Acquire);
        let created = self.next.load(Ordering::Acquire);
        Stats {
            created,
            removed,
            current: created.saturating_sub(removed),
            retransmitted: self.retransmitted.load(Ordering::Relaxed),
        }
    }

    fn existing(&self, handle: Handle<T>) -> Inserted<T> {
        self.retransmitted.fetch_add(1, Ordering::Relaxed);
        Inserted::Existing(handle)
    }

    fn find_placed(&self, place: u64, key: &ServerKey) -> Option<Handle<T>> {
        let (_, handle) = lock(self.key_shard(place)).find(place, |(_, handle)| handle.slot.key == *key)?.clone();
        Some(handle)
    }

    fn key_shard(&self, place: u64) -> &Shard<T> {
        // Other bits than the ones by which a table finds its entries: the lowest and the highest.
        &self.by_key[(place >> 32) as usize % SHARDS]
    }

    fn dialog_shard(&self, dialog: u64) -> &Shard<T> {
        &self.by_dialog[(dialog >> 32) as usize % SHARDS]
    }

    fn number_shard(&self, number: u64) -> &Shard<T> {
        &self.by_number[number as usize % SHARDS]
    }
}

/// Takes a transaction out of a shard.
fn take<T>(shard: &Shard<T>, place: u64, handle: &Handle<T>) -> Option<Handle<T>> {
    let mut shard = lock(shard);
    let entry = shard.find_entry(place, |(_, other)| Arc::ptr_eq(&other.slot, &handle.slot)).ok()?;
    let ((_, handle), _) = entry.remove();
    Some(handle)
}

/// Spreads numbers that follow each other over the bits of a hash; those of one shard differ in the higher bits only.
fn spread(number: u64) -> u64 {
    let product = u128::from(number).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (product >> 64) as u64 ^ product as u64
}

impl<T> Default for TransactionTable<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> fmt::Debug for TransactionTable<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransactionTable").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

impl<T> Handle<T> {
    /// The identity, for the branch parameters of its requests.
    pub fn id(&self) -> TransactionId {
        self.slot.id
    }

    /// How many bytes the table takes for it, without what belongs to it on the heap.
    pub fn memory(&self) -> usize {
        // Three tables, each filled by two thirds on the average, and an entry in a timer queue.
        const ENTRIES: usize = 4 * size_of::<(u64, Handle<()>)>() + 32;
        size_of::<Slot<T>>() + self.slot.key.memory() + ENTRIES
    }

    /// Locks the transaction; never keep the guard while a script runs.
    ///
    /// A panic of somebody who held it does not close the transaction to everybody else.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        lock(&self.slot.payload)
    }
}

impl<T> Clone for Handle<T> {
    fn clone(&self) -> Self {
        Self { slot: Arc::clone(&self.slot) }
    }
}

impl<T> fmt::Debug for Handle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Handle").field(&self.slot.id).finish()
    }
}

/// Locks regardless of poison: what the maps hold is whole at every point where a panic could occur.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn key(branch: &[u8]) -> ServerKey {
        ServerKey::of_branch(branch)
    }

    fn new<T>(inserted: Inserted<T>) -> Handle<T> {
        match inserted {
            Inserted::New(handle) => handle,
            Inserted::Existing(handle) => panic!("{handle:?} existed"),
        }
    }

    #[test]
    fn a_transaction_is_found_by_key_and_by_token_until_it_is_removed() {
        let table = TransactionTable::new();
        let handle = new(table.insert(key(b"z9hG4bKa"), |_| 7));
        let token = BranchToken::decode(&BranchToken::new(handle.id(), 3).encode()).unwrap();
        assert_eq!(*table.find(&key(b"z9hG4bKa")).unwrap().lock(), 7);
        assert_eq!(*table.find_branch(&token).unwrap().lock(), 7);
        assert!(table.find(&key(b"z9hG4bKb")).is_none());

        assert!(table.remove(&handle));
        assert!(!table.remove(&handle));
        assert!(table.find(&key(b"z9hG4bKa")).is_none());
        assert!(table.find_branch(&token).is_none());
        assert_eq!(table.stats(), Stats { created: 1, removed: 1, current: 0, retransmitted: 0 });
    }

    #[test]
    fn an_accepted_invite_is_found_by_its_dialog_until_it_is_removed() {
        let table = TransactionTable::new();
        let handle = new(table.insert(key(b"z9hG4bKa"), |_| 7));
        let other = new(table.insert(key(b"z9hG4bKb"), |_| 8));
        assert!(table.find_accepted(5).is_none());
        table.set_accepted(&handle, 5);
        table.set_accepted(&handle, 6);
        assert_eq!(*table.find_accepted(5).unwrap().lock(), 7);
        assert!(table.find_accepted(6).is_none(), "the first one counts");
        table.set_accepted(&other, 5);
        assert!(table.remove(&handle));
        assert_eq!(*table.find_accepted(5).unwrap().lock(), 8);
        assert!(table.remove(&other));
        assert!(table.find_accepted(5).is_none());
    }

    #[test]
    fn a_guessed_token_finds_nothing() {
        let table = TransactionTable::new();
        let id = new(table.insert(key(b"z9hG4bKa"), |_| ())).id();
        let guess = TransactionId { secret: id.secret ^ 1, ..id };
        assert!(table.find_branch(&BranchToken::new(guess, 0)).is_none());
    }

    #[test]
    fn secrets_differ_between_transactions_and_tables() {
        let one = TransactionTable::new();
        let two = TransactionTable::new();
        let a = new(one.insert(key(b"z9hG4bKa"), |_| ())).id();
        let b = new(one.insert(key(b"z9hG4bKb"), |_| ())).id();
        let c = new(two.insert(key(b"z9hG4bKa"), |_| ())).id();
        assert_ne!(a.secret, b.secret);
        assert_eq!(a.number, c.number);
        assert_ne!(a.secret, c.secret);
    }

    #[test]
    fn removing_an_old_transaction_leaves_a_new_one_of_the_same_key() {
        let table = TransactionTable::new();
        let old = new(table.insert(key(b"z9hG4bKa"), |_| 1));
        table.remove(&old);
        let _new = new(table.insert(key(b"z9hG4bKa"), |_| 2));
        assert!(!table.remove(&old));
        assert_eq!(*table.find(&key(b"z9hG4bKa")).unwrap().lock(), 2);
    }

    #[test]
    fn of_workers_that_race_exactly_one_creates() {
        let table = TransactionTable::new();
        for round in 0..50u32 {
            let branch = format!("z9hG4bK{round}");
            let created: usize = thread::scope(|scope| {
                let workers: Vec<_> = (0..4)
                    .map(|_| {
                        scope.spawn(|| {
                            let inserted = table.insert(key(branch.as_bytes()), |_| ());
                            usize::from(matches!(inserted, Inserted::New(_)))
                        })
                    })
                    .collect();
                workers.into_iter().map(|w| w.join().unwrap()).sum()
            });
            assert_eq!(created, 1);
        }
        let stats = table.stats();
        assert_eq!((stats.current, stats.retransmitted), (50, 150));
    }

    #[test]
    fn a_panic_under_the_lock_does_not_close_the_transaction() {
        let table = TransactionTable::new();
        let handle = new(table.insert(key(b"z9hG4bKa"), |_| 7));
        let held = handle.clone();
        let died = thread::spawn(move || {
            let _guard = held.lock();
            panic!("on purpose");
        });
        assert!(died.join().is_err());
        assert_eq!(*handle.lock(), 7);
    }
}
