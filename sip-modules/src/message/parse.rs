//! The message: its bytes, its first line, the index of its headers.

use std::fmt;

use memchr::{memchr, memchr_iter};

use crate::message::find::find;
use crate::message::lexical::{find_unquoted, is_lws, is_token, number, trim};
use crate::message::{
    CSeq, Fault, Header, HeaderName, ListItem, Method, NameAddr, NameSet, Params, ParseError, Span, Via,
};

/// The most bytes a message may have.
pub const MAX_MESSAGE: usize = 65_535;

/// The most header lines a message may have, folded ones counted once.
pub const MAX_HEADERS: usize = 512;

/// Room for the header lines of a common message.
const FEW_HEADERS: usize = 16;

/// One SIP message: its bytes, exactly as received, and where its parts are.
///
/// A worker keeps one and fills it with [`Message::parse_into`] again and again, which then allocates nothing.
///
/// ```
/// # use sip_modules::message::{Message, Method};
/// let message = Message::parse(b"OPTIONS sip:example.org SIP/2.0\r\nl: 0\r\n\r\n")?;
/// assert_eq!(message.method(), Some(Method::Options));
/// assert_eq!(message.content_length(), Some(0));
/// # Ok::<(), sip_modules::message::ParseError>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Message {
    buf: Vec<u8>,
    headers: Vec<Header>,
    first_line: FirstLine,
    headers_start: u32,
    headers_end: u32,
    body: Span,
    top_via: Option<ViaSpans>,
    /// Whether that is the only Via.
    is_via_alone: bool,
    cseq: Option<CSeqSpans>,
    from: Option<PartySpans>,
    to: Option<PartySpans>,
    names: NameSet,
    fault: Option<Fault>,
}

/// The headers of a request that may be there once only and on which its way depends.
const SINGLE: NameSet = NameSet::of(&[
    HeaderName::From,
    HeaderName::To,
    HeaderName::CallId,
    HeaderName::CSeq,
    HeaderName::MaxForwards,
    HeaderName::ContentLength,
]);

/// Those of a reply.
const SINGLE_IN_REPLY: NameSet = NameSet::of(&[HeaderName::From, HeaderName::To, HeaderName::CallId, HeaderName::CSeq]);

/// Where the parts of From or To are; dialogs and transactions are told apart by the tags.
#[derive(Clone, Copy, PartialEq, Eq)]
struct PartySpans {
    raw: Span,
    display: Span,
    addr: Span,
    params: Span,
    tag: Option<Span>,
}

/// Where the parts of the topmost Via are. Nearly everything asks for them, so they are found once.
#[derive(Clone, Copy, PartialEq, Eq)]
struct ViaSpans {
    raw: Span,
    protocol: Span,
    version: Span,
    transport: Span,
    host: Span,
    port: Option<u16>,
    params: Span,
    branch: Option<Span>,
}

/// What the CSeq says, likewise.
#[derive(Clone, Copy, PartialEq, Eq)]
struct CSeqSpans {
    number: u32,
    method: Span,
}

/// The parts of the first line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstLine {
    /// A request line.
    Request {
        /// The method.
        method: Span,
        /// The Request-URI.
        uri: Span,
        /// The version, `SIP/2.0`.
        version: Span,
    },
    /// A status line.
    Reply {
        /// The version, `SIP/2.0`.
        version: Span,
        /// The status code, 100 to 699.
        status: u16,
        /// The reason phrase, possibly empty.
        reason: Span,
    },
}

impl Message {
    /// An empty message, to be filled by [`Message::parse_into`].
    pub fn new() -> Message {
        Message::default()
    }

    /// Reads one datagram into a new message.
    ///
    /// # Errors
    /// As [`Message::parse_into`].
    pub fn parse(bytes: &[u8]) -> Result<Message, ParseError> {
        let mut message = Message::new();
        message.parse_into(bytes)?;
        Ok(message)
    }

    /// Reads one datagram, reusing this message's buffers.
    ///
    /// Line breaks before the first line and bytes behind the body (RFC 3261 18.3) are left out; everything between is
    /// kept byte for byte. Lines may end in CRLF or LF. A message that has a [`fault`](Message::fault) can be looked at and
    /// answered; one that ends before the empty line behind its headers is made to end with one.
    ///
    /// # Errors
    /// [`ParseError::KeepAlive`] for what should be ignored, another variant for what is not a message; this one is
    /// empty then.
    pub fn parse_into(&mut self, bytes: &[u8]) -> Result<(), ParseError> {
        self.clear();
        let result = self.fill(bytes);
        if result.is_err() {
            self.clear();
        }
        result
    }

    /// What makes the message unfit to be passed on, the gravest of all.
    pub fn fault(&self) -> Option<Fault> {
        self.fault
    }

    /// The names of the headers that are there.
    pub(crate) fn names(&self) -> NameSet {
        self.names
    }

    /// The bytes from the first line to the end of the body.
    pub fn bytes(&self) -> &[u8] {
        &self.buf
    }

    /// How many bytes it holds on the heap, in buffers that may have room for a longer message.
    pub fn memory(&self) -> usize {
        self.buf.capacity() + self.headers.capacity() * size_of::<Header>()
    }

    /// The bytes of a range of this message, nothing when it lies outside.
    pub fn text(&self, span: Span) -> &[u8] {
        span.of(&self.buf)
    }

    /// Where a part that was borrowed from this message lies in it.
    pub fn span_of(&self, part: &[u8]) -> Option<Span> {
        Span::locate(&self.buf, part)
    }

    /// The parts of the first line.
    pub fn first_line(&self) -> FirstLine {
        self.first_line
    }

    /// Whether it is a request.
    pub fn is_request(&self) -> bool {
        matches!(self.first_line, FirstLine::Request { .. })
    }

    /// Whether it is a reply.
    pub fn is_reply(&self) -> bool {
        !self.is_request()
    }

    /// A request's method; a reply's is in its [`Message::cseq`].
    pub fn method(&self) -> Option<Method<'_>> {
        match self.first_line {
            FirstLine::Request { method, .. } => Some(Method::from_bytes(self.text(method))),
            FirstLine::Reply { .. } => None,
        }
    }

    /// A request's Request-URI as bytes.
    pub fn ruri(&self) -> Option<&[u8]> {
        self.ruri_span().map(|span| self.text(span))
    }

    /// Where the Request-URI of a request is.
    pub fn ruri_span(&self) -> Option<Span> {
        match self.first_line {
            FirstLine::Request { uri, .. } => Some(uri),
            FirstLine::Reply { .. } => None,
        }
    }

    /// The version in the first line, `SIP/2.0` if all is well.
    pub fn version(&self) -> &[u8] {
        let (FirstLine::Request { version, .. } | FirstLine::Reply { version, .. }) = self.first_line;
        self.text(version)
    }

    /// A reply's status code.
    pub fn status(&self) -> Option<u16> {
        match self.first_line {
            FirstLine::Reply { status, .. } => Some(status),
            FirstLine::Request { .. } => None,
        }
    }

    /// A reply's reason phrase.
    pub fn reason(&self) -> Option<&[u8]> {
        match self.first_line {
            FirstLine::Reply { reason, .. } => Some(self.text(reason)),
            FirstLine::Request { .. } => None,
        }
    }

    /// The header index, in the order of the message.
    pub fn header_lines(&self) -> &[Header] {
        &self.headers
    }

    /// Offset of the first header line.
    pub fn headers_start(&self) -> u32 {
        self.headers_start
    }

    /// Offset behind the last header line, where the empty line is.
    pub fn headers_end(&self) -> u32 {
        self.headers_end
    }

    /// The body, possibly empty.
    pub fn body(&self) -> &[u8] {
        self.text(self.body)
    }

    /// Where the body is.
    pub fn body_span(&self) -> Span {
        self.body
    }

    /// The topmost Via, `None` when it is missing or unreadable.
    pub fn top_via(&self) -> Option<Via<'_>> {
        let via = self.top_via?;
        Some(Via {
            raw: self.text(via.raw),
            protocol: self.text(via.protocol),
            version: self.text(via.version),
            transport: self.text(via.transport),
            host: self.text(via.host),
            port: via.port,
            params: Params::new(self.text(via.params)),
        })
    }

    /// The Via elements behind the topmost one.
    pub fn further_vias(&self) -> impl Iterator<Item = ListItem<'_>> {
        (!self.is_via_alone).then(|| self.vias().skip(1)).into_iter().flatten()
    }

    /// The branch of the topmost Via; `None` when there is none, or an empty one.
    pub fn top_branch(&self) -> Option<&[u8]> {
        self.top_via?.branch.map(|branch| self.text(branch))
    }

    /// The CSeq header, `None` when it is missing or unreadable.
    pub fn cseq(&self) -> Option<CSeq<'_>> {
        let CSeqSpans { number, method } = self.cseq?;
        Some(CSeq { number, method: Method::from_bytes(self.text(method)) })
    }

    /// The From header, `None` when it is missing or unreadable.
    pub fn from(&self) -> Option<NameAddr<'_>> {
        self.from.map(|party| self.party(party))
    }

    /// The To header, `None` when it is missing or unreadable.
    pub fn to(&self) -> Option<NameAddr<'_>> {
        self.to.map(|party| self.party(party))
    }

    /// The tag of From; `None` when there is none, or an empty one.
    pub fn from_tag(&self) -> Option<&[u8]> {
        self.from?.tag.map(|tag| self.text(tag))
    }

    /// The tag of To; `None` when there is none, or an empty one.
    pub fn to_tag(&self) -> Option<&[u8]> {
        self.to?.tag.map(|tag| self.text(tag))
    }

    fn party(&self, party: PartySpans) -> NameAddr<'_> {
        NameAddr {
            raw: self.text(party.raw),
            display: self.text(party.display),
            addr: self.text(party.addr),
            params: Params::new(self.text(party.params)),
        }
    }

    /// Forgets the message and keeps the buffers.
    pub fn clear(&mut self) {
        self.buf.clear();
        self.headers.clear();
        self.first_line = FirstLine::default();
        self.headers_start = 0;
        self.headers_end = 0;
        self.body = Span::default();
        self.top_via = None;
        self.is_via_alone = false;
        self.cseq = None;
        self.from = None;
        self.to = None;
        self.names = NameSet::default();
        self.fault = None;
    }

    fn note(&mut self, fault: Fault) {
        if self.fault.is_none_or(|noted| fault.rank() < noted.rank()) {
            self.fault = Some(fault);
        }
    }

    fn fill(&mut self, bytes: &[u8]) -> Result<(), ParseError> {
        if bytes.iter().all(|b| matches!(b, b'\r' | b'\n' | b' ' | 0)) {
            return Err(ParseError::KeepAlive);
        }
        if bytes.len() > MAX_MESSAGE {
            return Err(ParseError::TooLarge { size: bytes.len(), limit: MAX_MESSAGE });
        }
        let skipped = bytes.iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
        self.buf.extend_from_slice(bytes.get(skipped..).unwrap_or_default());
        self.headers.reserve(FEW_HEADERS);
        let Some(end) = memchr(b'\n', &self.buf) else {
            return Err(ParseError::Truncated { offset: bytes.len() });
        };
        let (first_line, spaced) = parse_first_line(without_cr(slice(&self.buf, 0, end)), skipped)?;
        self.first_line = first_line;
        let single = if self.is_request() { SINGLE } else { SINGLE_IN_REPLY };
        if spaced {
            self.note(Fault::RequestLine);
        }

        // To tell at once whether there are others.
        let mut crs_at_ends = usize::from(has_cr(&self.buf, end));
        let mut start = end + 1;
        self.headers_start = Span::new(start, start).start;
        let mut length = Length::Absent;
        let mut body_start = None;
        let mut vias = 0;
        let mut from = start;
        while let Some(end) = memchr(b'\n', self.buf.get(from..).unwrap_or_default()).map(|end| from + end) {
            let next = end + 1;
            from = next;
            crs_at_ends += usize::from(has_cr(&self.buf, end));
            if without_cr(slice(&self.buf, start, end)).is_empty() {
                body_start = Some(next);
                break;
            }
            if matches!(self.buf.get(next), Some(b' ' | b'\t')) {
                continue;
            }
            if self.headers.len() == MAX_HEADERS {
                return Err(ParseError::TooManyHeaders { offset: start + skipped, limit: MAX_HEADERS });
            }
            let header = parse_header(slice(&self.buf, start, next), start, skipped)?;
            if header.name == HeaderName::ContentLength {
                length = length.and(number(header.value.of(&self.buf)));
            }
            vias += usize::from(header.name == HeaderName::Via);
            if self.names.insert_noting(header.name, single) {
                self.note(Fault::Repeated(header.name));
            }
            self.headers.push(header);
            start = next;
        }
        self.headers_end = Span::new(start, start).start;
        let body_start = body_start.unwrap_or_else(|| {
            // What is left is a line cut in the middle, if anything.
            self.buf.truncate(start);
            self.buf.extend_from_slice(b"\r\n");
            self.note(Fault::Unfinished);
            // Lines that were counted may be among what was left.
            crs_at_ends = usize::MAX;
            self.buf.len()
        });
        let head = slice(&self.buf, 0, body_start);
        let mut crs = memchr_iter(b'\r', head);
        if crs.clone().count() != crs_at_ends && crs.any(|at| head.get(at + 1) != Some(&b'\n')) {
            self.note(Fault::LineEnd);
        }
        let body_end = self.body_end(length, body_start);
        self.body = Span::new(body_start, body_end);
        self.buf.truncate(body_end);
        self.top_via = self.find_top_via();
        self.is_via_alone =
            vias == 1 && self.top_via.is_some_and(|via| self.value(HeaderName::Via) == Some(self.text(via.raw)));
        self.cseq = self.find_cseq();
        self.from = self.find_party(HeaderName::From);
        self.to = self.find_party(HeaderName::To);
        if self.is_request() && self.top_via.is_some() && !self.is_top_via_sound() {
            self.note(Fault::Via);
        }
        if self.cseq.is_none() && self.names.contains(HeaderName::CSeq) {
            self.note(Fault::CSeq);
        }
        Ok(())
    }

    /// Where the body ends that `Content-Length` says, as far as it is there.
    fn body_end(&mut self, length: Length, start: usize) -> usize {
        let present = self.buf.len().saturating_sub(start);
        match length {
            Length::Absent => self.buf.len(),
            Length::Bad => {
                self.note(Fault::ContentLength);
                self.buf.len()
            }
            Length::Given(declared) if declared as usize > present => {
                self.note(Fault::ShortBody);
                self.buf.len()
            }
            Length::Given(declared) => start + declared as usize,
        }
    }

    fn find_top_via(&self) -> Option<ViaSpans> {
        let via = self.vias().next()?.via()?;
        Some(ViaSpans {
            raw: self.span_of(via.raw)?,
            protocol: self.span_of(via.protocol)?,
            version: self.span_of(via.version)?,
            transport: self.span_of(via.transport)?,
            host: self.span_of(via.host)?,
            port: via.port,
            params: self.span_of(via.params.raw())?,
            branch: via.branch().and_then(|branch| self.span_of(branch)),
        })
    }

    /// Whether the topmost Via and the list that it begins have nothing empty in them.
    fn is_top_via_sound(&self) -> bool {
        let (Some(via), Some(value)) = (self.top_via(), self.value(HeaderName::Via)) else { return false };
        // A request of another version is told so by its request line.
        let is_top_sound = || via.is_sound(self.version().get(b"SIP/".len()..).unwrap_or_default());
        if self.is_via_alone {
            return is_top_sound();
        }
        let Some(rest) = value.strip_prefix(via.raw) else { return false };
        let mut rest = trim(rest);
        while let Some(element) = rest.get(1..) {
            let end = find_unquoted(element, b',').unwrap_or(element.len());
            let (element, after) = element.split_at(end);
            if trim(element).is_empty() {
                return false;
            }
            rest = after;
        }
        is_top_sound()
    }

    fn find_party(&self, name: HeaderName) -> Option<PartySpans> {
        let party = NameAddr::parse(self.value(name)?)?;
        // An empty part may be borrowed from nowhere.
        let span = |part: &[u8]| self.span_of(part).unwrap_or_default();
        Some(PartySpans {
            raw: span(party.raw),
            display: span(party.display),
            addr: span(party.addr),
            params: span(party.params.raw()),
            tag: party.tag().map(span),
        })
    }

    fn find_cseq(&self) -> Option<CSeqSpans> {
        let value = self.value(HeaderName::CSeq)?;
        let cseq = CSeq::parse(value)?;
        // The method is what the value ends with.
        let method = trim(value);
        let method = method.get(method.len() - cseq.method.as_bytes().len()..)?;
        Some(CSeqSpans { number: cseq.number, method: self.span_of(method)? })
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("bytes", &String::from_utf8_lossy(&self.buf))
            .field("headers", &self.headers.len())
            .finish_non_exhaustive()
    }
}

impl Default for FirstLine {
    fn default() -> FirstLine {
        FirstLine::Request { method: Span::default(), uri: Span::default(), version: Span::default() }
    }
}

fn slice(buf: &[u8], start: usize, end: usize) -> &[u8] {
    buf.get(start..end).unwrap_or_default()
}

/// Whether a CR stands before a place.
fn has_cr(buf: &[u8], at: usize) -> bool {
    at.checked_sub(1).and_then(|before| buf.get(before)) == Some(&b'\r')
}

fn without_cr(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// The first line, and whether it is a request's with other white space than one space between each of its parts.
fn parse_first_line(line: &[u8], skipped: usize) -> Result<(FirstLine, bool), ParseError> {
    let bad = |at: usize, why| ParseError::FirstLine { offset: at + skipped, why };
    // Everything below is borrowed from `line`, which starts the message, so it can always be located.
    let span = |part: &[u8]| Span::locate(line, part).unwrap_or_default();
    let (first, rest) = split_word(line);
    if is_version(first) {
        let (code, reason) = split_word(rest);
        let offset = span(code).start as usize;
        let status = number(code)
            .filter(|status| code.len() == 3 && (100..=699).contains(status))
            .and_then(|status| u16::try_from(status).ok())
            .ok_or_else(|| bad(offset, "the status code is not a number from 100 to 699"))?;
        return Ok((FirstLine::Reply { version: span(first), status, reason: span(reason) }, false));
    }
    if !is_token(first) {
        return Err(bad(0, "it starts with neither a method nor a SIP version"));
    }
    let (uri, version) = split_last_word(rest);
    if !is_version(version) {
        let offset = span(version).start as usize;
        return Err(bad(offset, "the Request-URI is not followed by a SIP version alone"));
    }
    if uri.is_empty() || uri.iter().any(|b| b.is_ascii_control() && *b != b'\t') {
        let offset = span(uri).start as usize;
        return Err(bad(offset, "the Request-URI is missing or unreadable"));
    }
    let spaced = line.len() != first.len() + uri.len() + version.len() + 2
        || uri.iter().any(|b| matches!(b, b' ' | b'\t'))
        || find(b'\t', line).is_some();
    Ok((FirstLine::Request { method: span(first), uri: span(uri), version: span(version) }, spaced))
}

/// The text up to the first space or tab, and what follows without white space around it.
fn split_word(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|b| matches!(b, b' ' | b'\t')).unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    (word, trim(rest))
}

/// What comes before the last space or tab, without white space around it, and what follows that.
fn split_last_word(text: &[u8]) -> (&[u8], &[u8]) {
    let start = text.iter().rposition(|b| matches!(b, b' ' | b'\t')).map_or(0, |at| at + 1);
    let (rest, word) = text.split_at(start);
    (trim(rest), word)
}

/// `SIP/` and something; whether the something is 2.0 is for the script to say (505 is its answer, not silence).
fn is_version(word: &[u8]) -> bool {
    word.len() > 4 && word.get(..4).is_some_and(|start| start.eq_ignore_ascii_case(b"SIP/"))
}

fn parse_header(line: &[u8], start: usize, skipped: usize) -> Result<Header, ParseError> {
    // A name that is known has nothing in it that no name may have.
    if let Some(colon) = find(b':', line) {
        let name_end = line[..colon].iter().rposition(|b| !matches!(b, b' ' | b'\t')).map_or(0, |last| last + 1);
        let name = HeaderName::from_bytes(&line[..name_end]);
        if name != HeaderName::Other {
            return Ok(header(line, start, name, name_end, colon));
        }
    }
    let bad = |why| ParseError::Header { offset: start + skipped, why };
    let name_end = line.iter().position(|b| ENDS_NAME[usize::from(*b)]).unwrap_or(line.len());
    let (name, rest) = line.split_at(name_end);
    let colon = name_end + rest.iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
    if line.get(colon) != Some(&b':') {
        return Err(bad(match find(b':', line) {
            Some(_) => "its name has white space or a control character in it",
            None => "it has no colon",
        }));
    }
    if name.is_empty() {
        return Err(bad("it has no name"));
    }
    Ok(header(line, start, HeaderName::Other, name_end, colon))
}

/// The index entry of a line that begins at `start`.
fn header(line: &[u8], start: usize, name: HeaderName, name_end: usize, colon: usize) -> Header {
    let (mut value_start, mut value_end) = (colon + 1, line.len());
    while value_end > value_start && is_lws(line[value_end - 1]) {
        value_end -= 1;
    }
    while value_start < value_end && is_lws(line[value_start]) {
        value_start += 1;
    }
    // A message has at most `MAX_MESSAGE` bytes.
    let span = |from: usize, to: usize| Span { start: (start + from) as u32, end: (start + to) as u32 };
    Header { name, line: span(0, line.len()), name_span: span(0, name_end), value: span(value_start, value_end) }
}

/// What a header name ends at: white space, a control character or the colon.
const ENDS_NAME: [bool; 256] = {
    let mut ends = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        ends[byte] = byte <= b' ' as usize || byte == b':' as usize || byte == 0x7f;
        byte += 1;
    }
    ends
};

/// What all `Content-Length` headers say.
#[derive(Clone, Copy)]
enum Length {
    Absent,
    Given(u32),
    /// One is no number, or they differ.
    Bad,
}

impl Length {
    fn and(self, further: Option<u32>) -> Length {
        match (self, further) {
            (Length::Absent, Some(length)) => Length::Given(length),
            (Length::Given(earlier), Some(length)) if earlier == length => self,
            _ => Length::Bad,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: &[u8] = b"OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP h\r\nContent-Length: 4\r\n\r\nbodyTRAILER";

    #[test]
    fn a_request_is_indexed_and_bytes_behind_the_body_are_ignored() {
        let message = Message::parse(OPTIONS).unwrap();
        assert_eq!(message.method(), Some(Method::Options));
        assert_eq!(message.ruri(), Some(&b"sip:a@b"[..]));
        assert_eq!(message.version(), b"SIP/2.0");
        assert_eq!(message.status(), None);
        assert_eq!(message.body(), b"body");
        assert_eq!(message.bytes(), &OPTIONS[..OPTIONS.len() - 7]);
        let [via, length] = message.header_lines() else { panic!("two headers") };
        assert_eq!(via.name, HeaderName::Via);
        assert_eq!(message.text(via.line), b"Via: SIP/2.0/UDP h\r\n");
        assert_eq!(message.text(via.name_span), b"Via");
        assert_eq!(message.text(length.value), b"4");
        assert_eq!(message.headers_start(), via.line.start);
        assert_eq!(message.headers_end(), length.line.end);
    }

    #[test]
    fn a_reply_may_have_any_reason_or_none() {
        let with = Message::parse(b"SIP/2.0 200 OK  then\r\n\r\n").unwrap();
        assert_eq!((with.status(), with.reason()), (Some(200), Some(&b"OK  then"[..])));
        for line in ["SIP/2.0 404", "SIP/2.0 404 ", "sip/2.0\t404"] {
            let message = Message::parse(format!("{line}\r\n\r\n").as_bytes()).unwrap();
            assert_eq!(message.status(), Some(404), "{line}");
            assert_eq!(message.reason(), Some(&b""[..]), "{line}");
            assert_eq!(message.method(), None);
        }
    }

    #[test]
    fn keep_alives_are_told_apart() {
        for bytes in [&b""[..], b"\r\n\r\n", b"\n", b"\0\0\0\0", b" "] {
            assert_eq!(Message::parse(bytes), Err(ParseError::KeepAlive));
        }
    }

    #[test]
    fn leading_line_breaks_are_dropped_and_counted_in_offsets() {
        let message = Message::parse(b"\r\n\r\nBYE sip:b SIP/2.0\r\n\r\n").unwrap();
        assert_eq!(message.bytes(), b"BYE sip:b SIP/2.0\r\n\r\n");
        let error = Message::parse(b"\r\n\r\nBYE sip:b SIP/2.0\r\nbroken\r\n\r\n").unwrap_err();
        assert_eq!(error, ParseError::Header { offset: 23, why: "it has no colon" });
    }

    #[test]
    fn bare_line_feeds_are_line_ends() {
        let message = Message::parse(b"BYE sip:b SIP/2.0\nTo: x\n folded\nl:2\n\nhi").unwrap();
        assert_eq!(message.body(), b"hi");
        assert_eq!(message.text(message.header_lines()[0].value), b"x\n folded");
    }

    #[test]
    fn folds_belong_to_their_header_and_odd_spacing_is_accepted() {
        let message =
            Message::parse(b"BYE sip:b SIP/2.0\r\nVia  \t:\r\n SIP/2.0/UDP\r\n\th\r\nSubject:\r\nX:  \r\n \r\n\r\n")
                .unwrap();
        let [via, subject, other] = message.header_lines() else { panic!("three headers") };
        assert_eq!(message.text(via.name_span), b"Via");
        assert_eq!(message.text(via.value), b"SIP/2.0/UDP\r\n\th");
        assert_eq!(message.text(subject.value), b"");
        assert_eq!(subject.value.start, subject.name_span.end + 1);
        assert_eq!(message.text(other.value), b"");
        assert!(other.line.contains(other.value) && other.value.end < other.line.end);
    }

    #[test]
    fn bad_first_lines_are_refused() {
        for line in [
            "INVITE",
            "INVITE sip:a",
            "INVITE  SIP/2.0",
            "INVITE sip:a HTTP/1.1",
            "INVITE sip:a SIP/2.0 x",
            "IN(VITE sip:a SIP/2.0",
            " INVITE sip:a SIP/2.0",
            "SIP/2.0",
            "SIP/2.0 99 x",
            "SIP/2.0 700 x",
            "SIP/2.0 0200 x",
            "SIP/2.0 2x0 x",
        ] {
            let error = Message::parse(format!("{line}\r\n\r\n").as_bytes()).unwrap_err();
            assert!(matches!(error, ParseError::FirstLine { .. }), "{line}: {error}");
        }
    }

    #[test]
    fn bad_header_lines_are_refused() {
        for line in ["nocolon", ": x", " : x", "a b: x", "a\x01: x", " fold"] {
            let text = format!("BYE sip:b SIP/2.0\r\n{line}\r\n\r\n");
            let error = Message::parse(text.as_bytes()).unwrap_err();
            assert!(matches!(error, ParseError::Header { .. }), "{line}: {error}");
        }
    }

    fn with_headers(lines: &str, body: &str) -> Message {
        Message::parse(format!("BYE sip:b SIP/2.0\r\n{lines}\r\n{body}").as_bytes()).unwrap()
    }

    #[test]
    fn white_space_in_the_request_line_is_a_fault() {
        for (line, uri) in [
            ("INVITE  sip:a SIP/2.0", "sip:a"),
            ("INVITE sip:a  SIP/2.0", "sip:a"),
            ("INVITE sip:a SIP/2.0 ", "sip:a"),
            ("INVITE\tsip:a SIP/2.0", "sip:a"),
            ("INVITE sip:a; lr SIP/2.0", "sip:a; lr"),
        ] {
            let message = Message::parse(format!("{line}\r\n\r\n").as_bytes());
            // White space at the end belongs to no part.
            let Ok(message) = message else { panic!("{line}") };
            assert_eq!(message.ruri(), Some(uri.as_bytes()), "{line}");
            assert_eq!(message.fault(), Some(Fault::RequestLine), "{line}");
        }
    }

    #[test]
    fn content_length_rules() {
        for (lines, body, read, fault) in [
            ("", "to the end", "to the end", None),
            ("l: 02\r\n", "abc", "ab", None),
            ("l: x\r\n", "abc", "abc", Some(Fault::ContentLength)),
            ("l: -1\r\n", "abc", "abc", Some(Fault::ContentLength)),
            ("l:\r\n", "abc", "abc", Some(Fault::ContentLength)),
            ("l: 99999999999\r\n", "abc", "abc", Some(Fault::ContentLength)),
            ("l: 1 2\r\n", "abc", "abc", Some(Fault::ContentLength)),
            ("l: 4\r\n", "abc", "abc", Some(Fault::ShortBody)),
            ("l: 4294967295\r\n", "", "", Some(Fault::ShortBody)),
            ("l: 1\r\nl: 1\r\n", "abc", "a", Some(Fault::Repeated(HeaderName::ContentLength))),
            ("l: 1\r\nl: 2\r\n", "abc", "abc", Some(Fault::Repeated(HeaderName::ContentLength))),
        ] {
            let message = with_headers(lines, body);
            assert_eq!(message.body(), read.as_bytes(), "{lines:?}");
            assert_eq!(message.fault(), fault, "{lines:?}");
        }
        for (lines, fault) in [("l: 1\r\nl: 1\r\n", None), ("l: 1\r\nl: 2\r\n", Some(Fault::ContentLength))] {
            let reply = Message::parse(format!("SIP/2.0 200 OK\r\n{lines}\r\nab").as_bytes()).unwrap();
            assert_eq!(reply.fault(), fault, "{lines:?}");
        }
    }

    #[test]
    fn what_may_be_there_once_only_is_a_fault_when_it_is_there_twice() {
        for (lines, name) in [
            ("To: <sip:a>\r\nX: y\r\nt: <sip:b>\r\n", HeaderName::To),
            ("From: <sip:a>\r\nFROM: <sip:a>\r\n", HeaderName::From),
            ("i: 1\r\nCall-ID: 2\r\n", HeaderName::CallId),
            ("CSeq: 1 BYE\r\ncseq: 2 BYE\r\n", HeaderName::CSeq),
            ("Max-Forwards: 1\r\nMax-Forwards: 70\r\n", HeaderName::MaxForwards),
        ] {
            assert_eq!(with_headers(lines, "").fault(), Some(Fault::Repeated(name)), "{lines}");
            let reply = Message::parse(format!("SIP/2.0 200 OK\r\n{lines}\r\n").as_bytes()).unwrap();
            let fault = Some(Fault::Repeated(name)).filter(|_| name != HeaderName::MaxForwards);
            assert_eq!(reply.fault(), fault, "{lines}");
        }
        let many = "Via: SIP/2.0/UDP a\r\nVia: SIP/2.0/UDP b\r\nRoute: <sip:a>\r\nRoute: <sip:b>\r\nX: y\r\nX: y\r\n";
        assert_eq!(with_headers(many, "").fault(), None);
    }

    #[test]
    fn a_top_via_with_nothing_in_places_or_another_protocol_is_a_fault() {
        for (lines, sound) in [
            ("Via: SIP/2.0/UDP h", true),
            ("v: sip / 2.0 / UDP h:1 ; a = \";;\" ; rport", true),
            ("Via: SIP/2.0/UDP h;x=\"1;;2,,\", SIP/2.0/UDP i", true),
            ("Via: SIP/2.0/UDP h\r\nVia: SIP/2.0/UDP i;;", true),
            ("Via: SIP/2.0/UDP h;", false),
            ("Via: SIP/2.0/UDP h;;branch=1", false),
            ("Via: SIP/2.0/UDP h; ;branch=1", false),
            ("Via: SIP/2.0/UDP h;\r\n ;branch=1", false),
            ("Via: SIP/2.0/UDP h;a=\";\";", false),
            ("Via: SIP/2.0/UDP h,", false),
            ("Via: SIP/2.0/UDP h;;,;,,", false),
            ("Via: SIP/2.0/UDP h, , SIP/2.0/UDP i", false),
            ("Via: ,SIP/2.0/UDP h", false),
            ("Via:\r\nVia: SIP/2.0/UDP h", false),
            ("Via: SIPX/2.0/UDP h", false),
            ("Via: SIP/9.9/UDP h", false),
        ] {
            let fault = Some(Fault::Via).filter(|_| !sound);
            assert_eq!(with_headers(&format!("{lines}\r\n"), "").fault(), fault, "{lines:?}");
        }
        for text in
            ["BYE sip:b SIP/7.0\r\nVia: SIP/7.0/UDP h\r\n\r\n", "BYE sip:b SIP/7.0\r\nVia: SIP/2.0/UDP h\r\n\r\n"]
        {
            assert_eq!(Message::parse(text.as_bytes()).unwrap().fault(), None, "the request line says it");
        }
        // One that cannot be read leaves no way back.
        let message = with_headers("Via: SIP/2.0 h\r\n", "");
        assert_eq!((message.top_via(), message.fault()), (None, None));
    }

    #[test]
    fn a_message_without_the_empty_line_has_the_headers_that_are_whole() {
        for (text, headers) in [
            ("BYE sip:b SIP/2.0\r\n", 0),
            ("BYE sip:b SIP/2.0\r\nTo: x\r\n", 1),
            ("BYE sip:b SIP/2.0\r\nTo: x\r\n y\r\n", 1),
            ("BYE sip:b SIP/2.0\r\nTo: x\r\nFrom: y\r\nCSeq: 1 B", 2),
            ("BYE sip:b SIP/2.0\r\nTo: x\r\nFrom: y\r\n folded", 1),
            ("BYE sip:b SIP/2.0\r\nTo: x\r\nl: 0", 1),
        ] {
            let message = Message::parse(text.as_bytes()).unwrap();
            assert_eq!(message.header_lines().len(), headers, "{text:?}");
            assert_eq!(message.fault(), Some(Fault::Unfinished), "{text:?}");
            assert_eq!(message.body(), b"");
            assert!(message.bytes().ends_with(b"\r\n\r\n"), "{text:?}");
        }
        let error = Message::parse(b"BYE sip:b SIP/2.0").unwrap_err();
        assert_eq!(error, ParseError::Truncated { offset: 17 });
    }

    #[test]
    fn a_cseq_that_cannot_be_read_is_a_fault() {
        for (value, fault) in [
            ("4294967295 BYE", None),
            ("4294967296 BYE", Some(Fault::CSeq)),
            ("-1 BYE", Some(Fault::CSeq)),
            ("abc BYE", Some(Fault::CSeq)),
            ("1", Some(Fault::CSeq)),
            ("", Some(Fault::CSeq)),
        ] {
            let message = with_headers(&format!("CSeq: {value}\r\n"), "");
            assert_eq!(message.fault(), fault, "{value}");
            assert_eq!(message.cseq().is_some(), fault.is_none(), "{value}");
        }
    }

    #[test]
    fn a_cr_that_no_lf_follows_is_a_fault() {
        for (text, fault) in [
            ("BYE sip:b SIP/2.0\r\nX: a\r\n folded\r\nY: b\n\r\nbo\rdy", None),
            ("BYE sip:b SIP/2.0\nX: a\n\n", None),
            ("BYE sip:b SIP/2.0\r\nX: a\rY: b\r\n\r\n", Some(Fault::LineEnd)),
            ("BYE sip:b SIP/2.0\r\nX: a\r\r\n\r\n", Some(Fault::LineEnd)),
            ("BYE sip:b SIP/2.0\nX: a\r\n\rY: b\n\n", None),
            ("BYE sip:b SIP/2.0\r\nX: a\r\n", Some(Fault::Unfinished)),
            ("BYE sip:b SIP/2.0\r\nX: a\r\nY", Some(Fault::Unfinished)),
            ("BYE sip:b SIP/2.0\r\nX: a\rb\r\nTo: c\r\n d\r\n e", Some(Fault::LineEnd)),
            ("BYE sip:b SIP/2.0\r\nX: a\r\nY: b\r\n folded", Some(Fault::Unfinished)),
            ("BYE sip:b SIP/2.0\r\nX: a\rc\nY: b\r\n", Some(Fault::LineEnd)),
            ("BYE sip:b SIP/2.0\r\nX: a\rc\nY: b\r\n folded", Some(Fault::LineEnd)),
            ("BYE sip:b SIP/2.0\r\nX: a\r\nY: b\rc\r\n folded", Some(Fault::Unfinished)),
        ] {
            match Message::parse(text.as_bytes()) {
                Ok(message) => assert_eq!(message.fault(), fault, "{text:?}"),
                Err(error) => assert!(matches!(error, ParseError::Header { .. }), "{text:?}: {error}"),
            }
        }
    }

    #[test]
    fn of_several_faults_the_gravest_counts() {
        let message = with_headers("l: 9\r\nTo: a\r\nVia: SIP/2.0/UDP h;;\r\nTo: b\r\n", "");
        assert_eq!(message.fault(), Some(Fault::Via));
    }

    #[test]
    fn limits_are_kept() {
        let headers = |n| format!("BYE sip:b SIP/2.0\r\n{}\r\n", "X: y\r\n".repeat(n));
        assert!(Message::parse(headers(MAX_HEADERS).as_bytes()).is_ok());
        let error = Message::parse(headers(MAX_HEADERS + 1).as_bytes()).unwrap_err();
        assert!(matches!(error, ParseError::TooManyHeaders { .. }));
        let mut big = b"BYE sip:b SIP/2.0\r\n\r\n".to_vec();
        big.resize(MAX_MESSAGE, b'x');
        assert!(Message::parse(&big).is_ok());
        big.push(b'x');
        assert!(matches!(Message::parse(&big).unwrap_err(), ParseError::TooLarge { .. }));
    }

    #[test]
    fn buffers_are_reused_and_a_failure_leaves_an_empty_message() {
        let mut message = Message::parse(OPTIONS).unwrap();
        let (bytes, index) = (message.buf.as_ptr(), message.headers.as_ptr());
        message.parse_into(OPTIONS).unwrap();
        assert_eq!((message.buf.as_ptr(), message.headers.as_ptr()), (bytes, index));
        message.parse_into(b"garbage\r\n\r\n").unwrap_err();
        assert_eq!(message, Message::new());
        assert_eq!(message.ruri(), Some(&b""[..]));
    }
}
