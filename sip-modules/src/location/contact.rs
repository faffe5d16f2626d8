//! One binding of an address of record.

use std::fmt;
use std::hash::BuildHasher;
use std::net::SocketAddr;

use super::SaveError;

/// A contact an address of record is bound to; it never changes, an update makes a new one.
///
/// All its text is one allocation, because there are many of them: the fields are read with
/// methods.
#[derive(Clone, PartialEq, Eq)]
pub struct Contact {
    /// The texts one after the other, in the order of [`Part`].
    text: Box<[u8]>,
    /// Where each text ends; it begins where the one before ends.
    ends: [u16; PARTS],
    q: Option<u16>,
    cseq: u32,
    flags: u32,
    methods: u32,
    reg_id: Option<u32>,
    expires_at: u64,
    last_modified: u64,
    socket: Option<SocketAddr>,
    id: u64,
    marks: Marks,
}

impl Contact {
    /// The number of the binding, which no other has and which a refresh does not change.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The URI as it was registered.
    pub fn uri(&self) -> &[u8] {
        self.part(Part::Uri)
    }

    /// The text by which the binding is found again; the URI itself unless the caller gave another.
    pub fn key(&self) -> &[u8] {
        match self.part(Part::Key) {
            [] => self.uri(),
            key => key,
        }
    }

    /// The Call-ID of the REGISTER that set the binding.
    pub fn call_id(&self) -> &[u8] {
        self.part(Part::CallId)
    }

    /// The CSeq number of the REGISTER that set the binding.
    pub fn cseq(&self) -> u32 {
        self.cseq
    }

    /// The preference in thousandths, if the contact named one.
    pub fn q(&self) -> Option<u16> {
        self.q
    }

    /// When the binding ends, in seconds of the store's clock.
    pub fn expires_at(&self) -> u64 {
        self.expires_at
    }

    /// Seconds until the binding ends, 0 when it has.
    pub fn remaining(&self, now: u64) -> u64 {
        self.expires_at.saturating_sub(now)
    }

    /// Whether the binding has ended: from the second `expires_at` on.
    pub fn is_expired(&self, now: u64) -> bool {
        self.expires_at <= now
    }

    /// When a REGISTER last set the binding, in seconds of the store's clock.
    pub fn last_modified(&self) -> u64 {
        self.last_modified
    }

    /// Where the REGISTER came from, as a URI, when that is where requests must go.
    pub fn received(&self) -> Option<&[u8]> {
        self.optional(Part::Received)
    }

    /// The Path of the REGISTER (RFC 3327).
    pub fn path(&self) -> Option<&[u8]> {
        self.optional(Part::Path)
    }

    /// The User-Agent of the REGISTER; empty if it had none.
    pub fn user_agent(&self) -> &[u8] {
        self.part(Part::UserAgent)
    }

    /// The instance identifier (RFC 5626).
    pub fn instance(&self) -> Option<&[u8]> {
        self.optional(Part::Instance)
    }

    /// The flow's number within the instance (RFC 5626).
    pub fn reg_id(&self) -> Option<u32> {
        self.reg_id
    }

    /// The branch flags.
    pub fn flags(&self) -> u32 {
        self.flags
    }

    /// A bit for each method the contact allows; the caller gives the bits their meaning.
    pub fn methods(&self) -> u32 {
        self.methods
    }

    /// The local socket the REGISTER arrived on.
    pub fn socket(&self) -> Option<SocketAddr> {
        self.socket
    }

    /// Makes the binding that a REGISTER asks for.
    pub(super) fn new(new: &NewContact<'_>, stamp: Stamp<'_>) -> Result<Self, SaveError> {
        let key = if new.key == new.uri { &[] } else { new.key };
        let parts: [&[u8]; PARTS] = [
            new.uri,
            key,
            stamp.call_id,
            new.received.unwrap_or_default(),
            new.path.unwrap_or_default(),
            new.user_agent,
            new.instance.unwrap_or_default(),
        ];
        let mut ends = [0; PARTS];
        let mut length = 0usize;
        for (end, part) in ends.iter_mut().zip(parts) {
            length = length.saturating_add(part.len());
            *end = u16::try_from(length).map_err(|_| SaveError::ContactTooLarge)?;
        }
        Ok(Self {
            text: parts.concat().into_boxed_slice(),
            ends,
            q: new.q,
            cseq: stamp.cseq,
            flags: new.flags,
            methods: new.methods,
            reg_id: new.reg_id,
            expires_at: stamp.expires_at,
            last_modified: stamp.now,
            socket: new.socket,
            id: stamp.id,
            marks: stamp.marks,
        })
    }

    /// How many bytes it takes, with what the allocator adds.
    pub(super) fn memory(&self) -> usize {
        const COUNTS_OF_THE_ARC: usize = 16;
        size_of::<Contact>() + COUNTS_OF_THE_ARC + self.text.len() + 2 * ALLOCATION
    }

    /// Whether it is the flow that the request names, whatever their URIs (RFC 5626 §6): the same instance, and the same
    /// `reg-id` or none.
    pub(super) fn is_flow(&self, new: &NewContact<'_>, marks: Marks) -> bool {
        self.marks.flow == marks.flow && self.reg_id == new.reg_id && self.has_instance(new) == Some(true)
    }

    /// Whether it has the URI that the request names and no other instance or flow.
    ///
    /// Phones behind different NATs may have the same private address, so one instance never takes another's binding.
    pub(super) fn has_uri(&self, new: &NewContact<'_>, marks: Marks) -> bool {
        if self.marks.key != marks.key || self.key() != new.key() {
            return false;
        }
        match self.has_instance(new) {
            Some(same) => same && (self.reg_id.is_none() || new.reg_id.is_none() || self.reg_id == new.reg_id),
            None => true,
        }
    }

    /// Whether both name the same instance; `None` if one of them names none.
    fn has_instance(&self, new: &NewContact<'_>) -> Option<bool> {
        let (one, other) = self.instance().zip(new.instance())?;
        Some(same_instance(one, other))
    }

    fn part(&self, part: Part) -> &[u8] {
        let index = part as usize;
        let end = self.ends.get(index).copied().unwrap_or(0);
        let start = match index.checked_sub(1) {
            Some(before) => self.ends.get(before).copied().unwrap_or(0),
            None => 0,
        };
        self.text.get(usize::from(start)..usize::from(end)).unwrap_or_default()
    }

    fn optional(&self, part: Part) -> Option<&[u8]> {
        Some(self.part(part)).filter(|text| !text.is_empty())
    }
}

impl fmt::Debug for Contact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Contact")
            .field("uri", &String::from_utf8_lossy(self.uri()))
            .field("q", &self.q)
            .field("expires_at", &self.expires_at)
            .field("call_id", &String::from_utf8_lossy(self.call_id()))
            .field("cseq", &self.cseq)
            .finish_non_exhaustive()
    }
}

/// A contact of a REGISTER, as the message says it.
///
/// The contact `*` has the URI `*`. Empty optional texts count as absent.
#[derive(Debug, Clone, Copy, Default)]
pub struct NewContact<'a> {
    /// The URI without angle brackets.
    pub uri: &'a [u8],
    /// The URI in a form in which URIs that stand for the same binding have equal bytes; empty means the URI itself.
    pub key: &'a [u8],
    /// The parameter `q` in thousandths.
    pub q: Option<u16>,
    /// The parameter `expires` in seconds.
    pub expires: Option<u32>,
    /// Where the request came from, as a URI, when requests must go there instead.
    pub received: Option<&'a [u8]>,
    /// The Path header's value.
    pub path: Option<&'a [u8]>,
    /// The User-Agent header's value.
    pub user_agent: &'a [u8],
    /// Branch flags.
    pub flags: u32,
    /// A bit for each allowed method.
    pub methods: u32,
    /// The local socket the request arrived on.
    pub socket: Option<SocketAddr>,
    /// The parameter `+sip.instance`.
    pub instance: Option<&'a [u8]>,
    /// The parameter `reg-id`.
    pub reg_id: Option<u32>,
}

impl<'a> NewContact<'a> {
    pub(super) fn key(&self) -> &'a [u8] {
        if self.key.is_empty() { self.uri } else { self.key }
    }

    fn instance(&self) -> Option<&'a [u8]> {
        self.instance.filter(|instance| !instance.is_empty())
    }
}

/// Hashes of what a binding is found by: contacts with other ones need no comparison of texts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Marks {
    key: u64,
    flow: u64,
}

impl Marks {
    pub(super) fn new(new: &NewContact<'_>, hasher: &impl BuildHasher) -> Marks {
        let flow = new.instance().map(|instance| (bare_instance(instance), new.reg_id));
        Marks { key: hasher.hash_one(new.key()), flow: hasher.hash_one(flow) }
    }
}

/// Whether two instance identifiers are equal, angle brackets aside: some phones leave them out.
pub fn same_instance(one: &[u8], other: &[u8]) -> bool {
    bare_instance(one) == bare_instance(other)
}

/// The instance identifier without the angle brackets around it.
pub fn bare_instance(instance: &[u8]) -> &[u8] {
    instance.strip_prefix(b"<").and_then(|rest| rest.strip_suffix(b">")).unwrap_or(instance)
}

/// What the allocator takes for a block besides the bytes asked for, on average.
pub(super) const ALLOCATION: usize = 16;

/// What all contacts of one REGISTER share.
#[derive(Clone, Copy)]
pub(super) struct Stamp<'a> {
    pub(super) call_id: &'a [u8],
    pub(super) cseq: u32,
    pub(super) now: u64,
    pub(super) expires_at: u64,
    pub(super) id: u64,
    pub(super) marks: Marks,
}

const PARTS: usize = 7;

#[derive(Clone, Copy)]
enum Part {
    Uri,
    Key,
    CallId,
    Received,
    Path,
    UserAgent,
    Instance,
}
