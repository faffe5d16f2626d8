//! What a REGISTER does to the contacts of its address of record.

use std::fmt;
use std::sync::Arc;

use thiserror::Error;

use super::contact::{Contact, NewContact, SameUri, Stamp};

/// A REGISTER, as far as the store needs it.
#[derive(Clone, Copy, Default)]
pub struct SaveRequest<'a> {
    /// The contacts; none asks for the current ones.
    pub contacts: &'a [NewContact<'a>],
    /// The Call-ID header's value.
    pub call_id: &'a [u8],
    /// The number of the CSeq header.
    pub cseq: u32,
    /// The Expires header, for contacts without an `expires` of their own.
    pub expires: Option<u32>,
    /// Seconds since 1970.
    pub now: u64,
    /// The limits of the registrar.
    pub rules: SaveRules,
    /// Tells whether two URIs are equivalent, where their keys differ; without it the keys decide.
    ///
    /// It is called while a part of the table is locked and must not use the store.
    pub same_uri: Option<SameUri<'a>>,
}

impl fmt::Debug for SaveRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SaveRequest")
            .field("contacts", &self.contacts)
            .field("call_id", &String::from_utf8_lossy(self.call_id))
            .field("cseq", &self.cseq)
            .field("expires", &self.expires)
            .field("now", &self.now)
            .field("rules", &self.rules)
            .field("same_uri", &self.same_uri.is_some())
            .finish()
    }
}

/// The limits a registrar sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SaveRules {
    /// The shortest binding in seconds; shorter wishes are raised to it.
    pub min_expires: u32,
    /// The longest binding in seconds; longer wishes are lowered to it. 0 sets no limit.
    pub max_expires: u32,
    /// The length of a binding whose REGISTER wishes none.
    pub default_expires: u32,
    /// How many contacts an address of record may have. 0 sets no limit.
    pub max_contacts: usize,
}

impl SaveRules {
    /// The seconds a binding gets for the seconds it wishes.
    ///
    /// 0 removes a binding and stays 0. Where the limits contradict each other the upper one wins.
    pub fn granted(&self, wish: Option<u32>) -> u32 {
        let wish = wish.unwrap_or(self.default_expires);
        if wish == 0 {
            return 0;
        }
        let raised = wish.max(self.min_expires);
        if self.max_expires == 0 { raised } else { raised.min(self.max_expires) }
    }
}

/// One minute to one hour, one hour by default, a hundred contacts.
impl Default for SaveRules {
    fn default() -> Self {
        Self { min_expires: 60, max_expires: 3600, default_expires: 3600, max_contacts: 100 }
    }
}

/// What a REGISTER came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SaveOutcome {
    /// What was done.
    pub kind: SaveKind,
    /// All contacts that are bound now, in the order of [`Location::lookup`](super::Location::lookup):
    /// what the 200 lists.
    pub contacts: Vec<Arc<Contact>>,
}

/// What was done; if a request did several things, the first of this list that it did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SaveKind {
    /// A contact is bound that was not.
    Inserted,
    /// A binding was set anew.
    Updated,
    /// Contacts were removed, or were to be and did not exist.
    Removed,
    /// The request had been applied before: nothing changed.
    Retransmission,
    /// The request named no contact: nothing changed.
    Query,
}

/// Why a REGISTER was refused; nothing has changed then.
///
/// The text suits the header `P-Registrar-Error`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SaveError {
    /// The texts of a contact exceed 65535 bytes; hardly by a phone.
    #[error("Contact is too large")]
    ContactTooLarge,
    /// The contact has an empty URI.
    #[error("Contact has no URI")]
    EmptyContact,
    /// The request is older than the binding it would change.
    #[error("Invalid CSeq number")]
    InvalidCSeq,
    /// `*` asks to remove everything and needs the expiry 0.
    #[error("* used in contact and expires is not zero")]
    StarExpires,
    /// `*` stands beside other contacts.
    #[error("* used in contact and more than one contact")]
    StarWithOthers,
    /// The address of record would have more contacts than the rules allow, or the request names too many at once.
    #[error("Too many registered contacts")]
    TooManyContacts,
}

impl SaveError {
    /// The status and reason phrase of the reply.
    pub fn status(&self) -> (u16, &'static str) {
        match self {
            Self::TooManyContacts => (503, "Service Unavailable"),
            _ => (400, "Bad Request"),
        }
    }
}

/// How many contacts one request may name: each is compared with all that are bound, while others wait for the table.
const MAX_NAMED: usize = 100;

/// What the contacts become; `None` when nothing changes.
pub(super) struct Change {
    pub(super) kind: SaveKind,
    pub(super) contacts: Option<Vec<Arc<Contact>>>,
}

/// Applies a request to the contacts, which stay as they are until the whole request is known to be good.
pub(super) fn apply(current: &[Arc<Contact>], request: &SaveRequest<'_>) -> Result<Change, SaveError> {
    if request.contacts.is_empty() {
        return Ok(Change { kind: SaveKind::Query, contacts: None });
    }
    if request.contacts.len() > MAX_NAMED {
        return Err(SaveError::TooManyContacts);
    }
    let now = request.now;
    let live = || current.iter().filter(|contact| !contact.is_expired(now));
    if let Some(star) = request.contacts.iter().find(|contact| contact.uri == b"*") {
        if request.contacts.len() > 1 {
            return Err(SaveError::StarWithOthers);
        }
        if star.expires.or(request.expires) != Some(0) {
            return Err(SaveError::StarExpires);
        }
        // Had this very request been applied before, nothing would be left with its CSeq.
        if live().any(|contact| contact.call_id() == request.call_id && request.cseq <= contact.cseq()) {
            return Err(SaveError::InvalidCSeq);
        }
        return Ok(Change { kind: SaveKind::Removed, contacts: Some(Vec::new()) });
    }
    let mut contacts: Vec<Arc<Contact>> = live().cloned().collect();
    let mut done = SaveKind::Query;
    for new in request.contacts {
        done = done.min(apply_one(&mut contacts, new, request)?);
    }
    let limit = request.rules.max_contacts;
    if done == SaveKind::Inserted && limit > 0 && contacts.len() > limit {
        return Err(SaveError::TooManyContacts);
    }
    Ok(Change { kind: done, contacts: Some(contacts) })
}

/// The contacts that are bound at `now`, in the order to try them.
pub(super) fn sorted(contacts: &[Arc<Contact>], now: u64, out: &mut Vec<Arc<Contact>>) {
    // The store keeps the latest change at the end, and the sort is stable: that decides within a second.
    out.extend(contacts.iter().rev().filter(|contact| !contact.is_expired(now)).cloned());
    out.sort_by(|a, b| b.q().cmp(&a.q()).then(b.last_modified().cmp(&a.last_modified())));
}

fn apply_one(
    contacts: &mut Vec<Arc<Contact>>,
    new: &NewContact<'_>,
    request: &SaveRequest<'_>,
) -> Result<SaveKind, SaveError> {
    if new.uri.is_empty() {
        return Err(SaveError::EmptyContact);
    }
    let granted = request.rules.granted(new.expires.or(request.expires));
    let bound = contacts.iter().position(|contact| contact.is_bound_by(new, request.same_uri));
    if let Some(contact) = bound.and_then(|index| contacts.get(index))
        && contact.call_id() == request.call_id
    {
        if request.cseq < contact.cseq() {
            return Err(SaveError::InvalidCSeq);
        }
        if request.cseq == contact.cseq() {
            return Ok(SaveKind::Retransmission);
        }
    }
    let stamp = Stamp {
        call_id: request.call_id,
        cseq: request.cseq,
        now: request.now,
        expires_at: request.now.saturating_add(u64::from(granted)),
    };
    let replacement = if granted > 0 { Some(Arc::new(Contact::new(new, stamp)?)) } else { None };
    if let Some(index) = bound {
        contacts.remove(index);
    }
    let kind = match (&replacement, bound) {
        (None, _) => SaveKind::Removed,
        (Some(_), Some(_)) => SaveKind::Updated,
        (Some(_), None) => SaveKind::Inserted,
    };
    contacts.extend(replacement);
    Ok(kind)
}
