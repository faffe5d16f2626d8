//! The whole route without the network: datagrams in, datagrams out, in any language.

mod proxy;
mod traffic;

pub use proxy::{ENGINES, Guards, Script, proxy, setup};
pub use traffic::{Phones, STAGES, Unexpected};
