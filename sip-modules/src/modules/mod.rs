//! The functions of `KSR`, one file per module.

pub mod core;
pub mod corex;
pub mod hdr;
pub mod kx;
pub mod maxfwd;
pub mod pv;
pub mod registrar;
pub mod rr;
pub mod sanity;
pub mod siputils;
pub mod sl;
#[cfg(test)]
pub(crate) mod testing;
pub mod textops;
pub mod tm;
pub mod tmx;

/// Makes sure that the exports of this crate are linked into the program.
pub fn link() {}
