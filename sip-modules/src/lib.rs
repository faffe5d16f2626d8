//! A SIP proxy stack whose functions are exported to scripts under the names Kamailio's users know.
//!
//! From the wire inwards: [`transport`] moves datagrams, [`message`] reads and edits them, [`transaction`] is the pure
//! state machine of RFC 3261 §16 and §17, [`location`] keeps registered contacts. [`tm`] puts machine and sockets
//! together, [`proxy`] is what a worker and a script work on, [`modules`] are the functions of `KSR`. [`config`] reads
//! the global part of `kamailio.cfg`, [`rpc`] answers JSON-RPC about all of it, [`http`]
//! tells whoever watches how it is.
//!
//! Nothing here knows a script language: a host builds a [`Registry`](kemi_core::Registry) of [`proxy::Cx`], binds a
//! [`proxy::Server`] and gives it a [`Program`](kemi_core::Program), which each worker loads on its own thread.

mod caught;
pub mod config;
pub mod dialect;
pub mod http;
pub mod location;
pub mod message;
pub mod modules;
pub mod proxy;
pub mod rpc;
pub mod tm;
pub mod transaction;
pub mod transport;

pub use modules::link;
