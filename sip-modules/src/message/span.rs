//! Byte ranges inside a message.

/// A half-open byte range of a message.
///
/// 32 bits are enough, a message is at most 65,535 bytes, and keep a header index entry in half a cache line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Span {
    /// Offset of the first byte.
    pub start: u32,
    /// Offset just behind the last byte.
    pub end: u32,
}

impl Span {
    /// A range from offsets; what does not fit 32 bits saturates and so denotes nothing.
    pub fn new(start: usize, end: usize) -> Span {
        Span { start: u32::try_from(start).unwrap_or(u32::MAX), end: u32::try_from(end).unwrap_or(u32::MAX) }
    }

    /// The empty range at an offset.
    pub fn at(offset: u32) -> Span {
        Span { start: offset, end: offset }
    }

    /// The bytes of this range, nothing when it lies outside of `bytes`.
    pub fn of(self, bytes: &[u8]) -> &[u8] {
        bytes.get(self.start as usize..self.end as usize).unwrap_or_default()
    }

    /// The number of bytes.
    pub fn len(self) -> usize {
        self.end.saturating_sub(self.start) as usize
    }

    /// Whether there is no byte in it.
    pub fn is_empty(self) -> bool {
        self.end <= self.start
    }

    /// Whether all of `inner` lies in this range.
    pub fn contains(self, inner: Span) -> bool {
        self.start <= inner.start && inner.end <= self.end
    }

    /// Where `inner`, a part borrowed from `outer`, lies in it; `None` when it was not borrowed from there.
    pub fn locate(outer: &[u8], inner: &[u8]) -> Option<Span> {
        let start = inner.as_ptr().addr().checked_sub(outer.as_ptr().addr())?;
        let end = start.checked_add(inner.len())?;
        (end <= outer.len()).then(|| Span::new(start, end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_borrowed_part_is_located_and_a_foreign_one_is_not() {
        let text = b"hello world".to_vec();
        let part = &text[6..9];
        assert_eq!(Span::locate(&text, part), Some(Span { start: 6, end: 9 }));
        assert_eq!(Span::locate(part, &text), None);
    }

    #[test]
    fn a_range_outside_is_empty_bytes() {
        assert_eq!(Span::new(3, 9).of(b"abcd"), b"");
        assert_eq!(Span { start: 3, end: 1 }.of(b"abcd"), b"");
        assert_eq!(Span::new(1, 3).of(b"abcd"), b"bc");
    }
}
