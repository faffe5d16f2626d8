//! Scripts on threads of their own: a pool of interpreters behind one queue.
//!
//! An interpreter stays on its thread, and a server's calls come from anywhere: a [`Pool`] owns the threads and is a handle
//! that may be cloned and sent. It needs no async runtime and works in any.
//!
//! Needs the feature `pool`.

mod elsewhere;
mod error;
mod job;
#[cfg(feature = "prometheus")]
mod metrics;
mod pool;
mod queue;
mod serve;
mod shared;
mod status;

pub use self::error::{CallError, StartError, Unfinished};
#[cfg(feature = "prometheus")]
pub use self::metrics::PoolCollector;
pub use self::pool::{Pool, PoolBuilder};
pub use self::status::PoolStatus;

/// The handles go wherever calls come from, whatever the context is.
const _: () = {
    const fn handle<T: Clone + Send + Sync>() {}
    handle::<Pool<std::cell::Cell<u8>>>();
};
