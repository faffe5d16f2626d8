//! What a REGISTER does to the contacts of its address of record.

use std::cmp::Reverse;
use std::sync::Arc;

use thiserror::Error;

use super::contact::{Contact, NewContact, Stamp};
use super::store::Ledger;

/// A REGISTER, as far as the store needs it.
#[derive(Debug, Clone, Copy, Default)]
pub struct SaveRequest<'a> {
    /// The contacts; none asks for the current ones.
    pub contacts: &'a [NewContact<'a>],
    /// The Call-ID header's value.
    pub call_id: &'a [u8],
    /// The number of the CSeq header.
    pub cseq: u32,
    /// The Expires header, for contacts without an `expires` of their own.
    pub expires: Option<u32>,
    /// Seconds of the store's clock.
    pub now: u64,
    /// The limits of the registrar.
    pub rules: SaveRules,
    /// Whether the first contact that the request binds takes the place of all others.
    pub replace: bool,
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
    /// What [`Location::find`](super::Location::find) finds the address of record by.
    pub address: u64,
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
#[error("{}", self.text())]
#[non_exhaustive]
pub enum SaveError {
    /// The texts of a contact exceed 65535 bytes.
    ContactTooLarge,
    /// The contact has an empty URI.
    EmptyContact,
    /// The request is older than the binding it would change.
    InvalidCSeq,
    /// `*` asks to remove everything and needs the expiry 0.
    StarExpires,
    /// `*` stands beside other contacts.
    StarWithOthers,
    /// The address of record would have more contacts than the rules allow, or the request names too many at once.
    TooManyContacts,
    /// The store holds all that it may, and the request binds a contact that was not bound.
    Full,
}

impl SaveError {
    /// The status and reason phrase of the reply.
    pub fn status(&self) -> (u16, &'static str) {
        match self {
            Self::TooManyContacts | Self::Full => (503, "Service Unavailable"),
            _ => (400, "Bad Request"),
        }
    }

    /// What is wrong, in Kamailio's words.
    pub fn text(&self) -> &'static str {
        match self {
            Self::ContactTooLarge => "Contact/received too long",
            Self::EmptyContact => "Contact parse error",
            Self::InvalidCSeq => "Invalid CSeq number",
            Self::StarExpires => "* used in contact and expires is not zero",
            Self::StarWithOthers => "* used in contact and more than 1 contact",
            Self::TooManyContacts => "Too many registered contacts",
            Self::Full => "No room for another registration",
        }
    }
}

/// How many contacts one request may name: each is compared with all that are bound, while others wait for the table.
pub const MAX_NAMED: usize = 100;

/// What the contacts become; `None` when nothing changes.
pub(super) struct Change {
    pub(super) kind: SaveKind,
    pub(super) contacts: Option<Vec<Arc<Contact>>>,
}

/// Applies a request to the contacts, which stay as they are until the whole request is known to be good.
pub(super) fn apply(current: &[Arc<Contact>], request: &SaveRequest<'_>, ledger: &Ledger) -> Result<Change, SaveError> {
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
    // Most often one is set anew, or the first one bound: then this is what is kept.
    let mut contacts: Vec<Arc<Contact>> = Vec::with_capacity(current.len().max(1));
    contacts.extend(live().cloned());
    let mut done = SaveKind::Query;
    for new in request.contacts {
        let (kind, bound) = apply_one(&mut contacts, new, request, ledger)?;
        done = done.min(kind);
        if let Some(bound) = bound.filter(|_| request.replace) {
            contacts = vec![bound];
            break;
        }
    }
    let limit = request.rules.max_contacts;
    if done == SaveKind::Inserted && limit > 0 && contacts.len() > limit {
        return Err(SaveError::TooManyContacts);
    }
    Ok(Change { kind: done, contacts: Some(contacts) })
}

/// The contacts that are bound at `now`, in the order to try them.
pub(super) fn sorted(contacts: &[Arc<Contact>], now: u64, newest_first: bool, out: &mut Vec<Arc<Contact>>) {
    let live = contacts.iter().filter(|contact| !contact.is_expired(now)).cloned();
    if newest_first {
        out.extend(live.rev());
    } else {
        out.extend(live);
        // The sort is stable, so what was registered first stays first among equals.
        out.sort_by_key(|contact| Reverse(contact.q()));
    }
}

/// What became of one contact, and the binding if there is one now.
type Applied = (SaveKind, Option<Arc<Contact>>);

fn apply_one(
    contacts: &mut Vec<Arc<Contact>>,
    new: &NewContact<'_>,
    request: &SaveRequest<'_>,
    ledger: &Ledger,
) -> Result<Applied, SaveError> {
    if new.uri.is_empty() {
        return Err(SaveError::EmptyContact);
    }
    let granted = request.rules.granted(new.expires.or(request.expires));
    let marks = ledger.marks(new);
    let flow = new.instance.and_then(|_| contacts.iter().position(|contact| contact.is_flow(new, marks)));
    let place = flow.or_else(|| contacts.iter().position(|contact| contact.has_uri(new, marks)));
    let bound = place.and_then(|place| contacts.get(place));
    if let Some(contact) = bound
        && contact.call_id() == request.call_id
    {
        if request.cseq < contact.cseq() {
            return Err(SaveError::InvalidCSeq);
        }
        if request.cseq == contact.cseq() {
            return Ok((SaveKind::Retransmission, Some(Arc::clone(contact))));
        }
    }
    let stamp = Stamp {
        call_id: request.call_id,
        cseq: request.cseq,
        now: request.now,
        expires_at: request.now.saturating_add(u64::from(granted)),
        id: bound.map_or_else(|| ledger.next_id(), |contact| contact.id()),
        marks,
    };
    let kind = match (granted, bound) {
        (0, _) => SaveKind::Removed,
        (_, Some(_)) => SaveKind::Updated,
        (_, None) => SaveKind::Inserted,
    };
    let binding = if granted > 0 { Some(Arc::new(Contact::new(new, stamp)?)) } else { None };
    match (place, &binding) {
        // A refresh leaves it where it is, unless the latest is to come first.
        (Some(place), Some(binding)) if !ledger.newest_first() => contacts[place] = Arc::clone(binding),
        (place, binding) => {
            if let Some(place) = place {
                contacts.remove(place);
            }
            contacts.extend(binding.clone());
        }
    }
    Ok((kind, binding))
}
