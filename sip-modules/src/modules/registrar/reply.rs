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

const NAME: &[u8] = b"Contact: ";

const SEPARATOR: &[u8] = b", ";

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
    /// Appends the header line with the contacts, nothing without any; and returns how many were left out.
    ///
    /// Anybody may ask, and in the name of somebody else's address. So that the answer is no weapon it is only a few times
    /// longer than the question; what the request itself has set is listed first of all (RFC 3261 §10.3 step 8 wants all).
    pub(super) fn push_line(&self, contacts: &[Arc<Contact>], out: &mut Vec<u8>) -> usize {
        let most = MOST.saturating_sub(self.request);
        let room = self.request.saturating_mul(FACTOR).min(most);
        let start = out.len();
        self.push_all(contacts.iter(), out);
        // Nearly always all fit.
        let mut left_out = 0;
        if (out.len() - start).saturating_sub(NAME.len()) + SEPARATOR.len() > room {
            out.truncate(start);
            let listed = self.choose(contacts, room);
            let chosen = contacts.iter().zip(&listed).filter(|(_, listed)| **listed).map(|(contact, _)| contact);
            self.push_all(chosen, out);
            left_out = listed.iter().filter(|listed| !**listed).count();
        }
        if out.len() > start {
            out.extend_from_slice(b"\r\n");
        }
        left_out
    }

    /// Which contacts are listed where there is room for so many bytes, separators included.
    fn choose(&self, contacts: &[Arc<Contact>], mut room: usize) -> Vec<bool> {
        let mut text = Vec::new();
        let mut length = |contact: &Contact| {
            text.clear();
            self.push(contact, &mut text);
            text.len() + SEPARATOR.len()
        };
        let is_own = |contact: &Contact| contact.cseq() == self.cseq && contact.call_id() == self.call_id;
        let entries: Vec<_> = contacts.iter().map(|contact| (length(contact), is_own(contact))).collect();
        let mut listed = vec![false; entries.len()];
        for own in [true, false] {
            for ((length, is_own), listed) in entries.iter().zip(&mut listed) {
                if *is_own == own && *length <= room {
                    room -= length;
                    *listed = true;
                }
            }
        }
        listed
    }

    fn push_all<'c>(&self, contacts: impl Iterator<Item = &'c Arc<Contact>>, out: &mut Vec<u8>) {
        for (index, contact) in contacts.enumerate() {
            out.extend_from_slice(if index == 0 { NAME } else { SEPARATOR });
            self.push(contact, out);
        }
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
