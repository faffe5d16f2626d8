//! Durations, counted in buckets.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;

/// The upper bounds of the buckets in nanoseconds; one more bucket has the longer durations.
const BOUNDS: [u64; 25] = [
    100,
    250,
    500,
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
];

/// A histogram that several threads may add to.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    buckets: [AtomicU64; BOUNDS.len() + 1],
    sum: AtomicU64,
}

impl Histogram {
    /// Adds one duration.
    pub(crate) fn record(&self, duration: Duration) {
        let (bucket, nanoseconds) = self.place(duration);
        if let Some(bucket) = bucket {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.sum.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    /// Adds one duration where no other thread adds any, which is cheaper.
    pub(crate) fn record_alone(&self, duration: Duration) {
        let (bucket, nanoseconds) = self.place(duration);
        if let Some(bucket) = bucket {
            add_alone(bucket, 1);
        }
        add_alone(&self.sum, nanoseconds);
    }

    fn place(&self, duration: Duration) -> (Option<&AtomicU64>, u64) {
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        (self.buckets.get(BOUNDS.partition_point(|&bound| bound < nanoseconds)), nanoseconds)
    }

    pub(crate) fn read(&self) -> Durations {
        let counts = self.buckets.each_ref().map(|bucket| bucket.load(Ordering::Relaxed));
        Durations { nanoseconds: self.sum.load(Ordering::Relaxed), counts: counts.to_vec() }
    }
}

/// Adds to a number that only the calling thread writes.
pub(crate) fn add_alone(number: &AtomicU64, more: u64) {
    number.store(number.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
}

/// The durations of calls.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Durations {
    /// The sum of all.
    pub nanoseconds: u64,
    /// The number of calls per bucket, in the order of [`BOUNDS`].
    counts: Vec<u64>,
}

impl Durations {
    /// Returns the number of timed calls.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Iterates over the buckets: the upper bound, and how many calls are in this bucket and no earlier one.
    ///
    /// The last bound is [`Duration::MAX`].
    pub fn buckets(&self) -> impl Iterator<Item = (Duration, u64)> + '_ {
        let bounds = BOUNDS.iter().map(|&bound| Duration::from_nanos(bound)).chain([Duration::MAX]);
        bounds.zip(self.counts.iter().copied())
    }

    /// Adds the counts of another histogram.
    pub(crate) fn add(&mut self, other: &Durations) {
        self.nanoseconds = self.nanoseconds.wrapping_add(other.nanoseconds);
        self.counts.resize(BOUNDS.len() + 1, 0);
        for (sum, count) in self.counts.iter_mut().zip(&other.counts) {
            *sum += count;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_in_the_first_bucket_whose_bound_it_does_not_exceed() {
        let histogram = Histogram::default();
        for nanoseconds in [0, 100, 101, 10_000_000_000, 10_000_000_001] {
            histogram.record(Duration::from_nanos(nanoseconds));
        }
        let read = histogram.read();
        let filled: Vec<(Duration, u64)> = read.buckets().filter(|(_, count)| *count > 0).collect();
        let expected = [
            (Duration::from_nanos(100), 2),
            (Duration::from_nanos(250), 1),
            (Duration::from_secs(10), 1),
            (Duration::MAX, 1),
        ];
        assert_eq!(filled, expected);
        assert_eq!((read.count(), read.nanoseconds), (5, 20_000_000_202));
    }

    #[test]
    fn adding_sums_bucket_by_bucket() {
        let histogram = Histogram::default();
        histogram.record(Duration::from_micros(3));
        let mut sum = Durations::default();
        sum.add(&histogram.read());
        sum.add(&histogram.read());
        assert_eq!((sum.count(), sum.nanoseconds), (2, 6000));
    }
}
