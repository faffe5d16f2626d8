//! The contacts of a REGISTER, as far as a registrar reads them.

use std::borrow::Cow;
use std::net::SocketAddr;

use crate::location::NewContact;
use crate::message::{HeaderName, ListItem, Message, Method, number, split_list, unquote};
use crate::modules::registrar::save::Refusal;

/// The longest URI, instance identifier or source of a contact, as in Kamailio.
pub(super) const MAX_CONTACT: usize = 255;

/// How many parameters a contact may have besides those of its URI, which its length limits.
const MAX_PARAMS: usize = 64;

/// How many elements of a list of methods or extensions are read: there are not that many.
pub(super) const MAX_WORDS: usize = 64;

/// What a malformed expiry counts as (RFC 3261 §20.10).
pub(super) const MALFORMED_EXPIRES: u32 = 3600;

/// All methods: of a contact that names none.
const ALL_METHODS: u32 = u32::MAX;

/// What all contacts of a request have in common.
pub(super) struct Common<'a> {
    pub(super) received: Option<&'a [u8]>,
    pub(super) path: Option<&'a [u8]>,
    pub(super) user_agent: &'a [u8],
    pub(super) methods: Option<u32>,
    pub(super) default_q: Option<u16>,
    pub(super) flags: u32,
    pub(super) socket: Option<SocketAddr>,
}

/// A contact of the message.
pub(super) struct Parsed<'a> {
    uri: &'a [u8],
    key: Vec<u8>,
    q: Option<u16>,
    expires: Option<u32>,
    methods: Option<u32>,
    instance: Option<Cow<'a, [u8]>>,
    reg_id: Option<u32>,
}

impl<'a> Parsed<'a> {
    /// Reads one element of the Contact headers.
    ///
    /// # Errors
    /// When it cannot be kept or written again, or a parameter breaks a rule.
    pub(super) fn read(item: &ListItem<'a>) -> Result<Parsed<'a>, Refusal> {
        let unreadable = || Refusal::bad_request("Contact parse error");
        let mut found =
            Parsed { uri: b"*", key: Vec::new(), q: None, expires: None, methods: None, instance: None, reg_id: None };
        if item.is_star() {
            return Ok(found);
        }
        let contact = item.name_addr().ok_or_else(unreadable)?;
        if !matches!(contact.params.raw(), [] | [b';', ..]) {
            return Err(unreadable());
        }
        if contact.addr.len() > MAX_CONTACT {
            return Err(Refusal::bad_request("Contact/received too long"));
        }
        let uri = contact.uri().filter(|_| is_clean(contact.addr)).ok_or_else(unreadable)?;
        found.uri = contact.addr;
        found.key = Vec::with_capacity(contact.addr.len());
        uri.push_key(&mut found.key);
        let mut reg_id = None;
        // The first of each name counts.
        for (count, param) in contact.params.into_iter().enumerate() {
            if count == MAX_PARAMS {
                return Err(unreadable());
            }
            let value = || param.value.unwrap_or_default();
            match param.name {
                name if name.eq_ignore_ascii_case(b"q") && found.q.is_none() && !value().is_empty() => {
                    found.q =
                        Some(thousandths(value()).ok_or_else(|| Refusal::with_list("Invalid q param in contact"))?);
                }
                name if name.eq_ignore_ascii_case(b"expires") && found.expires.is_none() => {
                    found.expires = Some(number(&unquote(value())).unwrap_or(MALFORMED_EXPIRES));
                }
                name if name.eq_ignore_ascii_case(b"methods") && found.methods.is_none() => {
                    found.methods = Some(method_bits(&unquote(value())));
                }
                name if name.eq_ignore_ascii_case(b"reg-id") && reg_id.is_none() => reg_id = Some(value()),
                name if name.eq_ignore_ascii_case(b"+sip.instance") && found.instance.is_none() => {
                    found.instance = Some(param.unquoted()).filter(|instance| !instance.is_empty());
                }
                _ => {}
            }
        }
        if let Some(instance) = &found.instance {
            if instance.len() > MAX_CONTACT {
                return Err(Refusal::bad_request("Contact/received too long"));
            }
            if !instance.iter().all(|byte| (b' '..0x7f).contains(byte) && !matches!(byte, b'"' | b'\\')) {
                return Err(unreadable());
            }
            // Without an instance a reg-id says nothing (RFC 5626 §6).
            if let Some(text) = reg_id {
                let number = number(text).filter(|number| *number > 0);
                found.reg_id = Some(number.ok_or_else(|| Refusal::bad_request("Invalid Reg-Id number"))?);
            }
        }
        Ok(found)
    }

    /// Whether it is a flow of an instance (RFC 5626).
    pub(super) fn is_flow(&self) -> bool {
        self.reg_id.is_some()
    }

    /// The contact as the store takes it.
    pub(super) fn with<'b>(&'b self, common: &Common<'b>) -> NewContact<'b> {
        NewContact {
            uri: self.uri,
            key: &self.key,
            q: self.q.or(common.default_q),
            expires: self.expires,
            received: common.received,
            path: common.path,
            user_agent: common.user_agent,
            flags: common.flags,
            methods: self.methods.or(common.methods).unwrap_or(ALL_METHODS),
            socket: common.socket,
            instance: self.instance.as_deref(),
            reg_id: self.reg_id,
        }
    }
}

/// Whether a URI may be written into replies and requests: nothing in it ends a URI, a quoted text or a line.
pub(super) fn is_clean(uri: &[u8]) -> bool {
    uri.iter().all(|byte| *byte > b' ' && !matches!(byte, 0x7f | b'<' | b'>' | b'"' | b'\\'))
}

/// The bit of a method among a contact's.
pub(super) fn method_bit(method: &[u8]) -> u32 {
    // All others share the last bit.
    Method::from_bytes(method).position().map_or(1 << 31, |position| 1 << position)
}

/// The bits of the methods that the message allows; `None` if it does not say.
pub(super) fn allowed(message: &Message) -> Option<u32> {
    message.known(HeaderName::Allow)?;
    let lines = message.all_known(HeaderName::Allow).map(|header| message.text(header.value));
    let methods = lines.flat_map(split_list).take(MAX_WORDS);
    Some(methods.fold(0, |bits, method| bits | method_bit(method)))
}

fn method_bits(list: &[u8]) -> u32 {
    split_list(list).take(MAX_WORDS).fold(0, |bits, method| bits | method_bit(method))
}

/// `0.5` as 500; `None` for anything that is no number from 0 to 1 with up to three decimals.
fn thousandths(text: &[u8]) -> Option<u16> {
    let (whole, decimals) = match text.iter().position(|byte| *byte == b'.') {
        Some(dot) => (text.get(..dot)?, text.get(dot + 1..)?),
        None => (text, &b""[..]),
    };
    let whole = match whole {
        b"" if !decimals.is_empty() => 0,
        b"0" => 0,
        b"1" => 1000,
        _ => return None,
    };
    if decimals.len() > 3 {
        return None;
    }
    let decimals = decimals
        .iter()
        .chain(std::iter::repeat(&b'0'))
        .take(3)
        .try_fold(0, |sum: u16, byte| byte.is_ascii_digit().then(|| sum * 10 + u16::from(byte - b'0')))?;
    Some(whole + decimals).filter(|q| *q <= 1000)
}
