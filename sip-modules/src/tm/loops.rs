//! Requests that go round in circles (RFC 3261 §16.3 step 4, RFC 5393).
//!
//! A request that comes back with nothing changed would be forwarded like before, for as many rounds as Max-Forwards allows,
//! and one that is forked in each round makes a number of copies with seventy digits. Against the first the branch parameter of our
//! Via carries a hash of all that decides about the next hop; against the second Max-Breadth shares sixty copies out among the
//! branches.

use std::hash::{Hash, Hasher};

use crate::message::{Edits, HeaderName, Message, WriteError};
use crate::proxy::Cx;
use crate::transaction::BranchToken;

/// How many copies of a request there may be at the same time if nobody says otherwise (RFC 5393 §5.3.3).
const MAX_BREADTH: usize = 60;

const HEADER: &[u8] = b"Max-Breadth";

/// Returns the hash of what decides where the request being routed goes; `None` for one within a dialog, which is not forked.
///
/// Who has sent it belongs to it: a server that a request visits on its way sends it back unchanged, and the script tells by its
/// address that it has been there.
pub(super) fn path(cx: &Cx) -> Option<u32> {
    let message = &cx.msg.message;
    if message.has_to_tag() {
        return None;
    }
    let from_tag = message.from_tag();
    let number = message.cseq().map(|cseq| cseq.number);
    let steering = Steering(message);
    let hash = cx.shared.hash((
        message.ruri(),
        message.call_id(),
        from_tag,
        number,
        steering,
        cx.msg.source.ip(),
        cx.msg.socket,
    ));
    Some((hash ^ hash >> 32) as u32)
}

/// The values of the headers that decide about the next hop.
struct Steering<'a>(&'a Message);

impl Hash for Steering<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        use HeaderName::{ProxyAuthorization, ProxyRequire, Route};
        for header in self.0.header_lines() {
            if matches!(header.name, Route | ProxyRequire | ProxyAuthorization) {
                self.0.text(header.value).hash(state);
            }
        }
    }
}

/// Returns whether the request being routed has been here just like this.
pub(crate) fn has_been_here(cx: &Cx) -> bool {
    if matches!(cx.msg.method(), b"ACK" | b"CANCEL") {
        return false;
    }
    let message = &cx.msg.message;
    let hash = |branch: &[u8]| BranchToken::decode(branch)?.path;
    let top = message.top_branch().and_then(hash);
    let others = message.further_vias().filter_map(|item| hash(item.via()?.branch()?));
    let mut hashes = top.into_iter().chain(others).peekable();
    hashes.peek().is_some() && path(cx).is_some_and(|here| hashes.any(|hash| hash == here))
}

/// How many copies of a request may be made, and what each of them may make in its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Breadth {
    pub(super) copies: usize,
    /// The Max-Breadth of each copy; `None` leaves the request as it is.
    share: Option<usize>,
}

impl Breadth {
    /// Shares the request's Max-Breadth out among so many targets. One that is not forked keeps what it has.
    pub(super) fn of(message: &Message, targets: usize) -> Breadth {
        let given = message.header(HEADER).map(|header| message.text(header.value));
        // What is no number is no limit of its own.
        let given = given.and_then(|text| std::str::from_utf8(text).ok()?.parse::<usize>().ok());
        let total = given.map_or(MAX_BREADTH, |total| total.min(MAX_BREADTH));
        let copies = targets.min(total);
        Breadth { copies, share: (targets > 1).then(|| total / copies.max(1)) }
    }

    /// Writes the share of a copy.
    pub(super) fn write(self, message: &Message, edits: &mut Edits) -> Result<(), WriteError> {
        let Some(share) = self.share else { return Ok(()) };
        edits.remove_headers(message, HEADER);
        edits.append_headers(message, format!("Max-Breadth: {share}\r\n").as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::testing::{INVITE, cx};

    #[test]
    fn the_hash_is_of_what_decides_about_the_next_hop() {
        let invite = INVITE.replace(";tag=to1", "");
        let one = cx(&invite);
        let here = path(&one).unwrap();
        for (what, text, same) in [
            ("another branch of the hop before", invite.replace("z9hG4bK1", "z9hG4bK2"), true),
            ("a further hop", invite.replace("Via:", "Via: SIP/2.0/UDP 127.0.0.7;branch=z9hG4bK7\r\nVia:"), true),
            ("another R-URI", invite.replace("bob:pw@", "carol@"), false),
            ("a Route", invite.replace("Via:", "Route: <sip:127.0.0.7;lr>\r\nVia:"), false),
            ("credentials", invite.replace("Via:", "Proxy-Authorization: Digest username=\"a\"\r\nVia:"), false),
            ("another call", invite.replace("call-1", "call-2"), false),
            ("the next request", invite.replace("CSeq: 7", "CSeq: 8"), false),
        ] {
            let mut other = cx(&text);
            other.shared = one.shared.clone();
            assert_eq!(path(&other) == Some(here), same, "{what}");
        }
        let mut other = cx(&invite);
        other.shared = one.shared.clone();
        other.msg.source = "127.0.0.7:5060".parse().unwrap();
        assert_ne!(path(&other), Some(here), "from somebody else");
        assert_eq!(path(&cx(INVITE)), None, "within a dialog");
    }

    #[test]
    fn the_breadth_is_shared_out() {
        for (header, targets, copies, share) in [
            ("", 1, 1, None),
            ("", 2, 2, Some(30)),
            ("", 12, 12, Some(5)),
            ("Max-Breadth: 5\r\n", 1, 1, None),
            ("Max-Breadth: 5\r\n", 2, 2, Some(2)),
            ("max-breadth: 5\r\n", 12, 5, Some(1)),
            ("Max-Breadth: 1\r\n", 2, 1, Some(1)),
            ("Max-Breadth: 0\r\n", 1, 0, None),
            ("Max-Breadth: 0\r\n", 2, 0, Some(0)),
            ("Max-Breadth: 4000000000000\r\n", 2, 2, Some(30)),
            ("Max-Breadth: much\r\n", 2, 2, Some(30)),
        ] {
            let message = Message::parse(INVITE.replace("X-List: one\r\n", header).as_bytes()).unwrap();
            assert_eq!(Breadth::of(&message, targets), Breadth { copies, share }, "{header:?} {targets}");
        }
    }
}
