//! What the answer to a REGISTER says.

use std::cell::RefCell;
use std::io::Write as _;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::location::Contact;
use crate::modules::pv::push_int;
use crate::modules::registrar::gruu::Gruus;

/// How many times longer than its request the list of contacts is at most: of an ordinary phone's request of 400 bytes that
/// is room for 50 plain contacts.
const FACTOR: usize = 7;

/// The longest list that a datagram can carry besides the headers of its request.
const MOST: usize = 60_000;

/// How the bindings are listed.
pub(super) struct Listing<'a> {
    /// The bytes of the request.
    pub(super) request: usize,
    /// What the contacts have in common that the request itself has set.
    pub(super) call_id: &'a [u8],
    /// As `call_id`.
    pub(super) cseq: u32,
    pub(super) now: u64,
    /// `received_param`; the source is not shown if it is empty.
    pub(super) received_param: &'a [u8],
    /// If the phone understands them.
    pub(super) gruus: Option<Gruus<'a>>,
}

impl Listing<'_> {
    /// The header line with the contacts, empty without any; and how many were left out.
    ///
    /// Anybody may ask, and in the name of somebody else's address. So that the answer is no weapon it is only a few times
    /// longer than the question; what the request itself has set is listed first of all (RFC 3261 §10.3 step 8 wants all).
    pub(super) fn line(&self, contacts: &[Arc<Contact>]) -> (Vec<u8>, usize) {
        let mut texts = Vec::new();
        let mut entries = Vec::with_capacity(contacts.len());
        for contact in contacts {
            let start = texts.len();
            self.push(contact, &mut texts);
            let is_own = contact.cseq() == self.cseq && contact.call_id() == self.call_id;
            entries.push((start..texts.len(), is_own));
        }
        let most = MOST.saturating_sub(self.request);
        let mut room = self.request.saturating_mul(FACTOR).min(most);
        let mut listed = vec![false; entries.len()];
        for own in [true, false] {
            for ((place, is_own), listed) in entries.iter().zip(&mut listed) {
                let length = place.len() + 2;
                if *is_own == own && length <= room {
                    room -= length;
                    *listed = true;
                }
            }
        }
        let mut line = Vec::with_capacity(texts.len() + 2 * entries.len() + 11);
        for ((place, _), _) in entries.into_iter().zip(&listed).filter(|(_, listed)| **listed) {
            line.extend_from_slice(if line.is_empty() { b"Contact: " } else { b", " });
            line.extend_from_slice(texts.get(place).unwrap_or_default());
        }
        if !line.is_empty() {
            line.extend_from_slice(b"\r\n");
        }
        (line, listed.iter().filter(|listed| !**listed).count())
    }

    fn push(&self, contact: &Contact, out: &mut Vec<u8>) {
        out.push(b'<');
        out.extend_from_slice(contact.uri());
        out.push(b'>');
        if let Some(q) = contact.q() {
            out.extend_from_slice(b";q=");
            out.extend_from_slice(quotient(q).as_bytes());
        }
        out.extend_from_slice(b";expires=");
        push_int(out, i64::try_from(contact.remaining(self.now)).unwrap_or(i64::MAX));
        if let Some(received) = contact.received().filter(|_| !self.received_param.is_empty()) {
            out.push(b';');
            out.extend_from_slice(self.received_param);
            out.extend_from_slice(b"=\"");
            out.extend_from_slice(received);
            out.push(b'"');
        }
        if let Some(gruus) = &self.gruus {
            gruus.push(contact, out);
        }
        if let Some(instance) = contact.instance() {
            out.extend_from_slice(b";+sip.instance=\"");
            out.extend_from_slice(instance);
            out.push(b'"');
        }
        if let Some(reg_id) = contact.reg_id() {
            // Writing to a vector does not fail.
            let _ = write!(out, ";reg-id={reg_id}");
        }
    }
}

/// Appends the header line by which a phone may set its clock (RFC 3261 §10.3 step 8).
pub(super) fn push_date(lines: &mut Vec<u8>) {
    thread_local! {
        /// The line of a second, since 1970.
        static LINE: RefCell<(u64, String)> = const { RefCell::new((0, String::new())) };
    }
    let now = SystemTime::now();
    let second = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    LINE.with_borrow_mut(|(of, line)| {
        if *of != second || line.is_empty() {
            *line = format!("Date: {}\r\n", httpdate::HttpDate::from(now));
            *of = second;
        }
        lines.extend_from_slice(line.as_bytes());
    });
}

/// 500 as `0.5`.
fn quotient(q: u16) -> String {
    match q {
        1000 => "1".to_owned(),
        0 => "0".to_owned(),
        _ => format!("0.{q:03}").trim_end_matches('0').to_owned(),
    }
}
