//! The use of a top-level call's limits.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use crate::error::Location;
use crate::limits::{Account, LimitCell};

/// The running top-level call's use of its limits, and the limit that it has hit.
pub(super) struct Budget {
    pub(super) instructions_used: Cell<u64>,
    pub(super) limit_hit: LimitCell,
    pub(super) limit_hit_at: RefCell<Option<Location>>,
    pub(super) memory: Account,
    /// The time for which its native functions have waited.
    pub(super) waited: Cell<Duration>,
}

impl Budget {
    pub(super) fn new() -> Budget {
        Budget {
            instructions_used: Cell::new(0),
            limit_hit: LimitCell::default(),
            limit_hit_at: RefCell::new(None),
            memory: Account::new(),
            waited: Cell::new(Duration::ZERO),
        }
    }

    /// Notes the place where the limit was hit, unless it is known.
    pub(super) fn note_place(&self, place: impl FnOnce() -> Option<Location>) {
        // Asked outside of the borrow, since the interpreter may come back here.
        if self.limit_hit_at.borrow().is_none()
            && let Some(place) = place()
        {
            *self.limit_hit_at.borrow_mut() = Some(place);
        }
    }
}
