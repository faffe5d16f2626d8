//! The registrar's store: which contacts an address of record is bound to (RFC 3261 §10.3).
//!
//! A [`Location`] holds named tables, such as `location`; a table maps an address of record to its
//! contacts. [`Location::save`] applies a REGISTER, [`Location::lookup`] gives the contacts in the
//! order to try them, [`Location::expire`] frees what has run out, a bounded amount a call. What it
//! may hold in all, [`StoreSettings`] say.
//!
//! The store knows neither messages nor clocks: requests are plain slices, and the time is an
//! argument, in seconds. The clock should not be that of the day, which somebody may set.
//!
//! # Examples
//!
//! ```
//! # use sip_modules::location::{Location, NewContact, SaveKind, SaveRequest};
//! let location = Location::new();
//! let contacts = [NewContact {
//!     uri: b"sip:alice@192.0.2.4:5062",
//!     key: b"sip:alice@192.0.2.4:5062",
//!     ..NewContact::default()
//! }];
//! let request = SaveRequest {
//!     contacts: &contacts,
//!     call_id: b"a84b4c76e66710",
//!     cseq: 1,
//!     now: 1_700_000_000,
//!     ..SaveRequest::default()
//! };
//! let outcome = location.save("location", b"alice", &request)?;
//! assert_eq!(outcome.kind, SaveKind::Inserted);
//! assert_eq!(outcome.contacts[0].remaining(request.now), 3600);
//!
//! let mut found = Vec::new();
//! location.lookup("location", b"alice", request.now + 10, &mut found);
//! assert_eq!(found[0].uri(), b"sip:alice@192.0.2.4:5062");
//! # Ok::<(), sip_modules::location::SaveError>(())
//! ```

mod contact;
mod save;
mod shard;
mod store;

pub use contact::{Contact, NewContact, bare_instance, same_instance};
pub use save::{MAX_NAMED, SaveError, SaveKind, SaveOutcome, SaveRequest, SaveRules};
pub use store::{Expired, Location, StoreSettings, TableStats};

#[cfg(test)]
mod tests;
