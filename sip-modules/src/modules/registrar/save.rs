//! A REGISTER, from its headers to its answer (RFC 3261 §10.3).

use std::io::Write as _;
use std::sync::Arc;

use crate::location::{Contact, NewContact, SaveError, SaveKind, SaveRequest};
use crate::message::{HeaderName, ListItem, Message, Method, default_reason, split_list, unquote};
use crate::modules::registrar::aor::address_of_record;
use crate::modules::sl::send_reply_with;
use crate::proxy::Cx;

/// Do not answer.
const NO_REPLY: i64 = 0x02;

/// The flags that are there; 0x01 and 0x08 ask for what is the case anyway.
const FLAGS: i64 = 0x01 | NO_REPLY | 0x08;

/// The longest URI of a contact, as in Kamailio.
const MAX_CONTACT: usize = 255;

/// What a malformed expiry counts as (RFC 3261 §20.10).
const MALFORMED_EXPIRES: u32 = 3600;

/// All methods: of a contact that names none.
const ALL_METHODS: u32 = u32::MAX;

/// Applies the REGISTER and answers it.
///
/// # Errors
/// When the script asks for a flag that is not there.
pub(super) fn save(cx: &mut Cx, table: &str, flags: i64, uri: Option<&[u8]>) -> Result<i64, String> {
    let unknown = flags & !FLAGS;
    if unknown != 0 {
        return Err(format!("no flag {unknown:#x}; the flags are 0x01, 0x02 and 0x08"));
    }
    if cx.msg.message.is_reply() {
        tracing::warn!(target: "script", "save: this is a reply; call it for requests only");
        return Ok(-1);
    }
    let message = Arc::clone(&cx.msg.message);
    let now = cx.shared.registrar_now();
    let (code, result, lines) = match apply(cx, &message, table, uri, now) {
        Ok((kind, contacts, path)) => (200, result_code(kind), bindings(&contacts, path.as_deref(), now)),
        Err(refusal) => {
            let Refusal { code, text, lines } = refusal;
            tracing::info!(source = %cx.msg.source, "a REGISTER is refused with {code}: {text}");
            let result = if code == 503 { -2 } else { -1 };
            (code, result, [b"P-Registrar-Error: ", text.as_bytes(), b"\r\n", &lines].concat())
        }
    };
    if flags & NO_REPLY == 0
        && let Err(error) = send_reply_with(cx, code, default_reason(code).as_bytes(), &lines)
    {
        tracing::warn!(source = %cx.msg.source, "save: the {code} was not sent: {error}");
    }
    Ok(result)
}

/// The bit of a method among a contact's.
pub(super) fn method_bit(method: &[u8]) -> u32 {
    // All others share the last bit.
    Method::from_bytes(method).position().map_or(1 << 31, |position| 1 << position)
}

/// Why a REGISTER is refused.
#[derive(Debug)]
struct Refusal {
    code: u16,
    /// For `P-Registrar-Error`.
    text: String,
    /// More header lines.
    lines: Vec<u8>,
}

impl Refusal {
    fn bad_request(text: impl Into<String>) -> Refusal {
        Refusal { code: 400, text: text.into(), lines: Vec::new() }
    }
}

impl From<SaveError> for Refusal {
    fn from(error: SaveError) -> Refusal {
        Refusal { code: error.status().0, text: error.to_string(), lines: Vec::new() }
    }
}

type Applied = (SaveKind, Vec<Arc<Contact>>, Option<Vec<u8>>);

fn apply(cx: &Cx, message: &Message, table: &str, uri: Option<&[u8]>, now: u64) -> Result<Applied, Refusal> {
    if has_option(message, HeaderName::Require, b"outbound") {
        let lines = b"Unsupported: outbound\r\n".to_vec();
        return Err(Refusal { code: 420, text: "No support for outbound".to_owned(), lines });
    }
    let settings = &cx.shared.settings.registrar;
    let (name, uri) = match uri {
        Some(uri) => ("the given URI", uri),
        None => ("To URI", message.to().ok_or_else(|| Refusal::bad_request("To header cannot be read"))?.addr),
    };
    let aor = address_of_record(uri, settings).map_err(|error| Refusal::bad_request(format!("{error} in {name}")))?;
    let cseq = message.cseq().ok_or_else(|| Refusal::bad_request("CSeq header cannot be read"))?;
    let call_id = message.call_id().ok_or_else(|| Refusal::bad_request("Call-ID header is missing"))?;
    let path = path(message)?;
    let common = Common {
        path: path.as_deref(),
        user_agent: message.user_agent().unwrap_or_default(),
        methods: message.known(HeaderName::Allow).map(|_| allowed(message)),
        flows: has_option(message, HeaderName::Supported, b"outbound"),
        flags: cx.msg.branch_flags,
        socket: cx.shared.identity.listeners().get(cx.msg.socket).map(|listener| listener.addr),
    };
    let parsed: Vec<Parsed<'_>> = message.contacts().map(|item| parse(&item)).collect::<Result<_, _>>()?;
    let contacts: Vec<NewContact<'_>> = parsed.iter().map(|contact| contact.with(&common)).collect();
    let request = SaveRequest {
        contacts: &contacts,
        call_id,
        cseq: cseq.number,
        expires: message.known(HeaderName::Expires).map(|_| message.expires().unwrap_or(MALFORMED_EXPIRES)),
        now,
        rules: settings.rules,
        replace: false,
    };
    let outcome = cx.shared.location.save(table, &aor, &request)?;
    Ok((outcome.kind, outcome.contacts, path))
}

fn result_code(kind: SaveKind) -> i64 {
    match kind {
        SaveKind::Inserted | SaveKind::Retransmission => 1,
        SaveKind::Updated => 2,
        SaveKind::Removed => 3,
        SaveKind::Query => 4,
    }
}

/// What all contacts of a request have in common.
struct Common<'a> {
    path: Option<&'a [u8]>,
    user_agent: &'a [u8],
    methods: Option<u32>,
    /// Whether `reg-id` counts.
    flows: bool,
    flags: u32,
    socket: Option<std::net::SocketAddr>,
}

/// A contact of the message.
struct Parsed<'a> {
    uri: &'a [u8],
    key: Vec<u8>,
    q: Option<u16>,
    expires: Option<u32>,
    methods: Option<u32>,
    instance: Option<std::borrow::Cow<'a, [u8]>>,
    reg_id: Option<u32>,
}

impl Parsed<'_> {
    fn with<'b>(&'b self, common: &Common<'b>) -> NewContact<'b> {
        NewContact {
            uri: self.uri,
            key: &self.key,
            q: self.q,
            expires: self.expires,
            path: common.path,
            user_agent: common.user_agent,
            flags: common.flags,
            methods: self.methods.or(common.methods).unwrap_or(ALL_METHODS),
            socket: common.socket,
            instance: self.instance.as_deref(),
            reg_id: self.reg_id.filter(|_| common.flows),
            ..NewContact::default()
        }
    }
}

fn parse<'a>(item: &ListItem<'a>) -> Result<Parsed<'a>, Refusal> {
    let star =
        Parsed { uri: b"*", key: Vec::new(), q: None, expires: None, methods: None, instance: None, reg_id: None };
    if item.is_star() {
        return Ok(star);
    }
    let contact = item.name_addr().ok_or_else(|| Refusal::bad_request("Contact header cannot be read"))?;
    // It is written into replies and requests again, so nothing in it may end a URI or a line.
    let clean = |byte: &u8| *byte > b' ' && *byte != 0x7f && !b"<>\"".contains(byte);
    if contact.addr.len() > MAX_CONTACT {
        return Err(Refusal::bad_request("Contact is too long"));
    }
    let Some(uri) = contact.uri().filter(|_| contact.addr.iter().all(clean)) else {
        return Err(Refusal::bad_request("Contact URI cannot be read"));
    };
    let mut key = Vec::new();
    uri.push_key(&mut key);
    let q = match contact.params.value(b"q") {
        Some(text) => Some(thousandths(text).ok_or_else(|| Refusal::bad_request("Invalid q parameter in Contact"))?),
        None => None,
    };
    Ok(Parsed {
        uri: contact.addr,
        key,
        q,
        expires: contact.params.value(b"expires").map(|text| decimal(&unquote(text)).unwrap_or(MALFORMED_EXPIRES)),
        methods: contact.params.value(b"methods").map(|text| method_bits(&unquote(text))),
        instance: contact.params.get(b"+sip.instance").map(|param| param.unquoted()),
        reg_id: contact.params.value(b"reg-id").and_then(decimal),
    })
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

fn decimal(text: &[u8]) -> Option<u32> {
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    if digits { std::str::from_utf8(text).ok()?.parse().ok() } else { None }
}

fn allowed(message: &Message) -> u32 {
    message.all_known(HeaderName::Allow).fold(0, |bits, header| bits | method_bits(message.text(header.value)))
}

fn method_bits(list: &[u8]) -> u32 {
    split_list(list).fold(0, |bits, method| bits | method_bit(method))
}

fn has_option(message: &Message, name: HeaderName, option: &[u8]) -> bool {
    message
        .all_known(name)
        .flat_map(|header| split_list(message.text(header.value)))
        .any(|found| found.eq_ignore_ascii_case(option))
}

/// The Path, if the phone understands that it will be used (RFC 3327 §5.3).
fn path(message: &Message) -> Result<Option<Vec<u8>>, Refusal> {
    if message.known(HeaderName::Path).is_none() || !has_option(message, HeaderName::Supported, b"path") {
        return Ok(None);
    }
    let mut path = Vec::new();
    for item in message.items(HeaderName::Path) {
        let clean = item.raw.iter().all(|byte| *byte >= b' ' && *byte != 0x7f);
        let is_address = item.name_addr().is_some_and(|proxy| proxy.uri().is_some_and(|uri| uri.is_sip()));
        if !clean || !is_address {
            return Err(Refusal::bad_request("Path header cannot be read"));
        }
        if !path.is_empty() {
            path.extend_from_slice(b", ");
        }
        path.extend_from_slice(item.raw);
    }
    Ok(Some(path).filter(|path| !path.is_empty()))
}

/// The lines of a 200: all contacts that are bound, and the Path that was stored.
fn bindings(contacts: &[Arc<Contact>], path: Option<&[u8]>, now: u64) -> Vec<u8> {
    let mut lines = Vec::new();
    for contact in contacts {
        lines.extend_from_slice(if lines.is_empty() { b"Contact: <" } else { b", <" });
        lines.extend_from_slice(contact.uri());
        lines.push(b'>');
        if let Some(q) = contact.q() {
            lines.extend_from_slice(b";q=");
            lines.extend_from_slice(quotient(q).as_bytes());
        }
        // Writing to a vector cannot fail.
        let _ = write!(lines, ";expires={}", contact.remaining(now));
        if let Some(received) = contact.received() {
            lines.extend_from_slice(b";received=\"");
            lines.extend_from_slice(received);
            lines.push(b'"');
        }
    }
    if !lines.is_empty() {
        lines.extend_from_slice(b"\r\n");
    }
    if let Some(path) = path {
        lines.extend_from_slice(&[b"Path: ", path, b"\r\n"].concat());
    }
    lines
}

/// 500 as `0.5`.
fn quotient(q: u16) -> String {
    match q {
        1000 => "1".to_owned(),
        0 => "0".to_owned(),
        _ => format!("0.{q:03}").trim_end_matches('0').to_owned(),
    }
}
