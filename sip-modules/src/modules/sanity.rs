//! `KSR.sanity`: checks that reject broken messages (Kamailio's module `sanity`).

mod check;

use std::sync::atomic::{AtomicI64, Ordering};

use kemi_macros::kemi_export;

use crate::modules::sl::send_reply_with;
use crate::proxy::Cx;

/// The checks of `sanity_check_defaults`, as in Kamailio.
const DEFAULT_CHECKS: i64 = 3047;

/// The URIs of `sanity_check_defaults`: R-URI, From and To.
const DEFAULT_URIS: i64 = 7;

/// Checks the message and answers a request that fails a check with what is wrong.
///
/// `checks` is the sum of: 1 version of the R-URI, 2 scheme of the R-URI, 4 required headers, 32 method in CSeq, 64 number
/// in CSeq, 128 Content-Length, 256 Expires, 512 Proxy-Require, 1024 the URIs named by `uris`, 2048 digest credentials,
/// 4096 repeated tags, 8192 digest credentials if the scheme is Digest, 16384 topmost Via. `uris` is the sum of: 1 R-URI,
/// 2 From, 4 To, 8 Contact. Returns 1, or -1 if a check failed; an ACK and a reply are not answered.
#[kemi_export(module = "sanity", cost = 10)]
pub fn sanity_check(cx: &mut Cx, checks: i64, uris: i64) -> i64 {
    tell_about_absent_checks(checks);
    let msg = &cx.msg;
    let Err(check::Refusal { code, reason, lines }) = check::run(&msg.message, msg.ruri(), checks, uris) else {
        return 1;
    };
    tracing::debug!(source = %msg.source, "a message fails the sanity check: {code} {reason}");
    if msg.message.is_request()
        && msg.method() != b"ACK"
        && let Err(error) = send_reply_with(cx, code, reason.as_bytes(), &lines)
    {
        tracing::warn!(source = %cx.msg.source, "sanity_check: {code} {reason} was not sent: {error}");
    }
    -1
}

/// Checks the message as `sanity_check(3047, 7)` does. Returns 1 or -1.
#[kemi_export(module = "sanity", cost = 10)]
pub fn sanity_check_defaults(cx: &mut Cx) -> i64 {
    sanity_check(cx, DEFAULT_CHECKS, DEFAULT_URIS)
}

/// Says once for each check that a script asks for in vain.
fn tell_about_absent_checks(checks: i64) {
    static TOLD: AtomicI64 = AtomicI64::new(0);
    let absent = checks & !check::ALL;
    if absent & !TOLD.load(Ordering::Relaxed) != 0 && absent & !TOLD.fetch_or(absent, Ordering::Relaxed) != 0 {
        let known = check::ALL;
        tracing::warn!(target: "script", "sanity_check: there are no checks {absent}; those there are sum up to {known}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::sl::wire::{Wire, reply, request};

    const ALL_URIS: i64 = 15;

    /// A sound request with all that is checked.
    fn sound() -> String {
        request(
            "INVITE",
            "sip:bob@example.org",
            "Contact: <sip:alice@127.0.0.1:9>\r\nExpires: 60\r\nAuthorization: Digest username=\"alice\", \
             realm=\"example.org\", nonce=\"n1\", uri=\"sip:example.org\", response=\"0123\"\r\n",
        )
    }

    #[test]
    fn a_sound_message_passes_every_check() {
        for text in [sound(), reply("200 OK", "INVITE", "Contact: <sip:b@h>\r\n")] {
            for (checks, uris) in [(17895, 7), (17604, 6), (1511, 7), (check::ALL, ALL_URIS), (0, 0), (-1, -1)] {
                let mut wire = Wire::new(&text);
                assert_eq!(sanity_check(&mut wire.cx, checks, uris), 1, "{checks}");
                assert_eq!(sanity_check_defaults(&mut wire.cx), 1);
                assert_eq!(wire.sent(), None);
            }
        }
    }

    #[test]
    fn each_fault_has_its_check_and_its_answer() {
        for (bit, from, to, answer) in [
            (0, " SIP/2.0\r\n", " SIP/3.0\r\n", "505 Version Not Supported (R-URI)"),
            (1, "sip:bob@example.org SIP", "sip:bob@ SIP", "400 Bad Request URI"),
            (1, "sip:bob@example.org SIP", "bob SIP", "400 Bad Request URI"),
            (1, "sip:bob@example.org SIP", "http://h SIP", "416 Unsupported URI Scheme in Request URI"),
            (5, "CSeq: 1 INVITE", "CSeq: 1", "400 Missing method in CSeq header"),
            (5, "CSeq: 1 INVITE", "CSeq: 1 BYE", "400 CSeq method does not match request method"),
            (6, "CSeq: 1 INVITE", "CSeq: INVITE", "400 Missing number in CSeq header"),
            (6, "CSeq: 1 INVITE", "CSeq: 4294967296 INVITE", "400 CSeq number is illegal"),
            (6, "CSeq: 1 INVITE", "CSeq: x1 INVITE", "400 CSeq number is illegal"),
            (6, "CSeq: 1 INVITE", "CSeq: -1 INVITE", "400 CSeq number is illegal"),
            (7, "Content-Length: 0", "Content-Length: 1", "400 Content-Length mis-match"),
            (7, "Content-Length: 0", "Content-Length: -1", "400 Content-Length Failure"),
            (7, "Content-Length: 0\r\n\r\n", "Content-Length: 0\r\n", "400 Content-Length Body Failure"),
            (2, "Expires: 60", "Expires: 60\r\nExpires: 60", "400 Multiple Expires Headers"),
            (2, "CSeq: 1 INVITE", "CSeq: 1 INVITE\r\nt: <sip:x@h>", "400 Multiple To Headers"),
            (8, "Expires: 60", "Expires: ", "400 Missing number in Expires header"),
            (8, "Expires: 60", "Expires: soon", "400 Expires value is illegal"),
            (10, "sip:bob@example.org SIP", "sip:bob@ SIP", "400 Bad Request URI"),
            (10, "<sip:alice@example.org>", "<alice>", "400 Invalid From Header"),
            (10, "<sip:bob@example.org>", "<sip:bob@:5060>", "400 Invalid To Header"),
            (10, "<sip:alice@127.0.0.1:9>", "<sip:alice@127.0.0.1:9", "400 Bad Contact Header"),
            (10, "<sip:alice@127.0.0.1:9>", "<sip:alice@127.0.0.1:99999>", "400 Bad Contact URI"),
            (11, "Digest ", "Basic ", "400 Bad Auth Header"),
            (11, "Digest ", "", "400 Bad Auth Header"),
            (11, "username=\"alice\"", "username=\"\"", "400 Auth Empty User"),
            (11, "nonce=\"n1\"", "nonce=\"\"", "400 Auth Empty Nonce"),
            (11, "response=\"0123\"", "response=\"\"", "400 Auth Empty Response"),
            (11, "realm=\"example.org\", ", "", "400 Bad Auth Credentials"),
            (13, "nonce=\"n1\"", "nonce=\"\"", "400 Auth Empty Nonce"),
            (12, ";tag=f1", ";tag=f1;tag=f2", "400 Many From Tag Params"),
            (12, "<sip:bob@example.org>", "<sip:bob@example.org>;tag=1;TAG=2", "400 Many To Tag Params"),
        ] {
            let text = sound().replacen(from, to, 1);
            assert_ne!(text, sound(), "{answer}");
            let mut wire = Wire::new(&text);
            assert_eq!(sanity_check(&mut wire.cx, 1 << bit, ALL_URIS), -1, "{answer}");
            assert_eq!(wire.status().as_deref(), Some(answer));
            // No other check minds.
            let others = match bit {
                1 | 10 => check::ALL & !(1 << 1) & !(1 << 10),
                5 | 6 => check::ALL & !(1 << 5) & !(1 << 6),
                11 | 13 => check::ALL & !(1 << 11) & !(1 << 13),
                _ => check::ALL & !(1 << bit),
            };
            let mut wire = Wire::new(&text);
            assert_eq!(sanity_check(&mut wire.cx, others, ALL_URIS), 1, "{answer}");
        }
    }

    #[test]
    fn an_extension_for_proxies_is_refused_by_name() {
        let text = request("INVITE", "sip:b@h", "Proxy-Require: foo, bar\r\n");
        let mut wire = Wire::new(&text);
        assert_eq!(sanity_check(&mut wire.cx, 512, 0), -1);
        let answer = wire.sent().unwrap();
        assert!(answer.starts_with("SIP/2.0 420 Bad Proxy Require Extension\r\n"), "{answer}");
        assert!(answer.contains("\r\nUnsupported: foo, bar\r\n"), "{answer}");
        assert!(wire.cx.msg.reply_headers.is_empty());
    }

    #[test]
    fn other_schemes_pass_the_check_of_authorization_only() {
        let text = sound().replace("Digest username", "Bearer username");
        assert_eq!(sanity_check(&mut Wire::new(&text).cx, 1 << 13, 0), 1);
        assert_eq!(sanity_check(&mut Wire::new(&text).cx, 1 << 11, 0), -1);
    }

    #[test]
    fn what_a_uri_check_does_not_name_is_not_looked_at() {
        let text = sound().replace("<sip:alice@example.org>", "<alice>");
        for (uris, code) in [(1, 1), (2, -1), (4, 1), (8, 1)] {
            assert_eq!(sanity_check(&mut Wire::new(&text).cx, 1024, uris), code, "{uris}");
        }
        let star = request("REGISTER", "sip:h", "Contact: *\r\n");
        assert_eq!(sanity_check(&mut Wire::new(&star).cx, 1024, 8), 1);
    }

    #[test]
    fn missing_headers_fail_and_what_cannot_be_answered_is_not() {
        for name in ["Via", "From", "To", "Call-ID", "CSeq"] {
            let text = sound().replacen(&format!("\r\n{name}:"), "\r\nX-Gone:", 1);
            let mut wire = Wire::new(&text);
            assert_eq!(sanity_check(&mut wire.cx, 4, 0), -1, "{name}");
            assert_eq!(wire.sent(), None, "{name}");
        }
        let mut wire = Wire::new(&sound().replace("SIP/2.0/UDP 127.0.0.1:9", "SIP/2.0/UDP"));
        assert_eq!(sanity_check(&mut wire.cx, 1 << 14, 0), -1);
        assert_eq!(wire.status().as_deref(), Some("400 Bad Headers"));
    }

    #[test]
    fn replies_and_acks_get_no_answer() {
        let bad = "Expires: soon\r\n";
        for text in [reply("200 OK", "INVITE", bad), request("ACK", "sip:b@h", bad)] {
            let mut wire = Wire::new(&text);
            assert_eq!(sanity_check(&mut wire.cx, 256, 0), -1);
            assert_eq!(wire.sent(), None);
        }
    }
}
