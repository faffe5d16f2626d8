//! A REGISTER, from its headers to its answer (RFC 3261 §10.3).

use std::sync::Arc;

use crate::location::{Contact, MAX_NAMED, NewContact, SaveError, SaveKind, SaveRequest};
use crate::message::{HeaderName, Message, default_reason, split_list};
use crate::modules::registrar::aor::{AorError, address_of_record};
use crate::modules::registrar::contact::{Common, MALFORMED_EXPIRES, MAX_CONTACT, MAX_WORDS, Parsed, allowed};
use crate::modules::registrar::gruu::Gruus;
use crate::modules::registrar::path::{Path, is_source};
use crate::modules::registrar::reply::{Listing, push_date};
use crate::modules::sl::send_reply_with;
use crate::proxy::{Cx, RegistrarSettings};

/// Do not answer.
const NO_REPLY: i64 = 0x02;

/// The new contact takes the place of all others.
const REPLACE: i64 = 0x04;

/// How much of a User-Agent is kept, as in Kamailio.
const MAX_USER_AGENT: usize = 255;

/// The longest Call-ID, as in Kamailio.
const MAX_CALL_ID: usize = 255;

/// Room for the header lines of a 200 that names a contact or two.
const LINES: usize = 256;

/// When a phone may try again if the store is full, in seconds, unless `retry_after` says.
const RETRY_AFTER: u32 = 10;

/// Applies the REGISTER and answers it.
pub(super) fn save(cx: &mut Cx, table: &str, flags: i64, uri: Option<&[u8]>) -> i64 {
    if cx.msg.message.is_reply() {
        tracing::warn!(target: "script", "save: this is a reply; call it for requests only");
        return -1;
    }
    let message = Arc::clone(&cx.msg.message);
    let (code, result, lines) = match apply(cx, &message, table, flags, uri) {
        Ok((kind, lines)) => (200, result_code(kind), lines),
        Err(Refusal { code, text, lines, .. }) => {
            tracing::info!(source = %cx.msg.source, code, reason = text, "a REGISTER is refused");
            let result = if code == 503 { -2 } else { -1 };
            (code, result, [b"P-Registrar-Error: ", text.as_bytes(), b"\r\n", &lines].concat())
        }
    };
    if flags & NO_REPLY == 0
        && let Err(error) = send_reply_with(cx, code, default_reason(code).as_bytes(), &lines)
    {
        tracing::warn!(source = %cx.msg.source, code, %error, "save: the answer was not sent");
    }
    result
}

/// Why a REGISTER is refused.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) code: u16,
    /// For `P-Registrar-Error`; the texts are Kamailio's.
    pub(super) text: &'static str,
    /// More header lines.
    pub(super) lines: Vec<u8>,
    /// Whether the answer lists what is bound, as Kamailio's does.
    pub(super) with_list: bool,
}

impl Refusal {
    pub(super) fn new(code: u16, text: &'static str) -> Refusal {
        Refusal { code, text, lines: Vec::new(), with_list: false }
    }

    pub(super) fn bad_request(text: &'static str) -> Refusal {
        Refusal::new(400, text)
    }

    pub(super) fn with_list(text: &'static str) -> Refusal {
        Refusal { with_list: true, ..Refusal::bad_request(text) }
    }

    /// Why the store refuses; with `retry_after`, a 503 says when to try again.
    fn of(error: SaveError, retry_after: u32) -> Refusal {
        let seconds = if error == SaveError::Full && retry_after == 0 { RETRY_AFTER } else { retry_after };
        let (code, text) = (error.status().0, error.text());
        let lines = match code {
            503 if seconds > 0 => format!("Retry-After: {seconds}\r\n").into_bytes(),
            _ => Vec::new(),
        };
        let with_list = matches!(error, SaveError::InvalidCSeq | SaveError::TooManyContacts | SaveError::Full);
        Refusal { code, text, lines, with_list }
    }
}

impl From<AorError> for Refusal {
    fn from(error: AorError) -> Refusal {
        Refusal::bad_request(error.text())
    }
}

/// Applies the REGISTER; what was done, and the header lines of the 200.
fn apply(
    cx: &Cx,
    message: &Message,
    table: &str,
    flags: i64,
    uri: Option<&[u8]>,
) -> Result<(SaveKind, Vec<u8>), Refusal> {
    let register = Register::read(cx, message, table, uri)?;
    register.bind(flags).map_err(|mut refusal| {
        if refusal.with_list {
            let mut bound = Vec::new();
            let location = &cx.shared.location;
            location.lookup(table, &register.aor, register.now, &mut bound);
            register.list(&bound, location.address(table, &register.aor), &mut refusal.lines);
        }
        refusal
    })
}

/// A REGISTER whose address of record is known.
struct Register<'a> {
    cx: &'a Cx,
    settings: &'a RegistrarSettings,
    message: &'a Message,
    table: &'a str,
    /// What the phone calls its address of record.
    uri: &'a [u8],
    aor: Vec<u8>,
    call_id: &'a [u8],
    cseq: u32,
    supported: Options,
    now: u64,
}

impl<'a> Register<'a> {
    fn read(cx: &'a Cx, message: &'a Message, table: &'a str, uri: Option<&'a [u8]>) -> Result<Register<'a>, Refusal> {
        let settings = &cx.shared.settings.registrar;
        // Of a request that was cut off nobody knows what it was to bind.
        if message.fault().is_some() {
            return Err(Refusal::bad_request("Message is cut off or faulty"));
        }
        let uri = match uri {
            Some(uri) => uri,
            None => message.to().ok_or_else(|| Refusal::bad_request("To header not found"))?.addr,
        };
        Ok(Register {
            cx,
            settings,
            message,
            table,
            uri,
            aor: address_of_record(uri, settings)?,
            call_id: message.call_id().ok_or_else(|| Refusal::bad_request("Call-ID header not found"))?,
            cseq: message.cseq().ok_or_else(|| Refusal::bad_request("CSeq header not found"))?.number,
            supported: Options::of(message, HeaderName::Supported),
            now: cx.shared.registrar_now(),
        })
    }

    /// Changes the bindings; what was done, and the header lines of the 200.
    fn bind(&self, flags: i64) -> Result<(SaveKind, Vec<u8>), Refusal> {
        let Register { cx, settings, message, call_id, .. } = *self;
        let contacts = contacts(message)?;
        if !contacts.is_empty() && call_id.len() > MAX_CALL_ID {
            return Err(Refusal::bad_request("Callid too long"));
        }
        let path = Path::read(message, self.supported.path, settings)?;
        let received = path.as_ref().and_then(|path| path.received.as_deref());
        let nat_flags = if received.is_some() { settings.nat_flags } else { 0 };
        let user_agent = message.user_agent().unwrap_or_default();
        let common = Common {
            received: received.or_else(|| received_avp(cx)),
            path: path.as_ref().map(|path| path.value.as_slice()),
            user_agent: user_agent.get(..MAX_USER_AGENT).unwrap_or(user_agent),
            methods: allowed(message),
            default_q: settings.default_q,
            flags: cx.msg.branch_flags | nat_flags,
            socket: cx.shared.identity.listeners().get(cx.msg.socket).map(|listener| listener.addr),
        };
        if common.received.is_some_and(|received| received.len() > MAX_CONTACT) {
            return Err(Refusal::bad_request("Contact/received too long"));
        }
        let new: Vec<NewContact<'_>> = contacts.iter().map(|contact| contact.with(&common)).collect();
        let request = SaveRequest {
            contacts: &new,
            call_id,
            cseq: self.cseq,
            expires: message.known(HeaderName::Expires).map(|_| message.expires().unwrap_or(MALFORMED_EXPIRES)),
            now: self.now,
            rules: settings.rules,
            replace: flags & REPLACE != 0,
        };
        let saved = cx.shared.location.save(self.table, &self.aor, &request);
        let outcome = saved.map_err(|error| Refusal::of(error, settings.retry_after))?;
        let mut lines = Vec::with_capacity(LINES);
        self.list(&outcome.contacts, outcome.address, &mut lines);
        if let Some(path) = path.as_ref().filter(|path| path.answered) {
            lines.extend_from_slice(&[b"Path: ", path.value.as_slice(), b"\r\n"].concat());
        }
        // Only who is next to the phone, or has a proxy there that keeps flows, can promise it (RFC 5626 §6).
        let keeps_flows =
            || path.as_ref().map_or_else(|| message.further_vias().next().is_none(), |path| path.keeps_flows);
        if self.supported.outbound && keeps_flows() && contacts.iter().any(Parsed::is_flow) {
            lines.extend_from_slice(b"Require: outbound\r\n");
        }
        push_date(&mut lines);
        Ok((outcome.kind, lines))
    }

    /// Appends the header line with these contacts.
    fn list(&self, contacts: &[Arc<Contact>], address: u64, lines: &mut Vec<u8>) {
        let Register { cx, settings, call_id, cseq, now, .. } = *self;
        let wants_gruus = self.supported.gruu && settings.gruu;
        let gruus = if wants_gruus { Gruus::new(&cx.shared, self.uri, address) } else { None };
        let received_param = settings.received_param.as_bytes();
        let listing = Listing { request: self.message.bytes().len(), call_id, cseq, now, received_param, gruus };
        let left_out = listing.push_line(contacts, lines);
        if left_out > 0 {
            tracing::debug!(source = %cx.msg.source, left_out, "the answer to a REGISTER does not list all contacts");
        }
    }
}

fn result_code(kind: SaveKind) -> i64 {
    match kind {
        SaveKind::Inserted | SaveKind::Retransmission => 1,
        SaveKind::Updated => 2,
        SaveKind::Removed => 3,
        SaveKind::Query => 4,
    }
}

/// All contacts of the message; one more than a request may name if there are more than that.
fn contacts(message: &Message) -> Result<Vec<Parsed<'_>>, Refusal> {
    // Most phones name one.
    let mut contacts = Vec::with_capacity(1);
    let mut lines = 0;
    let mut line = None;
    for item in message.contacts() {
        if line != Some(item.header) {
            line = Some(item.header);
            lines += 1;
        }
        contacts.push(Parsed::read(&item)?);
        if contacts.len() > MAX_NAMED {
            return Ok(contacts);
        }
    }
    // A header without a value is no query.
    if lines < message.all_known(HeaderName::Contact).count() {
        return Err(Refusal::bad_request("Contact parse error"));
    }
    Ok(contacts)
}

/// Where the script says that the REGISTER came from (`received_avp`).
fn received_avp(cx: &Cx) -> Option<&[u8]> {
    let name = cx.shared.settings.registrar.received_avp.as_deref()?;
    let received = cx.msg.avps.text(name)?;
    // One that is too long is the caller's to refuse.
    if is_source(received) || received.len() > MAX_CONTACT {
        return Some(received);
    }
    tracing::warn!(target: "script", "save: the received_avp holds no SIP URI; it is ignored");
    None
}

/// The extensions among those of a header that matter here.
#[derive(Clone, Copy, Debug, Default)]
struct Options {
    path: bool,
    outbound: bool,
    gruu: bool,
}

impl Options {
    fn of(message: &Message, name: HeaderName) -> Options {
        let mut options = Options::default();
        let lines = message.all_known(name).map(|header| message.text(header.value));
        for option in lines.flat_map(split_list).take(MAX_WORDS) {
            options.path |= option.eq_ignore_ascii_case(b"path");
            options.outbound |= option.eq_ignore_ascii_case(b"outbound");
            options.gruu |= option.eq_ignore_ascii_case(b"gruu");
        }
        options
    }
}
