//! The edit list: what shall be different when a message leaves.

use crate::message::lexical::{push_header_lines, push_number};
use crate::message::{Header, HeaderName, ListItem, Message, Span, WriteError};

/// Edits to one message, applied when it is serialised; the message itself, and so every view of it, stays as received.
///
/// Offsets and ranges mean the message that the edits were made for. Text inserted at the same place keeps the order
/// of the calls. Ranges to delete may overlap. Text that was put inside of a deleted range, or in place of bytes that
/// are deleted as well, goes with it; text inserted at the edge of a deleted range stays.
///
/// `Content-Length` needs no edit: it is made right whenever the body changes.
///
/// A branch clones the edits of its request; [`Edits::clear`] keeps the buffers for the next message.
#[derive(Clone, Debug, Default)]
pub struct Edits {
    /// Sorted by where they start; among equals by the order of the calls.
    ops: Vec<Op>,
    /// All new text, one behind the other.
    text: Vec<u8>,
    /// The new body in `text`.
    body: Option<Span>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Op {
    kind: Kind,
    /// What goes away; empty for an insertion.
    span: Span,
    /// What comes instead, in [`Edits::text`].
    text: Span,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Insert,
    Delete,
    Replace,
}

impl Edits {
    /// No edits.
    pub fn new() -> Edits {
        Edits::default()
    }

    /// Forgets all edits and keeps the buffers.
    pub fn clear(&mut self) {
        self.ops.clear();
        self.text.clear();
        self.body = None;
    }

    /// Whether the message would leave as it came.
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty() && self.body.is_none()
    }

    /// How many bytes they hold on the heap.
    pub fn memory(&self) -> usize {
        self.ops.capacity() * size_of::<Op>() + self.text.capacity()
    }

    /// Inserts text at an offset, unchecked.
    ///
    /// Header lines are better inserted with the functions that check them.
    pub fn insert(&mut self, at: u32, text: &[u8]) {
        let text = self.keep(text);
        self.push(Kind::Insert, Span::at(at), text);
    }

    /// As [`Edits::insert`], with text in parts.
    pub(super) fn insert_parts(&mut self, at: u32, parts: &[&[u8]]) {
        let start = self.text.len();
        for part in parts {
            self.text.extend_from_slice(part);
        }
        let text = Span::new(start, self.text.len());
        self.push(Kind::Insert, Span::at(at), text);
    }

    /// Deletes a range.
    pub fn delete(&mut self, span: Span) {
        if span.is_empty() {
            return;
        }
        self.withdraw(span);
        self.push(Kind::Delete, span, Span::default());
    }

    /// Puts text in the place of a range, unchecked; a later replacement of the same range takes its place.
    pub fn replace(&mut self, span: Span, text: &[u8]) {
        let text = self.keep(text);
        self.replace_kept(span, text);
    }

    /// As [`Edits::replace`], with text that `write` appends to the buffer it is given.
    pub(super) fn replace_with(&mut self, span: Span, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.text.len();
        write(&mut self.text);
        self.replace_kept(span, Span::new(start, self.text.len()));
    }

    /// Adds header lines behind the last header.
    ///
    /// # Errors
    /// [`WriteError::HeaderText`] when the text is anything but `Name: value` lines; a missing last CRLF is added.
    pub fn append_headers(&mut self, message: &Message, lines: &[u8]) -> Result<(), WriteError> {
        self.insert_lines(message.headers_end(), lines)
    }

    /// Adds header lines before the first header.
    ///
    /// # Errors
    /// As [`Edits::append_headers`].
    pub fn insert_headers(&mut self, message: &Message, lines: &[u8]) -> Result<(), WriteError> {
        self.insert_lines(message.headers_start(), lines)
    }

    /// Adds header lines behind the first header of that name; `false` when there is none, and then nothing is added.
    ///
    /// # Errors
    /// As [`Edits::append_headers`].
    pub fn append_headers_after(&mut self, message: &Message, name: &[u8], lines: &[u8]) -> Result<bool, WriteError> {
        match message.header(name) {
            Some(header) => self.insert_lines(header.line.end, lines).map(|()| true),
            None => Ok(false),
        }
    }

    /// Adds header lines before the first header of that name; `false` when there is none, and then nothing is added.
    ///
    /// # Errors
    /// As [`Edits::append_headers`].
    pub fn insert_headers_before(&mut self, message: &Message, name: &[u8], lines: &[u8]) -> Result<bool, WriteError> {
        match message.header(name) {
            Some(header) => self.insert_lines(header.line.start, lines).map(|()| true),
            None => Ok(false),
        }
    }

    /// Removes all headers of that name, compact or long, in any case, and returns how many there were.
    pub fn remove_headers(&mut self, message: &Message, name: &[u8]) -> usize {
        message.headers(name).map(|header| self.delete(header.line)).count()
    }

    /// Removes one header line with its folds.
    pub fn remove_header(&mut self, header: &Header) {
        self.delete(header.line);
    }

    /// Removes one element of a list header, together with the comma that it no longer needs.
    ///
    /// The whole line goes with its last element, so any of them may be removed, one after the other, in any order.
    pub fn delete_item(&mut self, message: &Message, item: &ListItem<'_>) {
        let Some(header) = message.header_lines().get(item.header) else {
            return;
        };
        let mut before = None;
        let mut after = None;
        let mut next = None;
        for other in message.items(header.name).filter(|other| other.header == item.header) {
            let alive = !self.is_deleted(other.span);
            if other.span.end <= item.span.start {
                before = Some(other.span).filter(|_| alive).or(before);
            } else if other.span.start >= item.span.end {
                next = next.or(Some(other.span));
                after = after.or(Some(other.span).filter(|_| alive));
            }
        }
        match (before, after, next) {
            // The comma behind goes along as long as something lives behind it.
            (_, Some(_), Some(next)) => self.delete(Span { start: item.span.start, end: next.start }),
            (Some(before), _, _) => self.delete(Span { start: before.end, end: item.span.end }),
            _ => self.delete(header.line),
        }
    }

    /// Whether a range is deleted as a whole by one edit.
    pub fn is_deleted(&self, span: Span) -> bool {
        self.deletions().any(|deleted| deleted.contains(span))
    }

    /// Puts another body in the place of the message's; edits inside of the old one go with it.
    pub fn set_body(&mut self, body: &[u8]) {
        self.body = Some(self.keep(body));
    }

    /// Appends the edited message to `out`.
    ///
    /// Without edits these are the message's own bytes.
    pub fn serialise(&self, message: &Message, out: &mut Vec<u8>) {
        let bytes = message.bytes();
        let body = message.body_span();
        let length = self.changed_length(message);
        let mut copy = Copy { bytes, at: 0, out };
        let mut fields = message
            .all_known(HeaderName::ContentLength)
            .filter(|header| length.is_some() && !self.is_deleted(header.line))
            .map(|header| header.value)
            .peekable();
        let length = length.unwrap_or_default();
        let mut last_field = None;
        let mut field_missing = fields.peek().is_none() && self.changes_body(message);
        for op in &self.ops {
            if self.body.is_some() && op.span.start >= body.start {
                break;
            }
            while let Some(field) = fields.next_if(|field| field.start <= op.span.start) {
                copy.number(field, length);
                last_field = Some(field);
            }
            if field_missing && op.span.start > message.headers_end() {
                copy.length_line(message.headers_end(), length);
                field_missing = false;
            }
            if last_field.is_some_and(|field: Span| field.contains(op.span)) {
                continue;
            }
            copy.up_to(op.span.start);
            if self.is_alive(op) {
                copy.out.extend_from_slice(op.text.of(&self.text));
            }
            copy.skip_to(op.span.end);
        }
        for field in fields {
            copy.number(field, length);
        }
        if field_missing {
            copy.length_line(message.headers_end(), length);
        }
        match self.body {
            Some(new) => {
                copy.up_to(body.start);
                copy.out.extend_from_slice(new.of(&self.text));
            }
            None => copy.up_to(Span::new(bytes.len(), 0).start),
        }
    }

    fn insert_lines(&mut self, at: u32, lines: &[u8]) -> Result<(), WriteError> {
        let start = self.text.len();
        push_header_lines(lines, &mut self.text)?;
        let text = Span::new(start, self.text.len());
        self.push(Kind::Insert, Span::at(at), text);
        Ok(())
    }

    fn keep(&mut self, text: &[u8]) -> Span {
        let start = self.text.len();
        self.text.extend_from_slice(text);
        Span::new(start, self.text.len())
    }

    fn replace_kept(&mut self, span: Span, text: Span) {
        self.withdraw(span);
        self.push(Kind::Replace, span, text);
    }

    /// Takes back what was said about exactly this range, insertions apart.
    fn withdraw(&mut self, span: Span) {
        self.ops.retain(|op| op.kind == Kind::Insert || op.span != span);
    }

    fn push(&mut self, kind: Kind, span: Span, text: Span) {
        let place = self.ops.partition_point(|other| other.span.start <= span.start);
        self.ops.insert(place, Op { kind, span, text });
    }

    fn deletions(&self) -> impl Iterator<Item = Span> {
        self.ops.iter().filter(|op| op.kind == Kind::Delete).map(|op| op.span)
    }

    /// Whether an edit's text is to be written: its place is not deleted.
    fn is_alive(&self, op: &Op) -> bool {
        if op.text.is_empty() {
            return false;
        }
        let Span { start, end } = op.span;
        !self.deletions().any(|deleted| match op.span.is_empty() {
            true => deleted.start < start && end < deleted.end,
            false => deleted.contains(op.span),
        })
    }

    fn changes_body(&self, message: &Message) -> bool {
        let start = message.body_span().start;
        self.body.is_some() || self.ops.iter().any(|op| op.span.start >= start || op.span.end > start)
    }

    /// The length of the body as it will be written, `None` when no edit concerns it.
    fn changed_length(&self, message: &Message) -> Option<usize> {
        if let Some(body) = self.body {
            return Some(body.len());
        }
        if !self.changes_body(message) {
            return None;
        }
        let body = message.body_span();
        let mut length = 0;
        let mut at = body.start;
        for op in &self.ops {
            let start = op.span.start.clamp(body.start, body.end);
            length += start.saturating_sub(at) as usize;
            at = at.max(start);
            if op.span.start >= body.start && self.is_alive(op) {
                length += op.text.len();
            }
            at = at.max(op.span.end.min(body.end));
        }
        Some(length + body.end.saturating_sub(at) as usize)
    }
}

/// The original on its way to the output.
struct Copy<'a> {
    bytes: &'a [u8],
    /// What has been copied or skipped so far.
    at: u32,
    out: &'a mut Vec<u8>,
}

impl Copy<'_> {
    fn up_to(&mut self, end: u32) {
        let end = end.min(Span::new(self.bytes.len(), 0).start);
        let span = Span { start: self.at, end };
        self.out.extend_from_slice(span.of(self.bytes));
        self.skip_to(end);
    }

    fn skip_to(&mut self, end: u32) {
        self.at = self.at.max(end);
    }

    fn number(&mut self, field: Span, number: usize) {
        self.up_to(field.start);
        push_number(self.out, number as u64);
        self.skip_to(field.end);
    }

    fn length_line(&mut self, at: u32, length: usize) {
        self.up_to(at);
        self.out.extend_from_slice(b"Content-Length: ");
        push_number(self.out, length as u64);
        self.out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str =
        "BYE sip:b SIP/2.0\r\nVia: a\r\nRoute: <sip:1>, <sip:2>,\r\n <sip:3>\r\nX: 1\r\nx: 2\r\nl: 4\r\n\r\nbody";

    fn message() -> Message {
        Message::parse(TEXT.as_bytes()).unwrap()
    }

    fn written(edits: &Edits, message: &Message) -> String {
        let mut out = b"kept ".to_vec();
        edits.serialise(message, &mut out);
        String::from_utf8(out).unwrap().strip_prefix("kept ").unwrap().to_string()
    }

    #[test]
    fn no_edits_no_change() {
        assert_eq!(written(&Edits::new(), &message()), TEXT);
        assert!(Edits::new().is_empty());
    }

    #[test]
    fn inserts_at_one_place_keep_their_order() {
        let m = message();
        let mut e = Edits::new();
        e.append_headers(&m, b"A: 1\r\n").unwrap();
        e.append_headers(&m, b"B: 2").unwrap();
        e.insert_headers(&m, b"C: 3\r\n").unwrap();
        e.insert_headers(&m, b"D: 4\r\n").unwrap();
        let expected = TEXT.replace("Via", "C: 3\r\nD: 4\r\nVia").replace("l: 4\r\n", "l: 4\r\nA: 1\r\nB: 2\r\n");
        assert_eq!(written(&e, &m), expected);
    }

    #[test]
    fn beside_a_named_header() {
        let m = message();
        let mut e = Edits::new();
        assert_eq!(e.insert_headers_before(&m, b"X", b"A: 1"), Ok(true));
        assert_eq!(e.append_headers_after(&m, b"X", b"B: 1"), Ok(true));
        assert_eq!(e.append_headers_after(&m, b"Y", b"B: 1"), Ok(false));
        assert_eq!(e.insert_headers_before(&m, b"Y", b"B: 1"), Ok(false));
        assert!(e.append_headers(&m, b"\r\nbody").is_err());
        let expected = TEXT.replace("X: 1\r\n", "A: 1\r\nX: 1\r\nB: 1\r\n");
        assert_eq!(written(&e, &m), expected);
        // Text beside a header stays when the headers go.
        assert_eq!(e.remove_headers(&m, b"x"), 2);
        let expected = TEXT.replace("X: 1\r\nx: 2\r\n", "A: 1\r\nB: 1\r\n");
        assert_eq!(written(&e, &m), expected);
    }

    #[test]
    fn text_inside_of_what_is_deleted_goes_with_it_whatever_came_first() {
        let m = message();
        let header = *m.header(b"x").unwrap();
        for delete_first in [true, false] {
            let mut e = Edits::new();
            if delete_first {
                e.remove_header(&header);
            }
            e.replace(header.value, b"9");
            e.insert(header.value.end, b";more");
            if !delete_first {
                e.remove_header(&header);
            }
            assert_eq!(written(&e, &m), TEXT.replace("X: 1\r\n", ""));
        }
    }

    #[test]
    fn the_last_word_on_a_range_counts() {
        let m = message();
        let value = m.header(b"x").unwrap().value;
        let mut e = Edits::new();
        e.replace(value, b"one");
        e.replace(value, b"two");
        assert_eq!(written(&e, &m), TEXT.replace("X: 1", "X: two"));
        e.delete(value);
        assert_eq!(written(&e, &m), TEXT.replace("X: 1", "X: "));
        e.replace(value, b"three");
        assert_eq!(written(&e, &m), TEXT.replace("X: 1", "X: three"));
    }

    #[test]
    fn overlapping_deletes_merge() {
        let m = message();
        let mut e = Edits::new();
        e.delete(Span::new(4, 7));
        e.delete(Span::new(3, 6));
        e.delete(Span::new(5, 9));
        assert_eq!(written(&e, &m), TEXT.replacen(" sip:b", "", 1));
    }

    #[test]
    fn list_elements_go_alone_in_any_order() {
        let m = message();
        let items: Vec<_> = m.routes().collect();
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let mut e = Edits::new();
            let mut left = vec![0, 1, 2];
            for index in order {
                e.delete_item(&m, &items[index]);
                left.retain(|other| *other != index);
                let again = Message::parse(written(&e, &m).as_bytes()).unwrap();
                let found: Vec<_> = again.routes().map(|item| item.raw.to_vec()).collect();
                let expected: Vec<_> = left.iter().map(|i| items[*i].raw.to_vec()).collect();
                assert_eq!(found, expected, "{order:?}");
                let text = String::from_utf8_lossy(again.bytes()).into_owned();
                assert!(!text.contains(",,") && !text.contains(": ,"), "{text}");
                assert!(!text.contains(",\r\nX"), "{text}");
                assert_eq!(text.contains("Route"), !left.is_empty(), "{text}");
            }
        }
    }

    #[test]
    fn a_new_body_brings_its_length() {
        let m = message();
        let mut e = Edits::new();
        e.insert(m.body_span().start + 1, b"lost with the old body");
        e.set_body(b"longer body");
        e.set_body(b"a new body");
        let expected = TEXT.replace("l: 4", "l: 10").replace("\r\n\r\nbody", "\r\n\r\na new body");
        assert_eq!(written(&e, &m), expected);
        e.remove_headers(&m, b"Content-Length");
        e.append_headers(&m, b"A: 1").unwrap();
        assert!(written(&e, &m).ends_with("x: 2\r\nA: 1\r\nContent-Length: 10\r\n\r\na new body"));
    }

    #[test]
    fn edits_inside_of_the_body_fix_the_length_too() {
        let m = message();
        let start = m.body_span().start;
        let mut e = Edits::new();
        e.replace(Span { start, end: start + 1 }, b"some b");
        e.delete(Span { start: start + 3, end: start + 4 });
        e.insert(start + 4, b"!!");
        let expected = TEXT.replace("l: 4", "l: 10").replace("\r\n\r\nbody", "\r\n\r\nsome bod!!");
        assert_eq!(written(&e, &m), expected);
    }

    #[test]
    fn a_missing_length_is_added_only_when_the_body_changes() {
        let text = "BYE sip:b SIP/2.0\n\nbody";
        let m = Message::parse(text.as_bytes()).unwrap();
        let mut e = Edits::new();
        assert_eq!(written(&e, &m), text);
        e.insert(m.body_span().end, b"!");
        assert_eq!(written(&e, &m), "BYE sip:b SIP/2.0\nContent-Length: 5\r\n\nbody!");
        e.set_body(b"");
        assert_eq!(written(&e, &m), "BYE sip:b SIP/2.0\nContent-Length: 0\r\n\n");
    }

    #[test]
    fn a_script_cannot_contradict_the_length_of_a_new_body() {
        let m = message();
        let value = m.header(b"l").unwrap().value;
        let mut e = Edits::new();
        e.set_body(b"xy");
        e.replace(value, b"77");
        assert!(written(&e, &m).ends_with("l: 2\r\n\r\nxy"));
    }

    #[test]
    fn branches_have_their_own_copy_and_clear_keeps_nothing() {
        let m = message();
        let mut e = Edits::new();
        e.append_headers(&m, b"A: 1").unwrap();
        let mut branch = e.clone();
        branch.append_headers(&m, b"B: 1").unwrap();
        assert!(!written(&e, &m).contains("B: 1"));
        assert!(written(&branch, &m).contains("A: 1\r\nB: 1\r\n"));
        e.set_body(b"x");
        e.clear();
        assert!(e.is_empty());
        assert_eq!(written(&e, &m), TEXT);
    }
}
