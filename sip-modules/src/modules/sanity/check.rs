//! The checks, each a function of the message.

use std::borrow::Cow;

use crate::message::{Fault, Header, HeaderName, Message, NameAddr, NameSet, Scheme, Uri, number, split_list, unquote};

/// The bits of the checks that are there.
pub(super) const ALL: i64 = 0b111_1111_1110_0111;

/// What is wrong with a message, as a reply says it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) code: u16,
    pub(super) reason: Cow<'static, str>,
    /// Header lines for the reply.
    pub(super) lines: Vec<u8>,
}

type Checked = Result<(), Refusal>;

/// Runs the checks until one fails, the headers first that the answer itself needs.
///
/// # Errors
/// What is wrong.
pub(super) fn run(message: &Message, ruri: &[u8], checks: i64, uris: i64) -> Checked {
    let asked = |bit: u32| checks & (1 << bit) != 0;
    let request = message.is_request();
    if asked(2) {
        required_headers(message)?;
    }
    if asked(0) && request {
        version(message)?;
    }
    let wanted = request && (asked(1) || asked(10) && uris & 1 != 0);
    let uri = if wanted { Uri::parse(ruri) } else { None };
    if asked(1) && request {
        scheme(uri)?;
    }
    if asked(5) {
        cseq_method(message)?;
    }
    if asked(6) {
        cseq_number(message)?;
    }
    if asked(7) {
        content_length(message)?;
    }
    if asked(8) {
        expires(message)?;
    }
    if asked(9) && request {
        proxy_require(message)?;
    }
    if asked(10) {
        if request && uris & 1 != 0 && uri.is_none() {
            return bad("Bad Request URI");
        }
        parse_uris(message, uris)?;
    }
    if asked(11) && request {
        digest(message, false)?;
    }
    if asked(12) {
        one_tag(message.from(), "Many From Tag Params")?;
        one_tag(message.to(), "Many To Tag Params")?;
    }
    if asked(13) && request {
        digest(message, true)?;
    }
    if asked(14) && message.top_via().is_none() {
        return bad("Bad Headers");
    }
    Ok(())
}

fn refuse(code: u16, reason: impl Into<Cow<'static, str>>) -> Checked {
    Err(Refusal { code, reason: reason.into(), lines: Vec::new() })
}

fn bad(reason: &'static str) -> Checked {
    refuse(400, reason)
}

fn faulty(fault: Fault) -> Checked {
    refuse(400, fault.to_string())
}

fn version(message: &Message) -> Checked {
    if message.version().eq_ignore_ascii_case(b"SIP/2.0") {
        return Ok(());
    }
    refuse(505, "Version Not Supported (R-URI)")
}

fn scheme(uri: Option<Uri<'_>>) -> Checked {
    match uri.map(|uri| uri.scheme) {
        None => bad("Bad Request URI"),
        Some(Scheme::Sip | Scheme::Sips | Scheme::Tel) => Ok(()),
        Some(Scheme::Other(name)) if name.eq_ignore_ascii_case(b"tels") || name.eq_ignore_ascii_case(b"urn") => Ok(()),
        Some(Scheme::Other(_)) => refuse(416, "Unsupported URI Scheme in Request URI"),
    }
}

/// The headers that may be there once only (RFC 3261 7.3.1), and that say what is to be done with a message.
const SINGLE: NameSet = {
    use HeaderName::*;
    NameSet::of(&[
        From,
        To,
        CallId,
        CSeq,
        MaxForwards,
        ContentLength,
        ContentType,
        Expires,
        MinExpires,
        Event,
        SubscriptionState,
        SipEtag,
        SipIfMatch,
        ReferTo,
        ReferredBy,
        Replaces,
        Join,
        RAck,
        RSeq,
        SessionExpires,
        MinSe,
    ])
};

fn required_headers(message: &Message) -> Checked {
    use HeaderName::{CSeq, CallId, From, To, Via};
    if !message.names().contains_all(NameSet::of(&[Via, From, To, CallId, CSeq])) {
        return bad("Bad Headers");
    }
    let mut seen = NameSet::default();
    for header in message.header_lines() {
        if seen.insert_noting(header.name, SINGLE) {
            return faulty(Fault::Repeated(header.name));
        }
    }
    Ok(())
}

/// The number and the method of CSeq as written; both may be empty.
fn cseq_parts(message: &Message) -> (&[u8], &[u8]) {
    let value = message.value(HeaderName::CSeq).unwrap_or_default();
    split_word(value)
}

fn cseq_method(message: &Message) -> Checked {
    match (cseq_parts(message), message.method()) {
        ((_, b""), _) => bad("Missing method in CSeq header"),
        ((_, found), Some(method)) if method.as_bytes() != found => bad("CSeq method does not match request method"),
        _ => Ok(()),
    }
}

fn cseq_number(message: &Message) -> Checked {
    match cseq_parts(message) {
        (digits, _) if number(digits).is_some() => Ok(()),
        (_, b"") => bad("Missing number in CSeq header"),
        _ => bad("CSeq number is illegal"),
    }
}

/// What is longer than it says was cut when it came (RFC 3261 18.3).
fn content_length(message: &Message) -> Checked {
    match message.fault() {
        Some(fault @ (Fault::ContentLength | Fault::Unfinished | Fault::ShortBody)) => faulty(fault),
        _ => Ok(()),
    }
}

fn expires(message: &Message) -> Checked {
    let Some(header) = message.known(HeaderName::Expires) else { return Ok(()) };
    let value = message.text(header.value);
    match value {
        b"" => bad("Missing number in Expires header"),
        value if number(value).is_some() => Ok(()),
        _ => bad("Expires value is illegal"),
    }
}

/// This proxy has no extension that a Proxy-Require could ask for.
fn proxy_require(message: &Message) -> Checked {
    let mut options = message
        .all_known(HeaderName::ProxyRequire)
        .flat_map(|header| split_list(message.text(header.value)))
        .peekable();
    if options.peek().is_none() {
        return match message.known(HeaderName::ProxyRequire) {
            Some(_) => bad("Bad Proxy Require Header"),
            None => Ok(()),
        };
    }
    let token = |option: &&[u8]| option.iter().all(|byte| byte.is_ascii_graphic());
    let options: Vec<&[u8]> = options.collect();
    if !options.iter().all(token) {
        return bad("Bad Proxy Require Header");
    }
    let lines = [b"Unsupported: ", options.join(&b", "[..]).as_slice(), b"\r\n"].concat();
    Err(Refusal { code: 420, reason: "Bad Proxy Require Extension".into(), lines })
}

fn parse_uris(message: &Message, uris: i64) -> Checked {
    if uris & 2 != 0 && !has_uri(message.from()) {
        return bad("Invalid From Header");
    }
    if uris & 4 != 0 && !has_uri(message.to()) {
        return bad("Invalid To Header");
    }
    if uris & 8 != 0 {
        for item in message.contacts().filter(|item| !item.is_star()) {
            match item.name_addr() {
                None => return bad("Bad Contact Header"),
                Some(contact) if contact.uri().is_none() => return bad("Bad Contact URI"),
                Some(_) => {}
            }
        }
    }
    Ok(())
}

fn has_uri(party: Option<NameAddr<'_>>) -> bool {
    party.is_some_and(|party| party.uri().is_some())
}

fn one_tag(party: Option<NameAddr<'_>>, reason: &'static str) -> Checked {
    let tags = party.map_or(0, |party| party.params.iter().filter(|p| p.name.eq_ignore_ascii_case(b"tag")).count());
    if tags > 1 { bad(reason) } else { Ok(()) }
}

/// All digest credentials; `lenient` lets other schemes pass.
fn digest(message: &Message, lenient: bool) -> Checked {
    let ours = |header: &&Header| matches!(header.name, HeaderName::Authorization | HeaderName::ProxyAuthorization);
    for header in message.header_lines().iter().filter(ours) {
        let value = message.unfolded(header);
        let (scheme, rest) = split_word(&value);
        if scheme.eq_ignore_ascii_case(b"Digest") {
            credentials(rest)?;
        } else if !lenient {
            return bad("Bad Auth Header");
        }
    }
    Ok(())
}

fn credentials(text: &[u8]) -> Checked {
    let value = |name: &str| {
        split_list(text).find_map(|param| {
            let equals = param.iter().position(|b| *b == b'=')?;
            let (found, value) = (param.get(..equals)?.trim_ascii(), param.get(equals + 1..)?.trim_ascii());
            found.eq_ignore_ascii_case(name.as_bytes()).then(|| unquote(value))
        })
    };
    // Empty ones first: they have answers of their own.
    for (name, reason) in
        [("username", "Auth Empty User"), ("nonce", "Auth Empty Nonce"), ("response", "Auth Empty Response")]
    {
        if value(name).is_some_and(|value| value.is_empty()) {
            return bad(reason);
        }
    }
    match ["username", "realm", "nonce", "uri", "response"].into_iter().all(|name| value(name).is_some()) {
        true => Ok(()),
        false => bad("Bad Auth Credentials"),
    }
}

/// The text up to the first white space, and what follows.
fn split_word(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(u8::is_ascii_whitespace).unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    (word, rest.trim_ascii())
}
