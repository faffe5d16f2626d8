//! JSON-RPC 2.0 on a unix socket: ask a running proxy what it does, and have its script replaced.
//!
//! A connection carries any number of requests, one per line or one right after the other, and each is answered on a
//! line of its own, in order. [`Methods`] is the table of what can be called; [`proxy_methods`] fills it for a proxy:
//!
//! | method | result |
//! |---|---|
//! | `system.listMethods` | name and description of every method |
//! | `core.version`, `core.uptime`, `core.sockets` | what runs, since when, where it listens |
//! | `tm.stats` | transactions: created, removed, current, retransmitted requests |
//! | `ul.stats` | records, contacts and bytes of each location table |
//! | `stats.fetch`, `stats.fetchn`, `stats.get_statistics` | the numbers that Kamailio has too, by its names: as texts, as numbers, as lines |
//! | `kemi.metrics` | all numbers, as [`crate::http`] gives them |
//! | `app_….reload` | loads the script's files anew, into all workers or into none |
//! | `app_….list` | the script's files, the version that is published, the version each worker runs |
//! | `app_….api_list` | every function that a script can call |
//!
//! The last three exist for each module name of the engine in use, so that what operators of Kamailio type works; this
//! module itself knows no language.

mod client;
mod connection;
mod error;
mod message;
mod methods;
mod proxy;
mod script;
mod server;
mod socket;
mod statistics;
#[cfg(test)]
mod tests;

pub use client::{ClientError, call};
pub use error::RpcError;
pub use methods::{Handler, Methods, Params};
pub use proxy::proxy_methods;
pub use script::reload;
pub use server::{MAX_CONNECTIONS, RpcServer};
pub use socket::SocketError;

/// The longest request in bytes.
pub const MAX_REQUEST: usize = 1 << 20;

/// The most requests in one batch.
pub const MAX_BATCH: usize = 64;
