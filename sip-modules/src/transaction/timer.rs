//! When which transaction must be looked at: a hierarchical timer wheel.

use std::{
    fmt, mem,
    sync::{
        Mutex, Weak,
        atomic::Ordering::{AcqRel, Acquire},
    },
};

use super::table::{Handle, Slot, lock};

/// The granularity in milliseconds.
const TICK: u64 = 10;
/// Slots a level; each level's slot is as long as the whole level below it.
const SLOTS: u64 = 256;
/// How many entries a slot keeps room for while it is empty: 3 MB in all at most.
const KEPT: usize = 256;
/// 2.56 s, 11 minutes and 46 hours; what lies beyond waits at the end of the last level.
const LEVELS: usize = 3;

/// Deadlines of transactions, usually one queue a worker.
///
/// The machine's own `next_deadline` is the truth; the queue only makes sure that somebody looks in time. A
/// transaction has at most one live entry, in whichever queue saw its earliest deadline. An entry never fires before its
/// deadline and at most 10 ms after it, given that [`advance`](Self::advance) is called.
///
/// All methods may be called from any thread.
pub struct TimerQueue<T> {
    wheel: Mutex<Wheel<T>>,
}

struct Wheel<T> {
    /// The tick up to which everything has fired.
    now: u64,
    levels: [Level<T>; LEVELS],
    len: usize,
}

struct Level<T> {
    slots: Vec<Vec<Entry<T>>>,
    /// One bit a slot that is not empty.
    occupied: [u64; SLOTS as usize / 64],
}

struct Entry<T> {
    deadline: u64,
    slot: Weak<Slot<T>>,
}

impl<T> TimerQueue<T> {
    /// An empty queue that begins at `now` milliseconds.
    pub fn new(now: u64) -> Self {
        let level = || Level { slots: (0..SLOTS).map(|_| Vec::new()).collect(), occupied: [0; SLOTS as usize / 64] };
        Self { wheel: Mutex::new(Wheel { now: now / TICK, levels: [level(), level(), level()], len: 0 }) }
    }

    /// Makes sure that the transaction is looked at when `deadline` has come.
    ///
    /// Does nothing if an earlier look is due already, here or in another worker's queue: that one asks the
    /// transaction for its next deadline. Gives `true` if this queue's next wake-up has become earlier, so that a
    /// thread asleep on it must be woken.
    pub fn schedule(&self, handle: &Handle<T>, deadline: u64) -> bool {
        // The greatest value stands for no entry.
        let deadline = deadline.min(u64::MAX - 1);
        if handle.slot.scheduled.fetch_min(deadline, AcqRel) <= deadline {
            return false;
        }
        let mut wheel = lock(&self.wheel);
        let before = wheel.next_tick();
        wheel.insert(Entry { deadline, slot: std::sync::Arc::downgrade(&handle.slot) });
        wheel.next_tick() < before || before.is_none()
    }

    /// Calls `fire` for every transaction whose deadline has come; gives their number.
    ///
    /// `fire` runs without a lock. It is expected to call the transaction's `timer` and to schedule its next deadline.
    pub fn advance(&self, now: u64, fire: &mut impl FnMut(Handle<T>)) -> usize {
        let due = lock(&self.wheel).advance(now);
        let mut fired = 0;
        for entry in due {
            let Some(slot) = entry.slot.upgrade() else {
                continue;
            };
            // An entry that was overtaken by an earlier deadline is stale.
            let live = slot.scheduled.compare_exchange(entry.deadline, u64::MAX, AcqRel, Acquire);
            if live.is_ok() {
                fired += 1;
                fire(Handle { slot });
            }
        }
        fired
    }

    /// When to call [`advance`](Self::advance) next, in milliseconds; `None` while the queue is empty.
    ///
    /// It may be too early, never too late.
    pub fn next_wakeup(&self) -> Option<u64> {
        Some(lock(&self.wheel).next_tick()?.saturating_mul(TICK))
    }

    /// How many entries it holds, stale ones included.
    pub fn len(&self) -> usize {
        lock(&self.wheel).len
    }

    /// Whether it holds no entry.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T> fmt::Debug for TimerQueue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TimerQueue").field("len", &self.len()).field("next_wakeup", &self.next_wakeup()).finish()
    }
}

impl<T> Wheel<T> {
    fn insert(&mut self, entry: Entry<T>) {
        // What is due already fires at the next tick; a slot of the current tick would wait a whole turn.
        let tick = entry.deadline.div_ceil(TICK).max(self.now + 1);
        let (level, slot) = self.place(tick);
        self.levels[level].push(slot, entry);
        self.len += 1;
    }

    /// The level and slot of a future tick.
    fn place(&self, tick: u64) -> (usize, u64) {
        for level in 0..LEVELS {
            let unit = unit(level);
            if tick / unit - self.now / unit < SLOTS {
                return (level, tick / unit % SLOTS);
            }
        }
        let last = unit(LEVELS - 1);
        (LEVELS - 1, (self.now / last + SLOTS - 1) % SLOTS)
    }

    fn advance(&mut self, now: u64) -> Vec<Entry<T>> {
        let target = now / TICK;
        let mut due = Vec::new();
        while let Some(tick) = self.next_tick().filter(|&tick| tick <= target) {
            self.now = tick;
            // From the top, so that what falls out of a coarse slot may fall into this very tick.
            for level in (0..LEVELS).rev() {
                let unit = unit(level);
                if tick % unit != 0 {
                    continue;
                }
                let slot = tick / unit % SLOTS;
                let mut entries = self.levels[level].take(slot);
                self.len -= entries.len();
                for entry in entries.drain(..) {
                    if entry.deadline.div_ceil(TICK) <= tick {
                        due.push(entry);
                    } else {
                        self.insert(entry);
                    }
                }
                self.levels[level].give_back(slot, entries);
            }
        }
        self.now = self.now.max(target);
        due
    }

    /// The next tick at which a slot must be emptied.
    fn next_tick(&self) -> Option<u64> {
        if self.len == 0 {
            return None;
        }
        (0..LEVELS)
            .filter_map(|level| {
                let unit = unit(level);
                let current = self.now / unit;
                let distance = self.levels[level].distance(current % SLOTS)?;
                Some((current + distance) * unit)
            })
            .min()
    }
}

impl<T> Level<T> {
    fn push(&mut self, slot: u64, entry: Entry<T>) {
        self.slots[slot as usize].push(entry);
        self.occupied[slot as usize / 64] |= 1 << (slot % 64);
    }

    fn take(&mut self, slot: u64) -> Vec<Entry<T>> {
        self.occupied[slot as usize / 64] &= !(1 << (slot % 64));
        mem::take(&mut self.slots[slot as usize])
    }

    /// Gives a slot the memory back that its entries had.
    fn give_back(&mut self, slot: u64, emptied: Vec<Entry<T>>) {
        let slot = &mut self.slots[slot as usize];
        if slot.capacity() == 0 && emptied.capacity() <= KEPT {
            *slot = emptied;
        }
    }

    /// How many slots after `from` the next occupied one lies, 1 to 256.
    fn distance(&self, from: u64) -> Option<u64> {
        let words = self.occupied.len() as u64;
        let start = (from + 1) % SLOTS;
        let (word, bit) = (start / 64, start % 64);
        for step in 0..=words {
            let index = ((word + step) % words) as usize;
            let mut bits = self.occupied[index];
            if step == 0 {
                bits &= u64::MAX << bit;
            } else if step == words {
                bits &= !(u64::MAX << bit);
            }
            if bits != 0 {
                let slot = index as u64 * 64 + u64::from(bits.trailing_zeros());
                return Some((slot + SLOTS - start) % SLOTS + 1);
            }
        }
        None
    }
}

/// Ticks a slot of the level lasts.
fn unit(level: usize) -> u64 {
    SLOTS.pow(level as u32)
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, thread, time::Instant};

    use proptest::prelude::*;

    use super::*;
    use crate::transaction::{Inserted, ServerKey, TransactionTable};

    fn handle(table: &TransactionTable<u64>, number: u64) -> Handle<u64> {
        let branch = format!("z9hG4bK{number}");
        let key = ServerKey::of_branch(branch.as_bytes());
        match table.insert(key, |_| number) {
            Inserted::New(handle) | Inserted::Existing(handle) => handle,
        }
    }

    fn fired(queue: &TimerQueue<u64>, now: u64) -> Vec<u64> {
        let mut fired = Vec::new();
        queue.advance(now, &mut |handle| fired.push(*handle.lock()));
        fired
    }

    #[test]
    fn a_deadline_fires_once_and_not_before_its_time() {
        let (table, queue) = (TransactionTable::new(), TimerQueue::new(1_000));
        let one = handle(&table, 1);
        assert!(queue.schedule(&one, 1_500));
        assert_eq!(queue.next_wakeup(), Some(1_500));
        assert!(fired(&queue, 1_499).is_empty());
        assert_eq!(fired(&queue, 1_500), [1]);
        assert!(fired(&queue, 9_000).is_empty());
        assert!(queue.is_empty());
        assert_eq!(queue.next_wakeup(), None);
    }

    #[test]
    fn a_deadline_already_past_fires_within_a_tick() {
        let (table, queue) = (TransactionTable::new(), TimerQueue::new(1_000));
        queue.schedule(&handle(&table, 1), 3);
        assert_eq!(fired(&queue, 1_000 + TICK), [1]);
    }

    #[test]
    fn an_earlier_deadline_replaces_a_later_one() {
        let (table, queue) = (TransactionTable::new(), TimerQueue::new(0));
        let one = handle(&table, 1);
        queue.schedule(&one, 32_000);
        assert!(queue.schedule(&one, 500), "the wake-up has become earlier");
        assert_eq!(fired(&queue, 500), [1]);
        assert!(fired(&queue, 40_000).is_empty(), "the old entry is stale");
    }

    #[test]
    fn a_later_deadline_waits_for_the_earlier_look() {
        let (table, queue) = (TransactionTable::new(), TimerQueue::new(0));
        let one = handle(&table, 1);
        queue.schedule(&one, 500);
        assert!(!queue.schedule(&one, 120_000));
        assert_eq!(queue.len(), 1);
        assert_eq!(fired(&queue, 500), [1]);
        queue.schedule(&one, 120_000);
        assert_eq!(fired(&queue, 120_000), [1]);
    }

    #[test]
    fn of_two_queues_the_one_with_the_earlier_deadline_fires() {
        let table = TransactionTable::new();
        let (one, two) = (TimerQueue::new(0), TimerQueue::new(0));
        let shared = handle(&table, 1);
        one.schedule(&shared, 5_000);
        two.schedule(&shared, 500);
        assert_eq!(fired(&two, 500), [1]);
        assert!(fired(&one, 5_000).is_empty());
    }

    #[test]
    fn a_removed_transaction_is_not_kept_alive() {
        let (table, queue) = (TransactionTable::new(), TimerQueue::new(0));
        let one = handle(&table, 1);
        queue.schedule(&one, 500);
        table.remove(&one);
        drop(one);
        assert!(fired(&queue, 500).is_empty());
        assert!(queue.is_empty());
    }

    #[test]
    fn a_deadline_beyond_the_last_level_is_kept() {
        let (table, queue) = (TransactionTable::new(), TimerQueue::new(0));
        let range = TICK * SLOTS.pow(LEVELS as u32);
        queue.schedule(&handle(&table, 1), 3 * range);
        assert!(fired(&queue, 3 * range - 1).is_empty());
        assert_eq!(fired(&queue, 3 * range), [1]);
    }

    #[test]
    fn what_fires_may_schedule_itself_again() {
        let (table, queue) = (TransactionTable::new(), TimerQueue::new(0));
        queue.schedule(&handle(&table, 1), 100);
        let mut times = Vec::new();
        while let Some(at) = queue.next_wakeup().filter(|&at| at < 1_000) {
            queue.advance(at, &mut |handle| {
                times.push(at);
                queue.schedule(&handle, at + 300);
            });
        }
        assert_eq!(times, [100, 400, 700]);
    }

    #[test]
    fn a_hundred_thousand_transactions_cost_little() {
        let (table, queue) = (TransactionTable::new(), TimerQueue::new(0));
        let handles: Vec<_> = (0..100_000).map(|i| handle(&table, i)).collect();
        let start = Instant::now();
        for (i, handle) in (0u64..).zip(&handles) {
            queue.schedule(handle, 500 + i % 32_000);
        }
        let mut count = 0;
        for now in (0..=33_000).step_by(TICK as usize) {
            count += queue.advance(now, &mut |_| ());
        }
        assert_eq!(count, handles.len());
        // Milliseconds even without optimisation; the bound only tells a wheel from a search through everything.
        assert!(start.elapsed().as_secs() < 10);
    }

    #[test]
    fn threads_may_schedule_while_another_advances() {
        let (table, queue) = (TransactionTable::new(), TimerQueue::new(0));
        let mut count = 0;
        thread::scope(|scope| {
            let workers: Vec<_> = (0..3u64)
                .map(|worker| {
                    let (table, queue) = (&table, &queue);
                    scope.spawn(move || {
                        for i in 0..1_000 {
                            let number = worker * 1_000 + i;
                            queue.schedule(&handle(table, number), number);
                        }
                    })
                })
                .collect();
            for now in 0..1_000 {
                count += queue.advance(now, &mut |_| ());
            }
            for worker in workers {
                worker.join().unwrap();
            }
        });
        count += queue.advance(10_000, &mut |_| ());
        assert_eq!(count, 3_000);
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        /// Against a plain sorted map: every deadline fires at its wake-up, which is at most a tick late.
        #[test]
        fn it_behaves_like_a_sorted_list(
            start in 0..10_000_000u64,
            delays in prop::collection::vec((0..900_000u64, 0..3_000u64), 1..50),
        ) {
            let (table, queue) = (TransactionTable::new(), TimerQueue::new(start));
            let mut now = start;
            let mut expected = BTreeMap::new();
            let mut seen = Vec::new();
            let check = |now: u64, seen: &mut Vec<u64>, expected: &mut BTreeMap<u64, u64>| {
                queue.advance(now, &mut |handle| seen.push(*handle.lock()));
                for number in seen.drain(..) {
                    let deadline = expected.remove(&number).expect("fires once");
                    assert!(deadline <= now, "{deadline} fired at {now}");
                }
                let overdue = expected.values().find(|&&deadline| deadline + 2 * TICK <= now);
                assert_eq!(overdue, None, "at {}", now);
            };
            for (number, (delay, pause)) in (0u64..).zip(delays) {
                queue.schedule(&handle(&table, number), now + delay);
                expected.insert(number, now + delay);
                now += pause;
                check(now, &mut seen, &mut expected);
            }
            while let Some(at) = queue.next_wakeup() {
                prop_assert!(at > now || at / TICK > now / TICK);
                now = at;
                check(now, &mut seen, &mut expected);
            }
            prop_assert!(expected.is_empty());
        }
    }
}
