//! What a request's digest credentials say, unverified.

use crate::message::{HeaderName, split_list};
use crate::proxy::MessageState;

/// Returns an attribute of the credentials without quotes: those for a proxy, else those for a server.
///
/// `None` also for ACK and CANCEL, which cannot be challenged.
pub(crate) fn attribute<'c>(msg: &'c MessageState, name: &[u8]) -> Option<&'c [u8]> {
    if matches!(msg.method(), b"ACK" | b"CANCEL") {
        return None;
    }
    let message = &msg.message;
    let value = message.value(HeaderName::ProxyAuthorization).or_else(|| message.value(HeaderName::Authorization))?;
    let (scheme, attributes) = value.split_at_checked(b"Digest".len())?;
    if !scheme.eq_ignore_ascii_case(b"Digest") || !attributes.first()?.is_ascii_whitespace() {
        return None;
    }
    split_list(attributes).find_map(|attribute| {
        let equals = attribute.iter().position(|b| *b == b'=')?;
        let (found, value) = attribute.split_at(equals);
        if !found.trim_ascii().eq_ignore_ascii_case(name) {
            return None;
        }
        let value = value.get(1..)?.trim_ascii();
        Some(value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(value))
    })
}

/// Returns the user part of the credentials' user name: what stands before an `@`.
pub(crate) fn user(msg: &MessageState) -> Option<&[u8]> {
    attribute(msg, b"username")?.split(|b| *b == b'@').next()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::testing::cx;

    fn request(method: &str, headers: &str) -> MessageState {
        cx(&format!("{method} sip:h SIP/2.0\r\nVia: SIP/2.0/UDP h\r\n{headers}\r\n")).msg
    }

    #[test]
    fn the_proxys_credentials_come_before_the_servers() {
        let server = "Authorization: Digest username=\"server\", realm=\"s\"\r\n";
        let proxy = "Proxy-Authorization: digest  realm=\"a, b\",Username = \"bob@h\" , nc=1\r\n";
        let both = request("INVITE", &format!("{server}{proxy}"));
        assert_eq!(attribute(&both, b"username"), Some(&b"bob@h"[..]));
        assert_eq!(attribute(&both, b"realm"), Some(&b"a, b"[..]));
        assert_eq!(attribute(&both, b"nc"), Some(&b"1"[..]));
        assert_eq!(attribute(&both, b"nonce"), None);
        assert_eq!(user(&both), Some(&b"bob"[..]));
        assert_eq!(user(&request("REGISTER", server)), Some(&b"server"[..]));
    }

    #[test]
    fn there_are_none_without_digest_or_where_nothing_is_challenged() {
        let proxy = "Proxy-Authorization: Digest username=\"bob\"\r\n";
        assert_eq!(user(&request("ACK", proxy)), None);
        assert_eq!(user(&request("INVITE", "")), None);
        assert_eq!(user(&request("INVITE", "Authorization: Basic username=x\r\n")), None);
        assert_eq!(user(&request("INVITE", "Authorization: Dig\r\n")), None);
        assert_eq!(user(&request("INVITE", "Authorization: Digestusername=x\r\n")), None);
    }
}
