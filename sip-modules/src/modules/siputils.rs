//! `KSR.siputils`: questions about messages, URIs and texts (Kamailio's module `siputils`).

use kemi_macros::kemi_export;

use crate::message::{HeaderName, Params, Uri};
use crate::proxy::{Cx, send_stateless, with_lines};

/// What `options_reply` says of this proxy, as Kamailio does by default.
const CAPABILITIES: &[u8] = b"Accept: */*\r\nAccept-Encoding: \r\nAccept-Language: en\r\nSupported: \r\n";

/// Tells whether the To header has a tag: the message belongs to a dialog. Returns 1 or -1.
#[kemi_export(module = "siputils")]
pub fn has_totag(cx: &Cx) -> i64 {
    answer(cx.msg.message.has_to_tag())
}

/// Tells whether the message is a request. Returns 1 or -1.
#[kemi_export(module = "siputils")]
pub fn is_request(cx: &Cx) -> i64 {
    answer(cx.msg.message.is_request())
}

/// Tells whether the message is a reply. Returns 1 or -1.
#[kemi_export(module = "siputils")]
pub fn is_reply(cx: &Cx) -> i64 {
    answer(cx.msg.message.is_reply())
}

/// Tells whether this proxy is the first one that the message passes.
///
/// A request: it has one Via. A reply: it has no Record-Route, or the topmost one is this proxy's and the reply does not
/// come from that very address. Returns 1 or -1.
#[kemi_export(module = "siputils")]
pub fn is_first_hop(cx: &Cx) -> i64 {
    let message = &cx.msg.message;
    if message.is_request() {
        return answer(message.vias().count() == 1);
    }
    let Some(top) = message.record_routes().next() else { return 1 };
    let uri = top.name_addr().and_then(|route| route.uri());
    answer(uri.is_some_and(|uri| {
        let source = cx.msg.source;
        let from_there = uri.host_ip() == Some(source.ip()) && uri.port.unwrap_or(5060) == source.port();
        cx.shared.identity.is_my_uri(&uri) && !from_there
    }))
}

/// Tells whether a text is a `sip`, `sips` or `tel` URI. Returns 1 or -1.
#[kemi_export(module = "siputils", context = Cx)]
pub fn is_uri(text: &[u8]) -> i64 {
    let known = |uri: Uri<'_>| uri.is_sip() || uri.scheme == crate::message::Scheme::Tel;
    answer(Uri::parse(text).is_some_and(known))
}

/// Tells whether a text is a telephone number: digits, with a plus before them if need be. Returns 1 or -1.
#[kemi_export(module = "siputils", context = Cx)]
pub fn is_tel_number(text: &[u8]) -> i64 {
    answer(all(text.strip_prefix(b"+").unwrap_or(text), u8::is_ascii_digit))
}

/// Tells whether a text consists of decimal digits. Returns 1 or -1.
#[kemi_export(module = "siputils", context = Cx)]
pub fn is_numeric(text: &[u8]) -> i64 {
    answer(all(text, u8::is_ascii_digit))
}

/// Tells whether a text consists of ASCII letters and digits. Returns 1 or -1.
#[kemi_export(module = "siputils", context = Cx)]
pub fn is_alphanum(text: &[u8]) -> i64 {
    answer(all(text, u8::is_ascii_alphanumeric))
}

/// Tells whether a text consists of ASCII letters, digits and the characters of `extra`. Returns 1 or -1.
#[kemi_export(module = "siputils", context = Cx)]
pub fn is_alphanumex(text: &[u8], extra: &[u8]) -> i64 {
    answer(all(text, |byte| byte.is_ascii_alphanumeric() || extra.contains(byte)))
}

/// Tells whether the R-URI has a parameter of that name without a value. Returns 1 or -1.
#[kemi_export(module = "siputils")]
pub fn uri_param(cx: &Cx, name: &[u8]) -> i64 {
    answer(ruri_params(cx).get(name).is_some_and(|param| param.value.is_none_or(<[u8]>::is_empty)))
}

/// Tells whether the R-URI has a parameter of that name and value, in any case. Returns 1 or -1.
#[kemi_export(module = "siputils")]
pub fn uri_param_value(cx: &Cx, name: &[u8], value: &[u8]) -> i64 {
    answer(ruri_params(cx).value(name).is_some_and(|found| found.eq_ignore_ascii_case(value)))
}

/// Tells whether the R-URI has a parameter of that name, with a value or without. Returns 1 or -1.
#[kemi_export(module = "siputils")]
pub fn uri_param_any(cx: &Cx, name: &[u8]) -> i64 {
    answer(ruri_params(cx).contains(name))
}

/// Removes all parameters of that name from the R-URI. Returns 1, or -1 if there is none.
#[kemi_export(module = "siputils")]
pub fn uri_param_rm(cx: &mut Cx, name: &[u8]) -> i64 {
    let Some(uri) = Uri::parse(cx.msg.ruri()) else { return -1 };
    if !uri.params.contains(name) {
        return -1;
    }
    let Some((head, tail)) = around_params(&uri) else { return -1 };
    let mut changed = head.to_vec();
    for param in uri.params.iter().filter(|param| !param.name.eq_ignore_ascii_case(name)) {
        changed.extend_from_slice(param.raw);
    }
    changed.extend_from_slice(tail);
    cx.msg.new_ruri = Some(changed);
    1
}

/// Adds a parameter `name=value` to the R-URI.
///
/// Returns 1, or -1 if the R-URI cannot be read or the text is no parameter.
#[kemi_export(module = "siputils")]
pub fn add_uri_param(cx: &mut Cx, param: &[u8]) -> i64 {
    let param = param.strip_prefix(b";").unwrap_or(param);
    if param.is_empty() || param.iter().any(|byte| *byte <= b' ' || *byte == 0x7f || b"<>\",?@".contains(byte)) {
        let text = param.escape_ascii();
        tracing::warn!(target: "script", "add_uri_param: '{text}' is no parameter; pass 'name=value'");
        return -1;
    }
    let Some(uri) = Uri::parse(cx.msg.ruri()) else { return -1 };
    let Some((head, tail)) = around_params(&uri) else { return -1 };
    cx.msg.new_ruri = Some([head, uri.params.raw(), b";", param, tail].concat());
    1
}

/// Answers an OPTIONS request without user in its R-URI with 200 and what this proxy can do, without a transaction.
///
/// Returns 1, or -1 if it is another request or the reply cannot be sent.
#[kemi_export(module = "siputils", cost = 10)]
pub fn options_reply(cx: &mut Cx) -> i64 {
    let message = &cx.msg.message;
    let for_proxy = Uri::parse(cx.msg.ruri()).is_some_and(|uri| uri.user.is_none());
    if message.is_reply() || cx.msg.method() != b"OPTIONS" || !for_proxy {
        return -1;
    }
    match with_lines(cx, CAPABILITIES, |cx| send_stateless(cx, 200, b"OK")) {
        Ok(()) => 1,
        Err(error) => {
            tracing::warn!(target: "script", "options_reply: {error}");
            -1
        }
    }
}

/// Tells whether two URIs are equivalent (RFC 3261 §19.1.4). Returns 1, or -1 if they are not or one cannot be read.
#[kemi_export(module = "siputils", context = Cx)]
pub fn cmp_uri(one: &[u8], other: &[u8]) -> i64 {
    answer(match (Uri::parse(one), Uri::parse(other)) {
        (Some(one), Some(other)) => one.equivalent(&other),
        _ => false,
    })
}

/// Tells whether two URIs name the same address of record: the same user and, in any case, the same host.
///
/// Returns 1, or -1 if they do not or one cannot be read.
#[kemi_export(module = "siputils", context = Cx)]
pub fn cmp_aor(one: &[u8], other: &[u8]) -> i64 {
    answer(match (Uri::parse(one), Uri::parse(other)) {
        (Some(one), Some(other)) => one.user == other.user && one.host.eq_ignore_ascii_case(other.host),
        _ => false,
    })
}

/// Tells whether two names are of the same header, in any case, compact or long. Returns 1 or -1.
#[kemi_export(module = "siputils", context = Cx)]
pub fn cmp_hdr_name(one: &[u8], other: &[u8]) -> i64 {
    let known = HeaderName::from_bytes(one);
    let same_known = known != HeaderName::Other && known == HeaderName::from_bytes(other);
    answer(same_known || one.eq_ignore_ascii_case(other))
}

/// Tells whether the R-URI is a GRUU (RFC 5627). Returns 1 for a public one, 2 for a temporary one, else -1.
#[kemi_export(module = "siputils")]
pub fn is_gruu(cx: &Cx) -> i64 {
    match ruri_params(cx).get(b"gr").map(|param| param.value.unwrap_or_default()) {
        None => -1,
        Some(b"") => 2,
        Some(_) => 1,
    }
}

fn answer(yes: bool) -> i64 {
    if yes { 1 } else { -1 }
}

fn all(text: &[u8], fits: impl Fn(&u8) -> bool) -> bool {
    !text.is_empty() && text.iter().all(fits)
}

fn ruri_params(cx: &Cx) -> Params<'_> {
    Uri::parse(cx.msg.ruri()).map(|uri| uri.params).unwrap_or_default()
}

/// What stands before and behind a URI's parameters; `None` for schemes that this proxy cannot take apart.
fn around_params<'a>(uri: &Uri<'a>) -> Option<(&'a [u8], &'a [u8])> {
    if matches!(uri.scheme, crate::message::Scheme::Other(_)) {
        return None;
    }
    let headers = uri.headers.map_or(0, |headers| headers.len() + 1);
    let end = uri.raw.len().checked_sub(headers)?;
    let start = end.checked_sub(uri.params.raw().len())?;
    Some((uri.raw.get(..start)?, uri.raw.get(end..)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::sl::wire::{Wire, reply, request};

    #[test]
    fn what_kind_of_message_it_is() {
        let invite = Wire::new(&request("INVITE", "sip:b@h", "")).cx;
        assert_eq!((is_request(&invite), is_reply(&invite), has_totag(&invite)), (1, -1, -1));
        let ringing = Wire::new(&reply("180 Ringing", "INVITE", "")).cx;
        assert_eq!((is_request(&ringing), is_reply(&ringing), has_totag(&ringing)), (-1, 1, 1));
    }

    #[test]
    fn the_first_hop() {
        for (more, code) in [("", 1), ("Via: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK2\r\n", -1)] {
            assert_eq!(is_first_hop(&Wire::new(&request("INVITE", "sip:b@h", more)).cx), code, "{more}");
        }
        for (more, code) in [
            ("", 1),
            ("Record-Route: <sip:127.0.0.1:5060;lr>\r\n", 1),
            ("Record-Route: <sip:10.0.0.1;lr>, <sip:127.0.0.1:5060;lr>\r\n", -1),
            ("Record-Route: nonsense\r\n", -1),
        ] {
            assert_eq!(is_first_hop(&Wire::new(&reply("200 OK", "INVITE", more)).cx), code, "{more}");
        }
        // From that very address it is a loop.
        let mut wire = Wire::new(&reply("200 OK", "INVITE", "Record-Route: <sip:127.0.0.1:5060;lr>\r\n"));
        wire.cx.msg.source = "127.0.0.1:5060".parse().unwrap();
        assert_eq!(is_first_hop(&wire.cx), -1);
    }

    #[test]
    fn texts() {
        for (text, uri, number, tel, alphanum) in [
            ("sip:a@h", 1, -1, -1, -1),
            ("tel:+1", 1, -1, -1, -1),
            ("http://h", -1, -1, -1, -1),
            ("123", -1, 1, 1, 1),
            ("+123", -1, -1, 1, -1),
            ("+", -1, -1, -1, -1),
            ("12a", -1, -1, -1, 1),
            ("", -1, -1, -1, -1),
        ] {
            let bytes = text.as_bytes();
            let found = (is_uri(bytes), is_numeric(bytes), is_tel_number(bytes), is_alphanum(bytes));
            assert_eq!(found, (uri, number, tel, alphanum), "{text:?}");
        }
        assert_eq!(is_alphanumex(b"a.b-1", b".-"), 1);
        assert_eq!(is_alphanumex(b"a_b", b".-"), -1);
    }

    #[test]
    fn parameters_of_the_current_uri() {
        let mut wire = Wire::new(&request("INVITE", "sip:b@h;x", ""));
        assert_eq!(uri_param_any(&wire.cx, b"X"), 1);
        wire.cx.msg.new_ruri = Some(b"sip:b@h;lr;user=Phone;ob=?subject=a".to_vec());
        for (name, bare, phone, any) in
            [("lr", 1, -1, 1), ("user", -1, 1, 1), ("ob", 1, -1, 1), ("x", -1, -1, -1), ("subject", -1, -1, -1)]
        {
            let name = name.as_bytes();
            let cx = &wire.cx;
            assert_eq!(
                (uri_param(cx, name), uri_param_value(cx, name, b"phone"), uri_param_any(cx, name)),
                (bare, phone, any)
            );
        }
        assert_eq!(uri_param_rm(&mut wire.cx, b"USER"), 1);
        assert_eq!(wire.cx.msg.ruri(), b"sip:b@h;lr;ob=?subject=a");
        assert_eq!(uri_param_rm(&mut wire.cx, b"user"), -1);
        assert_eq!(add_uri_param(&mut wire.cx, b"nat=yes"), 1);
        assert_eq!(wire.cx.msg.ruri(), b"sip:b@h;lr;ob=;nat=yes?subject=a");
        for bad in [&b""[..], b"a b", b"a\r\nX: 1", b"a>b"] {
            assert_eq!(add_uri_param(&mut wire.cx, bad), -1);
        }
        assert_eq!(wire.cx.msg.ruri(), b"sip:b@h;lr;ob=;nat=yes?subject=a");
        wire.cx.msg.new_ruri = Some(b"sip:h".to_vec());
        assert_eq!(add_uri_param(&mut wire.cx, b";lr"), 1);
        assert_eq!(wire.cx.msg.ruri(), b"sip:h;lr");
    }

    #[test]
    fn gruus() {
        for (uri, code) in [("sip:b@h;gr=urn:uuid:1", 1), ("sip:x@h;gr", 2), ("sip:b@h", -1)] {
            assert_eq!(is_gruu(&Wire::new(&request("INVITE", uri, "")).cx), code, "{uri}");
        }
    }

    #[test]
    fn comparisons() {
        assert_eq!(cmp_uri(b"sip:a@H;x=1", b"sip:a@h"), 1);
        assert_eq!(cmp_uri(b"sip:a@h", b"sip:A@h"), -1);
        assert_eq!(cmp_uri(b"a", b"a"), -1);
        assert_eq!(cmp_aor(b"sip:a@H:5080;transport=tcp", b"sip:a@h"), 1);
        assert_eq!(cmp_aor(b"sip:a@h", b"sip:b@h"), -1);
        assert_eq!(cmp_hdr_name(b"v", b"VIA"), 1);
        assert_eq!(cmp_hdr_name(b"X-One", b"x-one"), 1);
        assert_eq!(cmp_hdr_name(b"X-One", b"X-Two"), -1);
        assert_eq!(cmp_hdr_name(b"From", b"To"), -1);
    }

    #[test]
    fn options_for_the_proxy_are_answered() {
        let mut wire = Wire::new(&request("OPTIONS", "sip:example.org", ""));
        assert_eq!(options_reply(&mut wire.cx), 1);
        let text = wire.sent().unwrap();
        assert!(text.starts_with("SIP/2.0 200 OK\r\n") && text.contains("\r\nAccept: */*\r\n"), "{text}");
        assert!(wire.cx.msg.reply_headers.is_empty());
        for text in [
            request("OPTIONS", "sip:bob@example.org", ""),
            request("INVITE", "sip:example.org", ""),
            reply("200 OK", "OPTIONS", ""),
        ] {
            let mut wire = Wire::new(&text);
            assert_eq!(options_reply(&mut wire.cx), -1);
            assert_eq!(wire.sent(), None);
        }
    }
}
