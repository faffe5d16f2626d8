//! URIs that lead to one phone of an address of record (RFC 5627).

use std::io::Write as _;

use crate::location::{Contact, bare_instance};
use crate::message::Uri;
use crate::modules::registrar::contact::is_clean;
use crate::proxy::Shared;

/// What the user of a temporary one begins with.
const TEMPORARY: &[u8] = b"uloc-";

/// The address of record that they are made for.
#[derive(Debug)]
pub(super) struct Gruus<'a> {
    shared: &'a Shared,
    uri: Uri<'a>,
    /// What [`Location::find`](crate::location::Location::find) finds it by.
    address: u64,
}

impl<'a> Gruus<'a> {
    /// Takes the URI that the phone has registered; `None` if none can be made of it.
    pub(super) fn new(shared: &'a Shared, uri: &'a [u8], address: u64) -> Option<Gruus<'a>> {
        let uri = Uri::parse(uri).filter(|uri| uri.is_sip() && uri.user.is_some() && is_clean(uri.raw))?;
        Some(Gruus { shared, uri, address })
    }

    /// Appends the parameters `pub-gruu` and `temp-gruu` of a contact, if it has an instance.
    pub(super) fn push(&self, contact: &Contact, out: &mut Vec<u8>) {
        let Some(instance) = contact.instance().map(bare_instance) else { return };
        // Others would need escapes, and no phone has such an instance.
        if !instance.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.!~*'()[]/:&+$".contains(byte)) {
            return;
        }
        out.extend_from_slice(b";pub-gruu=\"");
        self.push_scheme(out);
        out.extend_from_slice(self.uri.user.unwrap_or_default());
        self.push_host(out);
        out.extend_from_slice(b";gr=");
        out.extend_from_slice(instance);
        out.extend_from_slice(b"\";temp-gruu=\"");
        self.push_scheme(out);
        out.extend_from_slice(TEMPORARY);
        let id = contact.id();
        // Writing to a vector does not fail.
        let _ = write!(out, "{id:x}-{:x}", self.address ^ mask(self.shared, id));
        self.push_host(out);
        out.extend_from_slice(b";gr\"");
    }

    fn push_scheme(&self, out: &mut Vec<u8>) {
        let end = self.uri.raw.iter().position(|byte| *byte == b':').map_or(0, |colon| colon + 1);
        out.extend(self.uri.raw.iter().take(end).map(u8::to_ascii_lowercase));
    }

    fn push_host(&self, out: &mut Vec<u8>) {
        out.push(b'@');
        out.extend_from_slice(self.uri.host);
        if let Some(port) = self.uri.port {
            // Writing to a vector does not fail.
            let _ = write!(out, ":{port}");
        }
    }
}

/// Two of one address have nothing in common, and nobody can make one up (RFC 5627 §3.1.2).
fn mask(shared: &Shared, id: u64) -> u64 {
    shared.hash(("temporary GRUU", id))
}

/// What a URI with the parameter `gr` leads to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Gruu<'a> {
    /// This instance of the address of record.
    Public(&'a [u8]),
    /// The contact with that number, of the address of record that is found so.
    Temporary {
        /// For [`Location::find`](crate::location::Location::find).
        address: u64,
        /// The contact's number.
        id: u64,
    },
    /// Nothing: this proxy has not made it.
    Foreign,
}

impl<'a> Gruu<'a> {
    /// Reads a URI; `None` if it is no GRUU.
    pub(super) fn read(uri: &Uri<'a>, shared: &Shared) -> Option<Gruu<'a>> {
        let gr = uri.params.value(b"gr")?;
        if !gr.is_empty() {
            return Some(Gruu::Public(gr));
        }
        Some(temporary(uri.user.unwrap_or_default(), shared).unwrap_or(Gruu::Foreign))
    }
}

fn temporary<'a>(user: &[u8], shared: &Shared) -> Option<Gruu<'a>> {
    let hex = |text: &str| u64::from_str_radix(text, 16).ok();
    let (id, masked) = std::str::from_utf8(user.strip_prefix(TEMPORARY)?).ok()?.split_once('-')?;
    let id = hex(id)?;
    Some(Gruu::Temporary { address: hex(masked)? ^ mask(shared, id), id })
}
