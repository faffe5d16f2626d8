//! The limits of a call, what a script may use of its language, the watchdog that ends calls beyond them, and the allocator that counts memory.

pub mod interrupt;
mod memory;
mod profile;
mod settings;
#[cfg(feature = "stack")]
pub mod stack;
mod watch;
mod watchdog;

pub use self::interrupt::Interrupt;
pub(crate) use self::memory::{Account, without_limit};
pub use self::memory::{CountingAllocator, held_bytes};
pub use self::profile::{Facility, Imports, Needs, Profile};
pub use self::settings::{Limit, Limits};
pub(crate) use self::watch::{CallNames, LimitCell, SavedWatch, Watch, coarse_ms};
pub(crate) use self::watchdog::start_watching;
