//! The proxies between registrar and phone (RFC 3327).

use crate::message::{HeaderName, Message, NameAddr, Uri, split_list};
use crate::modules::registrar::aor::unescape;
use crate::modules::registrar::contact::{MAX_CONTACT, is_clean};
use crate::modules::registrar::save::Refusal;
use crate::proxy::{Identity, PathMode, RegistrarSettings};

/// The longest Path that is kept with a contact.
const MAX_PATH: usize = 1024;

/// The Path of a REGISTER.
#[derive(Debug)]
pub(super) struct Path {
    /// The elements, as one header value.
    pub(super) value: Vec<u8>,
    /// What the first proxy says of where the phone is (`path_use_received`).
    pub(super) received: Option<Vec<u8>>,
    /// Whether the answer repeats it.
    pub(super) answered: bool,
    /// Whether the first proxy keeps flows (`ob`, RFC 5626 §5.1).
    pub(super) keeps_flows: bool,
}

impl Path {
    /// Reads the Path of a message; `None` if there is none or it does not count.
    ///
    /// Without `use_path` only one counts whose first proxy keeps the phone's flow: no other way leads to that phone (RFC 5626
    /// §5.1).
    ///
    /// # Errors
    /// When it cannot be read, or the phone does not support it and `path_mode` demands that.
    pub(super) fn read(
        message: &Message,
        is_supported: bool,
        settings: &RegistrarSettings,
    ) -> Result<Option<Path>, Refusal> {
        let mut items = message.items(HeaderName::Path);
        let Some(first) = items.next() else { return Ok(None) };
        let keeps_flows = first.name_addr().and_then(|proxy| proxy.uri()).is_some_and(|uri| uri.params.contains(b"ob"));
        if !(settings.use_path || keeps_flows && is_supported) {
            return Ok(None);
        }
        let unreadable = || Refusal::bad_request("Path parse error");
        let mut value = Vec::new();
        for item in message.items(HeaderName::Path) {
            let clean = item.raw.iter().all(|byte| *byte >= b' ' && *byte != 0x7f);
            let is_address = item.name_addr().is_some_and(|proxy| proxy.uri().is_some_and(|uri| uri.is_sip()));
            if !clean || !is_address || value.len() + item.raw.len() > MAX_PATH {
                return Err(unreadable());
            }
            if !value.is_empty() {
                value.extend_from_slice(b", ");
            }
            value.extend_from_slice(item.raw);
        }
        if settings.path_mode == PathMode::Strict && !is_supported {
            let lines = [b"Unsupported: path\r\nPath: ", value.as_slice(), b"\r\n"].concat();
            return Err(Refusal { lines, ..Refusal::new(420, "No support for found Path indicated") });
        }
        let Some(first) = split_list(&value).next().and_then(NameAddr::parse).and_then(|proxy| proxy.uri()) else {
            return Ok(None);
        };
        let received = if settings.path_use_received { received(&first) } else { None };
        let answered = is_supported && settings.path_mode != PathMode::Off;
        Ok(Some(Path { value, received, answered, keeps_flows }))
    }
}

/// The `received` of the first proxy, if requests can be sent there.
fn received(proxy: &Uri<'_>) -> Option<Vec<u8>> {
    let mut uri = Vec::new();
    unescape(proxy.params.value(b"received")?, &mut uri);
    is_source(&uri).then_some(uri)
}

/// Whether a text can be where a REGISTER came from.
pub(super) fn is_source(uri: &[u8]) -> bool {
    uri.len() <= MAX_CONTACT && is_clean(uri) && Uri::parse(uri).is_some_and(|uri| uri.is_sip())
}

/// The first proxy of a stored Path and the Path from it on, without those at the beginning that are this proxy itself.
pub(super) fn next_hop<'a>(path: &'a [u8], identity: &Identity) -> Option<(&'a [u8], Vec<u8>)> {
    let is_mine = |proxy: &&[u8]| {
        NameAddr::parse(proxy).and_then(|proxy| proxy.uri()).is_some_and(|uri| identity.is_my_uri(&uri))
    };
    let others: Vec<&[u8]> = split_list(path).skip_while(is_mine).collect();
    let first = NameAddr::parse(others.first()?)?;
    Some((first.addr, others.join(&b", "[..])))
}
