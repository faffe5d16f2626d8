//! The key that finds a caller's transaction for a request (RFC 3261 §17.2.3).

use super::token::MAGIC_COOKIE;

/// The parts of a request that identify its transaction, as they stand in the message.
#[derive(Clone, Copy, Debug)]
pub struct KeyParts<'a> {
    /// The method of the request line.
    pub method: &'a [u8],
    /// The `branch` parameter of the top Via, if there is one.
    pub branch: Option<&'a [u8]>,
    /// The host of the top Via's sent-by.
    pub sent_by_host: &'a [u8],
    /// The port of the top Via's sent-by, if it has one.
    pub sent_by_port: Option<u16>,
    /// The Call-ID.
    pub call_id: &'a [u8],
    /// The number of the CSeq.
    pub cseq: u32,
    /// The tag of From, if it has one.
    pub from_tag: Option<&'a [u8]>,
    /// The Request-URI.
    pub ruri: &'a [u8],
    /// The whole value of the top Via.
    pub via: &'a [u8],
}

/// A transaction's key: equal only if all the parts that count are equal, byte for byte.
///
/// With a branch that begins with the magic cookie, branch, sent-by and method count. Without it the rules of RFC 2543
/// hold: Call-ID, CSeq number, From tag, Request-URI, top Via and method. The To tag is left out of those, because
/// the first request does not have the tag that its ACK has.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServerKey {
    bytes: Vec<u8>,
}

impl ServerKey {
    /// The key of a request's own transaction; an ACK has none and gets the INVITE's.
    pub fn new(parts: &KeyParts<'_>) -> Self {
        match parts.method {
            b"ACK" => Self::build(parts, b"INVITE"),
            method => Self::build(parts, method),
        }
    }

    /// The key of the INVITE that an ACK or a CANCEL belongs to.
    pub fn of_invite(parts: &KeyParts<'_>) -> Self {
        Self::build(parts, b"INVITE")
    }

    /// How many bytes it holds on the heap.
    pub(super) fn memory(&self) -> usize {
        self.bytes.capacity()
    }

    fn build(parts: &KeyParts<'_>, method: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(128);
        match parts.branch.filter(|branch| has_cookie(branch)) {
            Some(branch) => {
                bytes.push(b'3');
                field(&mut bytes, branch);
                // Host names compare without regard to case; everything else here is compared as it stands.
                field(&mut bytes, parts.sent_by_host);
                let host = bytes.len() - parts.sent_by_host.len();
                bytes.get_mut(host..).unwrap_or_default().make_ascii_lowercase();
                match parts.sent_by_port {
                    Some(port) => field(&mut bytes, &port.to_be_bytes()),
                    None => field(&mut bytes, b""),
                }
            }
            None => {
                bytes.push(b'2');
                field(&mut bytes, parts.call_id);
                field(&mut bytes, &parts.cseq.to_be_bytes());
                // No tag and an empty tag are different things.
                bytes.push(u8::from(parts.from_tag.is_some()));
                field(&mut bytes, parts.from_tag.unwrap_or_default());
                field(&mut bytes, parts.ruri);
                field(&mut bytes, parts.via);
            }
        }
        field(&mut bytes, method);
        Self { bytes }
    }
}

/// Appends a field after its length, so that no two lists of fields give the same bytes.
fn field(bytes: &mut Vec<u8>, value: &[u8]) {
    bytes.extend_from_slice(&(value.len() as u64).to_be_bytes());
    bytes.extend_from_slice(value);
}

fn has_cookie(branch: &[u8]) -> bool {
    let cookie = branch.get(..MAGIC_COOKIE.len());
    // A bare cookie identifies nothing.
    branch.len() > MAGIC_COOKIE.len() && cookie.is_some_and(|start| start.eq_ignore_ascii_case(MAGIC_COOKIE))
}

#[cfg(test)]
impl ServerKey {
    /// The key of an INVITE of which only the branch matters.
    pub(crate) fn of_branch(branch: &[u8]) -> ServerKey {
        ServerKey::new(&KeyParts {
            method: b"INVITE",
            branch: Some(branch),
            sent_by_host: b"host",
            sent_by_port: None,
            call_id: b"",
            cseq: 1,
            from_tag: None,
            ruri: b"",
            via: b"",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INVITE: KeyParts<'static> = KeyParts {
        method: b"INVITE",
        branch: Some(b"z9hG4bK776asdhds"),
        sent_by_host: b"pc33.example.com",
        sent_by_port: None,
        call_id: b"a84b4c76e66710",
        cseq: 314159,
        from_tag: Some(b"1928301774"),
        ruri: b"sip:bob@example.com",
        via: b"SIP/2.0/UDP pc33.example.com;branch=z9hG4bK776asdhds",
    };

    const OLD: KeyParts<'static> = KeyParts { branch: Some(b"1"), ..INVITE };

    fn with(base: KeyParts<'static>, change: impl FnOnce(&mut KeyParts<'static>)) -> ServerKey {
        let mut parts = base;
        change(&mut parts);
        ServerKey::new(&parts)
    }

    #[test]
    fn with_the_cookie_branch_sent_by_and_method_count() {
        let key = ServerKey::new(&INVITE);
        assert_ne!(key, with(INVITE, |p| p.branch = Some(b"z9hG4bK776asdhdt")));
        assert_ne!(key, with(INVITE, |p| p.sent_by_host = b"pc34.example.com"));
        assert_ne!(key, with(INVITE, |p| p.sent_by_port = Some(5060)));
        assert_ne!(key, with(INVITE, |p| p.method = b"OPTIONS"));
    }

    #[test]
    fn with_the_cookie_nothing_else_counts() {
        let key = ServerKey::new(&INVITE);
        assert_eq!(key, with(INVITE, |p| p.call_id = b"other"));
        assert_eq!(key, with(INVITE, |p| p.cseq = 1));
        assert_eq!(key, with(INVITE, |p| p.ruri = b"sip:other"));
        assert_eq!(key, with(INVITE, |p| p.sent_by_host = b"PC33.Example.com"));
    }

    #[test]
    fn an_ack_has_the_key_of_its_invite() {
        for base in [INVITE, OLD] {
            assert_eq!(ServerKey::new(&base), with(base, |p| p.method = b"ACK"));
        }
    }

    #[test]
    fn a_cancel_has_a_key_of_its_own_and_leads_to_the_invite() {
        for base in [INVITE, OLD] {
            let cancel = KeyParts { method: b"CANCEL", ..base };
            assert_ne!(ServerKey::new(&cancel), ServerKey::new(&base));
            assert_eq!(ServerKey::of_invite(&cancel), ServerKey::new(&base));
        }
    }

    #[test]
    fn without_the_cookie_every_rfc_2543_part_counts() {
        let key = ServerKey::new(&OLD);
        assert_eq!(key, with(OLD, |p| p.branch = None));
        assert_ne!(key, with(OLD, |p| p.call_id = b"other"));
        assert_ne!(key, with(OLD, |p| p.cseq = 1));
        assert_ne!(key, with(OLD, |p| p.from_tag = Some(b"other")));
        assert_ne!(key, with(OLD, |p| p.ruri = b"sip:other"));
        assert_ne!(key, with(OLD, |p| p.via = b"SIP/2.0/UDP other"));
        assert_ne!(key, with(OLD, |p| p.method = b"BYE"));
        assert_ne!(with(OLD, |p| p.from_tag = None), with(OLD, |p| p.from_tag = Some(b"")));
    }

    #[test]
    fn a_bare_cookie_is_no_identity() {
        let bare = with(INVITE, |p| p.branch = Some(b"z9hG4bK"));
        assert_eq!(bare, ServerKey::new(&OLD));
    }

    #[test]
    fn bytes_moved_from_one_field_to_the_next_make_another_key() {
        let one = with(OLD, |p| (p.ruri, p.via) = (b"ab", b"c"));
        let two = with(OLD, |p| (p.ruri, p.via) = (b"a", b"bc"));
        assert_ne!(one, two);
    }
}
