//! A small HTTP port for whoever watches a proxy: numbers for Prometheus, and whether it lives and is ready.
//!
//! | page | answer |
//! |---|---|
//! | `/metrics` | all numbers in the OpenMetrics text format |
//! | `/health` | 200 while every worker works, else 503; what each is at, as JSON |
//! | `/ready` | 200 while new requests are taken, 503 while starting or ending |
//!
//! [`Pages`] is the table of what is served; [`proxy_pages`] fills it for a proxy. There is no encryption and no
//! authentication: listen on an address that only the watchers reach.

mod page;
mod pages;
mod server;
#[cfg(test)]
mod tests;

pub use page::{Page, Pages};
pub use pages::proxy_pages;
pub use server::{HttpError, HttpServer, MAX_CONNECTIONS};
