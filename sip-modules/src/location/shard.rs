//! A part of a table, behind one lock.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::hash::RandomState;
use std::sync::Arc;

use super::Contact;
use super::save::{self, SaveError, SaveOutcome, SaveRequest};

/// Addresses of record with their contacts, and when to look for expired ones.
#[derive(Debug)]
pub(super) struct Shard {
    records: HashMap<Arc<[u8]>, Record, RandomState>,
    /// The next moment each record is worth a look; entries may be out of date, never missing.
    due: BinaryHeap<Reverse<(u64, Arc<[u8]>)>>,
    contacts: usize,
}

impl Shard {
    pub(super) fn new(hasher: RandomState) -> Self {
        Self { records: HashMap::with_hasher(hasher), due: BinaryHeap::new(), contacts: 0 }
    }

    pub(super) fn save(&mut self, aor: &[u8], request: &SaveRequest<'_>) -> Result<SaveOutcome, SaveError> {
        let current = self.records.get(aor).map(|record| &record.contacts[..]).unwrap_or_default();
        let change = save::apply(current, request)?;
        let mut contacts = Vec::new();
        match change.contacts {
            Some(changed) => {
                save::sorted(&changed, request.now, &mut contacts);
                self.put(aor, changed);
            }
            None => save::sorted(current, request.now, &mut contacts),
        }
        Ok(SaveOutcome { kind: change.kind, contacts })
    }

    pub(super) fn contacts_of(&self, aor: &[u8]) -> &[Arc<Contact>] {
        self.records.get(aor).map(|record| &record.contacts[..]).unwrap_or_default()
    }

    /// Forgets an address of record and tells how many contacts it had.
    pub(super) fn remove(&mut self, aor: &[u8]) -> usize {
        let removed = self.records.remove(aor).map_or(0, |record| record.contacts.len());
        self.contacts -= removed;
        removed
    }

    /// Removes expired contacts, looking at no more than `budget` records.
    ///
    /// Gives how many records it looked at and how many contacts it removed.
    pub(super) fn expire(&mut self, now: u64, budget: usize) -> (usize, usize) {
        let mut looked = 0;
        let mut removed = 0;
        while looked < budget {
            match self.due.peek() {
                Some(Reverse((at, _))) if *at <= now => {}
                _ => break,
            }
            let Some(Reverse((at, aor))) = self.due.pop() else { break };
            looked += 1;
            let Some(record) = self.records.get_mut(&aor) else { continue };
            // Another entry, pushed when a contact with an earlier end came, has taken over.
            if record.due != at {
                continue;
            }
            let before = record.contacts.len();
            let kept: Vec<_> = record.contacts.iter().filter(|contact| !contact.is_expired(now)).cloned().collect();
            removed += before - kept.len();
            match earliest(&kept) {
                Some(next) => {
                    record.contacts = kept.into_boxed_slice();
                    record.due = next;
                    self.due.push(Reverse((next, aor)));
                }
                None => {
                    self.records.remove(&aor);
                }
            }
        }
        self.contacts -= removed;
        (looked, removed)
    }

    /// The number of addresses of record and of contacts, expired ones included.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.records.len(), self.contacts)
    }

    fn put(&mut self, aor: &[u8], contacts: Vec<Arc<Contact>>) {
        let Some(next) = earliest(&contacts) else {
            self.remove(aor);
            return;
        };
        let added = contacts.len();
        let contacts = contacts.into_boxed_slice();
        match self.records.get_mut(aor) {
            Some(record) => {
                self.contacts -= record.contacts.len();
                record.contacts = contacts;
                // A later end needs no new entry: the old one will find it. That spares one a refresh.
                if next < record.due {
                    record.due = next;
                    let key = self.records.get_key_value(aor).map(|(key, _)| Arc::clone(key));
                    self.due.extend(key.map(|key| Reverse((next, key))));
                }
            }
            None => {
                let key: Arc<[u8]> = Arc::from(aor);
                self.records.insert(Arc::clone(&key), Record { contacts, due: next });
                self.due.push(Reverse((next, key)));
            }
        }
        self.contacts += added;
        self.tidy();
    }

    /// Rebuilds the queue when most of it is out of date, as when somebody registers and leaves in a loop.
    fn tidy(&mut self) {
        if self.due.len() <= self.records.len() * 2 + 64 {
            return;
        }
        let entries = self.records.iter().map(|(key, record)| Reverse((record.due, Arc::clone(key))));
        self.due = entries.collect();
    }
}

/// The contacts of one address of record, the latest change last; never none.
#[derive(Debug)]
struct Record {
    contacts: Box<[Arc<Contact>]>,
    /// The moment of this record's valid entry in the queue.
    due: u64,
}

fn earliest(contacts: &[Arc<Contact>]) -> Option<u64> {
    contacts.iter().map(|contact| contact.expires_at()).min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::location::NewContact;

    fn register(shard: &mut Shard, cseq: u32, now: u64, expires: u32) {
        let contacts = [NewContact { uri: b"sip:a@h", expires: Some(expires), ..NewContact::default() }];
        let request = SaveRequest { contacts: &contacts, call_id: b"c", cseq, now, ..SaveRequest::default() };
        shard.save(b"a", &request).unwrap();
    }

    #[test]
    fn a_refresh_adds_nothing_to_the_queue() {
        let mut shard = Shard::new(RandomState::new());
        for round in 0..1000 {
            register(&mut shard, round, u64::from(round) * 10, 3600);
        }
        assert_eq!(shard.due.len(), 1);
        assert_eq!(shard.counts(), (1, 1));
    }

    #[test]
    fn the_queue_stays_small_when_a_phone_comes_and_goes() {
        let mut shard = Shard::new(RandomState::new());
        for round in 0..1000 {
            register(&mut shard, round * 2, 5, 3600);
            register(&mut shard, round * 2 + 1, 5, 0);
        }
        assert!(shard.due.len() <= 66, "{}", shard.due.len());
        register(&mut shard, 5000, 5, 3600);
        assert_eq!(shard.expire(5 + 3600, usize::MAX).1, 1);
        assert_eq!(shard.counts(), (0, 0));
        assert_eq!(shard.due.len(), 0);
    }

    #[test]
    fn an_earlier_end_is_found_in_time() {
        let mut shard = Shard::new(RandomState::new());
        register(&mut shard, 1, 0, 3600);
        register(&mut shard, 2, 0, 60);
        assert_eq!(shard.expire(59, 10), (0, 0));
        assert_eq!(shard.expire(60, 10), (1, 1));
    }
}
