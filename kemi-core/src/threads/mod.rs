//! Scripts on threads of their own: a pool of interpreters behind one queue, and an actor with a mailbox.
//!
//! An interpreter stays on its thread, and a server's calls come from anywhere. Both types here own the threads and are
//! handles that may be cloned and sent: a [`Pool`] for calls that bring their context along and do not care where they
//! run, an [`Actor`] for one interpreter that keeps a context of its own. They need no async runtime and work in any.
//!
//! Needs the feature `pool`.

mod actor;
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

pub use self::actor::{Actor, ActorBuilder};
pub use self::error::{CallError, StartError, Unfinished};
#[cfg(feature = "prometheus")]
pub use self::metrics::PoolCollector;
pub use self::pool::{Pool, PoolBuilder};
pub use self::status::PoolStatus;

/// The handles go wherever calls come from, whatever the context is.
const _: () = {
    const fn handle<T: Clone + Send + Sync>() {}
    handle::<Pool<std::cell::Cell<u8>>>();
    handle::<Actor<std::rc::Rc<u8>>>();
};
