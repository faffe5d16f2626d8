//! Header names and the entries of the header index.

use crate::message::Span;

/// One entry of a message's header index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What header it is.
    pub name: HeaderName,
    /// The whole line with its folds and its line end.
    pub line: Span,
    /// The name as it was written, compact or long, without the spaces before the colon.
    pub name_span: Span,
    /// The value without the white space around it; folds inside of it are kept.
    pub value: Span,
}

macro_rules! names {
    ($($variant:ident $long:literal $compact:literal;)*) => {
        /// The headers known by name; a compact form and any mix of letter cases is the same name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum HeaderName {
            $(#[doc = concat!("`", $long, "`.")] $variant,)*
            /// A name that is not in this list; compare [`Header::name_span`]'s bytes.
            Other,
        }

        const ROWS: &[Row] = &[$(Row { name: HeaderName::$variant, long: $long, compact: $compact },)*];
    };
}

names! {
    To "To" b't';
    Via "Via" b'v';
    CSeq "CSeq" 0;
    Date "Date" 0;
    From "From" b'f';
    Join "Join" 0;
    Path "Path" 0;
    RAck "RAck" 0;
    RSeq "RSeq" 0;
    Allow "Allow" 0;
    Event "Event" b'o';
    Route "Route" 0;
    Accept "Accept" 0;
    MinSe "Min-SE" 0;
    Reason "Reason" 0;
    Server "Server" 0;
    CallId "Call-ID" b'i';
    Contact "Contact" b'm';
    Expires "Expires" 0;
    Privacy "Privacy" 0;
    Require "Require" 0;
    Subject "Subject" b's';
    Warning "Warning" 0;
    Identity "Identity" b'y';
    Priority "Priority" 0;
    ReferTo "Refer-To" b'r';
    Replaces "Replaces" 0;
    ReplyTo "Reply-To" 0;
    SipEtag "SIP-ETag" 0;
    CallInfo "Call-Info" 0;
    Diversion "Diversion" 0;
    Supported "Supported" b'k';
    Timestamp "Timestamp" 0;
    AlertInfo "Alert-Info" 0;
    ErrorInfo "Error-Info" 0;
    UserAgent "User-Agent" 0;
    InReplyTo "In-Reply-To" 0;
    MinExpires "Min-Expires" 0;
    ReferredBy "Referred-By" b'b';
    RetryAfter "Retry-After" 0;
    Unsupported "Unsupported" 0;
    AllowEvents "Allow-Events" b'u';
    ContentType "Content-Type" b'c';
    HistoryInfo "History-Info" 0;
    MaxForwards "Max-Forwards" 0;
    MimeVersion "MIME-Version" 0;
    Organization "Organization" 0;
    RecordRoute "Record-Route" 0;
    SipIfMatch "SIP-If-Match" 0;
    Authorization "Authorization" 0;
    IdentityInfo "Identity-Info" b'n';
    ProxyRequire "Proxy-Require" 0;
    ServiceRoute "Service-Route" 0;
    AcceptContact "Accept-Contact" b'a';
    ContentLength "Content-Length" b'l';
    RejectContact "Reject-Contact" b'j';
    AcceptEncoding "Accept-Encoding" 0;
    AcceptLanguage "Accept-Language" 0;
    SessionExpires "Session-Expires" b'x';
    ContentEncoding "Content-Encoding" b'e';
    ContentLanguage "Content-Language" 0;
    WwwAuthenticate "WWW-Authenticate" 0;
    ProxyAuthenticate "Proxy-Authenticate" 0;
    SubscriptionState "Subscription-State" 0;
    AuthenticationInfo "Authentication-Info" 0;
    ContentDisposition "Content-Disposition" 0;
    PAssertedIdentity "P-Asserted-Identity" 0;
    ProxyAuthorization "Proxy-Authorization" 0;
    RequestDisposition "Request-Disposition" b'd';
    PPreferredIdentity "P-Preferred-Identity" 0;
}

impl HeaderName {
    /// Classifies a name, long or compact, without regard to case.
    pub fn from_bytes(name: &[u8]) -> HeaderName {
        if let [letter] = name {
            return match COMPACT.get(usize::from(letter.to_ascii_lowercase())) {
                Some(found) => *found,
                None => HeaderName::Other,
            };
        }
        let Some(row) = SLOTS.get(slot(name)).and_then(|row| ROWS.get(usize::from(*row))) else {
            return HeaderName::Other;
        };
        let long = row.long.as_bytes();
        // Most write it as the RFCs do.
        if long == name || long.eq_ignore_ascii_case(name) { row.name } else { HeaderName::Other }
    }

    /// The long form as the RFCs write it; `None` for [`HeaderName::Other`].
    pub fn as_str(self) -> Option<&'static str> {
        ROWS.get(self as usize).map(|row| row.long)
    }

    /// The compact form, a small letter, where there is one.
    pub fn compact(self) -> Option<u8> {
        ROWS.get(self as usize).map(|row| row.compact).filter(|letter| *letter != 0)
    }
}

/// A set of header names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct NameSet(u128);

impl NameSet {
    /// The set of these names.
    pub(crate) const fn of(names: &[HeaderName]) -> NameSet {
        let mut set = 0;
        let mut i = 0;
        while i < names.len() {
            set |= 1 << names[i] as u32;
            i += 1;
        }
        NameSet(set)
    }

    /// Adds a name; whether it was there before and is among those that may be there once only.
    pub(crate) fn insert_noting(&mut self, name: HeaderName, single: NameSet) -> bool {
        let bit = 1 << name as u32;
        let again = self.0 & single.0 & bit != 0;
        self.0 |= bit;
        again
    }

    /// Whether it has that name.
    pub(crate) fn contains(self, name: HeaderName) -> bool {
        self.0 & (1 << name as u32) != 0
    }

    /// Whether it has all names of the other.
    pub(crate) fn contains_all(self, other: NameSet) -> bool {
        self.0 & other.0 == other.0
    }
}

struct Row {
    name: HeaderName,
    long: &'static str,
    compact: u8,
}

/// Returns the slot of a name, whatever its case: no two known names share one, by the choice of the factor.
const fn slot(name: &[u8]) -> usize {
    const FACTOR: u32 = 0x4eb9_20b3;
    // Makes letters small, and other bytes something or other, which the comparison sees.
    let (Some(first), Some(last)) = (name.first(), name.last()) else { return 0 };
    let middle = name[name.len() / 2];
    let key = u32::from_le_bytes([*first | 0x20, middle | 0x20, *last | 0x20, name.len() as u8]);
    (key.wrapping_mul(FACTOR) >> 24) as usize
}

/// What stands for no row.
const NONE: u8 = u8::MAX;

/// The row that a name in a slot would have.
const SLOTS: [u8; 256] = slots();

const fn slots() -> [u8; 256] {
    let mut slots = [NONE; 256];
    let mut row = 0;
    while row < ROWS.len() {
        let slot = slot(ROWS[row].long.as_bytes());
        assert!(slots[slot] == NONE, "two names share a slot: choose another factor");
        slots[slot] = row as u8;
        row += 1;
    }
    slots
}

/// What each letter stands for.
const COMPACT: [HeaderName; 128] = compact();

const fn compact() -> [HeaderName; 128] {
    let mut letters = [HeaderName::Other; 128];
    let mut row = 0;
    while row < ROWS.len() {
        if ROWS[row].compact != 0 {
            letters[ROWS[row].compact as usize] = ROWS[row].name;
        }
        row += 1;
    }
    letters
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_in_any_case_and_by_its_letter() {
        for (index, row) in ROWS.iter().enumerate() {
            assert_eq!(row.name as usize, index);
            for name in [row.long.to_string(), row.long.to_lowercase(), row.long.to_uppercase()] {
                assert_eq!(HeaderName::from_bytes(name.as_bytes()), row.name, "{name}");
            }
            assert_eq!(row.name.as_str(), Some(row.long));
            if let Some(letter) = row.name.compact() {
                assert_eq!(HeaderName::from_bytes(&[letter]), row.name);
                assert_eq!(HeaderName::from_bytes(&[letter.to_ascii_uppercase()]), row.name);
            }
        }
    }

    #[test]
    fn a_set_has_what_was_put_in() {
        assert!((HeaderName::Other as u32) < u128::BITS);
        let mut set = NameSet::of(&[HeaderName::To, HeaderName::PPreferredIdentity]);
        assert!(!set.insert_noting(HeaderName::Other, NameSet::of(&[HeaderName::Other])));
        assert!(set.insert_noting(HeaderName::Other, NameSet::of(&[HeaderName::Other])));
        assert!(!set.insert_noting(HeaderName::Other, NameSet::default()));
        for (name, there) in [
            (HeaderName::To, true),
            (HeaderName::PPreferredIdentity, true),
            (HeaderName::Other, true),
            (HeaderName::Via, false),
        ] {
            assert_eq!(set.contains(name), there, "{name:?}");
            assert_eq!(set.contains_all(NameSet::of(&[HeaderName::To, name])), there, "{name:?}");
        }
    }

    #[test]
    fn anything_else_is_other() {
        for name in [&b""[..], b"X-Custom", b"z", b"\xff", b"Vias", &[b'a'; 300]] {
            assert_eq!(HeaderName::from_bytes(name), HeaderName::Other, "{name:?}");
        }
        assert_eq!(HeaderName::Other.as_str(), None);
        assert_eq!(HeaderName::Other.compact(), None);
    }
}
