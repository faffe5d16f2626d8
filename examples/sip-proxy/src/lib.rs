//! What the proxy brings along: the built-in configuration, and the basic route in every language and in Rust.

pub mod defaults;
pub mod route;
