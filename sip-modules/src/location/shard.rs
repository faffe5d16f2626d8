//! A part of a table, behind one lock.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use hashbrown::HashTable;

use super::Contact;
use super::contact::ALLOCATION;
use super::save::{self, SaveError, SaveKind, SaveOutcome, SaveRequest};
use super::store::Ledger;

/// Addresses of record with their contacts, and when to look for expired ones.
///
/// The caller hashes the addresses, with the table's hasher.
#[derive(Debug)]
pub(super) struct Shard {
    records: HashTable<Record>,
    /// The next moment each record is worth a look, and the record's hash; entries may be out of date, never missing.
    due: BinaryHeap<Reverse<Due>>,
    contacts: usize,
    bytes: usize,
}

/// A moment and the hash of an address of record. Two addresses may share a hash; then they have an entry each, and whichever
/// is due at the moment is found first.
type Due = (u64, u64);

impl Shard {
    pub(super) fn new() -> Self {
        Self { records: HashTable::new(), due: BinaryHeap::new(), contacts: 0, bytes: 0 }
    }

    pub(super) fn save(
        &mut self,
        hash: u64,
        aor: &[u8],
        request: &SaveRequest<'_>,
        ledger: &Ledger,
    ) -> Result<SaveOutcome, SaveError> {
        let record = self.records.find(hash, |record| *record.aor == *aor);
        let current = record.map(|record| &record.contacts[..]).unwrap_or_default();
        let change = save::apply(current, request, ledger)?;
        let contacts = match change.contacts {
            Some(changed) => {
                if change.kind == SaveKind::Inserted {
                    let before = record.map_or(0, |record| bytes_of(aor, &record.contacts));
                    ledger.admit(record.is_none(), before, bytes_of(aor, &changed))?;
                }
                let mut contacts = Vec::with_capacity(changed.len());
                save::sorted(&changed, request.now, ledger.newest_first(), &mut contacts);
                self.put(hash, aor, changed, ledger);
                contacts
            }
            None => {
                let mut contacts = Vec::with_capacity(current.len());
                save::sorted(current, request.now, ledger.newest_first(), &mut contacts);
                contacts
            }
        };
        Ok(SaveOutcome { kind: change.kind, contacts, address: hash })
    }

    pub(super) fn contacts_of(&self, hash: u64, aor: &[u8]) -> &[Arc<Contact>] {
        let record = self.records.find(hash, |record| *record.aor == *aor);
        record.map(|record| &record.contacts[..]).unwrap_or_default()
    }

    /// The contact with that number, of an address of record of which only the hash is known.
    pub(super) fn find(&self, hash: u64, id: u64) -> Option<&Arc<Contact>> {
        let has_it = |record: &Record| record.contacts.iter().any(|contact| contact.id() == id);
        // The table looks at a part of the hash only.
        let record = self.records.find(hash, |record| record.hash == hash && has_it(record))?;
        record.contacts.iter().find(|contact| contact.id() == id)
    }

    /// Forgets an address of record and tells how many contacts it had.
    pub(super) fn remove(&mut self, hash: u64, aor: &[u8], ledger: &Ledger) -> usize {
        let Ok(entry) = self.records.find_entry(hash, |record| *record.aor == *aor) else { return 0 };
        let (record, _) = entry.remove();
        self.forget(&record, ledger)
    }

    /// Takes a record that was removed off the counts, and tells how many contacts it had.
    fn forget(&mut self, record: &Record, ledger: &Ledger) -> usize {
        let bytes = bytes_of(&record.aor, &record.contacts);
        self.contacts -= record.contacts.len();
        self.bytes -= bytes;
        ledger.record_removed();
        ledger.bytes_changed(bytes, 0);
        record.contacts.len()
    }

    /// Removes expired contacts, looking at no more than `budget` records.
    ///
    /// Gives how many records it looked at and how many contacts it removed.
    pub(super) fn expire(&mut self, now: u64, budget: usize, ledger: &Ledger) -> (usize, usize) {
        let mut looked = 0;
        let mut removed = 0;
        while looked < budget {
            match self.due.peek() {
                Some(Reverse((at, _))) if *at <= now => {}
                _ => break,
            }
            let Some(Reverse((at, hash))) = self.due.pop() else { break };
            looked += 1;
            // If another entry, pushed when a contact with an earlier end came, has taken over, there is none.
            let found = self.records.find_entry(hash, |record| record.hash == hash && record.due == at);
            let Ok(mut entry) = found else { continue };
            let record = entry.get_mut();
            let kept: Vec<_> = record.contacts.iter().filter(|contact| !contact.is_expired(now)).cloned().collect();
            let Some(next) = earliest(&kept) else {
                let (record, _) = entry.remove();
                removed += self.forget(&record, ledger);
                continue;
            };
            let (before, after) = (bytes_of(&record.aor, &record.contacts), bytes_of(&record.aor, &kept));
            let gone = record.contacts.len() - kept.len();
            record.contacts = kept.into_boxed_slice();
            record.due = next;
            self.due.push(Reverse((next, hash)));
            removed += gone;
            self.contacts -= gone;
            self.bytes = self.bytes - before + after;
            ledger.bytes_changed(before, after);
        }
        if let Some(Reverse((at, _))) = self.due.peek() {
            ledger.due_at(*at);
        }
        (looked, removed)
    }

    /// The number of addresses of record and of contacts, expired ones included, and the bytes that they take.
    pub(super) fn counts(&self) -> (usize, usize, usize) {
        (self.records.len(), self.contacts, self.bytes)
    }

    fn put(&mut self, hash: u64, aor: &[u8], contacts: Vec<Arc<Contact>>, ledger: &Ledger) {
        let Some(next) = earliest(&contacts) else {
            self.remove(hash, aor, ledger);
            return;
        };
        let (added, after) = (contacts.len(), bytes_of(aor, &contacts));
        let contacts = contacts.into_boxed_slice();
        let mut before = 0;
        match self.records.find_mut(hash, |record| *record.aor == *aor) {
            Some(record) => {
                before = bytes_of(aor, &record.contacts);
                self.contacts -= record.contacts.len();
                record.contacts = contacts;
                // A later end needs no new entry: the old one will find it. That spares one a refresh.
                if next < record.due {
                    record.due = next;
                    self.due.push(Reverse((next, hash)));
                }
            }
            None => {
                self.due.push(Reverse((next, hash)));
                let record = Record { hash, aor: Box::from(aor), contacts, due: next };
                self.records.insert_unique(hash, record, |record| record.hash);
                ledger.record_added();
            }
        }
        self.contacts += added;
        self.bytes = self.bytes - before + after;
        ledger.bytes_changed(before, after);
        ledger.due_at(next);
        self.tidy();
    }

    /// Rebuilds the queue when most of it is out of date, as when somebody registers and leaves in a loop.
    fn tidy(&mut self) {
        if self.due.len() <= self.records.len() * 2 + 64 {
            return;
        }
        let entries = self.records.iter().map(|record| Reverse((record.due, record.hash)));
        self.due = entries.collect();
    }
}

/// The contacts of one address of record, never none.
///
/// They stand in the order in which they were registered, or, if the latest is to come first, last set.
#[derive(Debug)]
struct Record {
    /// Kept, so that nobody hashes the address again when the table grows.
    hash: u64,
    aor: Box<[u8]>,
    contacts: Box<[Arc<Contact>]>,
    /// The moment of this record's valid entry in the queue.
    due: u64,
}

fn earliest(contacts: &[Arc<Contact>]) -> Option<u64> {
    contacts.iter().map(|contact| contact.expires_at()).min()
}

/// How many bytes an address of record takes with its contacts: none if it has none, since then it is not kept.
fn bytes_of(aor: &[u8], contacts: &[Arc<Contact>]) -> usize {
    if contacts.is_empty() {
        return 0;
    }
    // A table is between half and seven eighths full, and so is the queue.
    let places = (size_of::<Record>() + size_of::<Reverse<Due>>()) * 3 / 2;
    let texts = aor.len() + size_of_val(contacts) + 2 * ALLOCATION;
    places + texts + contacts.iter().map(|contact| contact.memory()).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::location::{NewContact, StoreSettings};

    const HASH: u64 = 0x1234_5678_9abc_def0;

    struct Rig {
        shard: Shard,
        ledger: Ledger,
    }

    fn rig() -> Rig {
        Rig { shard: Shard::new(), ledger: Ledger::new(StoreSettings::default()) }
    }

    fn register(rig: &mut Rig, cseq: u32, now: u64, expires: u32) {
        register_as(b"a", rig, cseq, now, expires);
    }

    fn register_as(aor: &[u8], rig: &mut Rig, cseq: u32, now: u64, expires: u32) {
        let contacts = [NewContact { uri: b"sip:a@h", expires: Some(expires), ..NewContact::default() }];
        let request = SaveRequest { contacts: &contacts, call_id: b"c", cseq, now, ..SaveRequest::default() };
        rig.shard.save(HASH, aor, &request, &rig.ledger).unwrap();
    }

    #[test]
    fn a_refresh_adds_nothing_to_the_queue() {
        let mut rig = rig();
        for round in 0..1000 {
            register(&mut rig, round, u64::from(round) * 10, 3600);
        }
        assert_eq!(rig.shard.due.len(), 1);
        assert_eq!((rig.shard.counts().0, rig.shard.counts().1), (1, 1));
    }

    #[test]
    fn the_queue_stays_small_when_a_phone_comes_and_goes() {
        let mut rig = rig();
        for round in 0..1000 {
            register(&mut rig, round * 2, 5, 3600);
            register(&mut rig, round * 2 + 1, 5, 0);
        }
        assert!(rig.shard.due.len() <= 66, "{}", rig.shard.due.len());
        register(&mut rig, 5000, 5, 3600);
        assert_eq!(rig.shard.expire(5 + 3600, usize::MAX, &rig.ledger).1, 1);
        assert_eq!(rig.shard.counts(), (0, 0, 0));
        assert_eq!(rig.ledger.bytes(), 0);
        assert_eq!(rig.shard.due.len(), 0);
    }

    #[test]
    fn addresses_with_the_same_hash_expire_each_in_its_time() {
        let mut rig = rig();
        for (aor, expires) in [(b"a", 60), (b"b", 60), (b"c", 90)] {
            register_as(aor, &mut rig, 1, 0, expires);
        }
        register_as(b"b", &mut rig, 2, 0, 120);
        assert_eq!(rig.shard.expire(60, 10, &rig.ledger), (2, 1));
        let bound = |rig: &Rig| [b"a", b"b", b"c"].map(|aor| rig.shard.contacts_of(HASH, aor).len());
        assert_eq!(bound(&rig), [0, 1, 1]);
        assert_eq!(rig.shard.expire(90, 10, &rig.ledger), (1, 1));
        assert_eq!(bound(&rig), [0, 1, 0]);
        assert_eq!(rig.shard.expire(120, 10, &rig.ledger), (1, 1));
        assert_eq!((rig.shard.counts(), rig.shard.due.len()), ((0, 0, 0), 0));
    }

    #[test]
    fn an_earlier_end_is_found_in_time() {
        let mut rig = rig();
        register(&mut rig, 1, 0, 3600);
        register(&mut rig, 2, 0, 60);
        assert_eq!(rig.shard.expire(59, 10, &rig.ledger), (0, 0));
        assert_eq!(rig.shard.expire(60, 10, &rig.ledger), (1, 1));
    }
}
