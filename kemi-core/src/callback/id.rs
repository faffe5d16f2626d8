//! Ids of callbacks and routes, which only their own registry accepts.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};

/// Tells the ids of one registry from those of another: an id is accepted only by the registry that it was made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Stamp(NonZeroU32);

impl Stamp {
    pub(super) fn next() -> Stamp {
        static LAST: AtomicU32 = AtomicU32::new(0);
        let next = LAST.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        Stamp(NonZeroU32::new(next).unwrap_or(NonZeroU32::MIN))
    }
}

/// Identifies a callback of one [`Registry`](crate::Registry), in all its workers and interpreters.
///
/// Cheap to copy and to store for a later call. Another registry refuses it with
/// [`ErrorCode::ForeignId`](crate::ErrorCode::ForeignId).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallbackId {
    index: u32,
    stamp: Stamp,
}

impl CallbackId {
    pub(crate) fn new(index: usize, stamp: Stamp) -> CallbackId {
        CallbackId { index: u32::try_from(index).unwrap_or(u32::MAX), stamp }
    }

    /// Returns the position, for engines that keep a table of resolved handles.
    #[must_use]
    pub fn index(self) -> usize {
        self.index as usize
    }

    pub(crate) fn stamp(self) -> Stamp {
        self.stamp
    }

    #[cfg(test)]
    pub(crate) fn for_test(index: usize) -> CallbackId {
        CallbackId::new(index, Stamp::next())
    }
}

/// Identifies a route of one [`Registry`](crate::Registry): the kind of occasion a callback is called on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RouteId {
    index: u8,
    stamp: Stamp,
}

impl RouteId {
    pub(super) fn new(index: u8, stamp: Stamp) -> RouteId {
        RouteId { index, stamp }
    }

    /// The route that stands for none: its bit is that of the time without a callback.
    pub(crate) fn none(stamp: Stamp) -> RouteId {
        RouteId { index: 63, stamp }
    }

    pub(super) fn index(self) -> usize {
        self.index.into()
    }

    pub(super) fn stamp(self) -> Stamp {
        self.stamp
    }

    /// Returns the bit that stands for the route in the route mask of an export.
    pub(crate) fn bit(self) -> u64 {
        1 << self.index
    }
}
