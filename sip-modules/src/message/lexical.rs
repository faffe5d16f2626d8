//! The few lexical rules that every view shares: white space, quotes, numbers, checks of text handed in.

use std::borrow::Cow;

use crate::message::find::{find, find_either};
use crate::message::{HeaderName, WriteError};

/// The value as one line: each fold becomes a single space (RFC 3261 7.3.1); borrowed when there is none.
pub fn unfold(value: &[u8]) -> Cow<'_, [u8]> {
    if find(b'\n', value).is_none() {
        return Cow::Borrowed(value);
    }
    let mut line = Vec::with_capacity(value.len());
    for part in value.split(|b| *b == b'\n') {
        let part = trim(part);
        if !part.is_empty() {
            if !line.is_empty() {
                line.push(b' ');
            }
            line.extend_from_slice(part);
        }
    }
    Cow::Owned(line)
}

/// The text of a quoted string without quotes and backslashes; anything else as it is.
pub fn unquote(text: &[u8]) -> Cow<'_, [u8]> {
    let Some(inner) = text.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")) else {
        return Cow::Borrowed(text);
    };
    if find(b'\\', inner).is_none() {
        return Cow::Borrowed(inner);
    }
    let mut plain = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter();
    while let Some(&byte) = bytes.next() {
        match byte {
            b'\\' => plain.extend(bytes.next()),
            _ => plain.push(byte),
        }
    }
    Cow::Owned(plain)
}

/// Linear white space: space, tab and the line ends that folds are made of.
pub(super) fn is_lws(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// Without linear white space at both ends. The end goes first, so that nothing is left at the *start* of blank text.
pub(super) fn trim(mut text: &[u8]) -> &[u8] {
    while let [rest @ .., last] = text
        && is_lws(*last)
    {
        text = rest;
    }
    while let [first, rest @ ..] = text
        && is_lws(*first)
    {
        text = rest;
    }
    text
}

/// A character of RFC 3261's `token`.
fn is_token_byte(byte: u8) -> bool {
    TOKEN_BYTES[usize::from(byte)]
}

/// What may stand in a `token`.
const TOKEN_BYTES: [bool; 256] = {
    let mut bytes = [false; 256];
    let mut byte = 0u8;
    while byte < 128 {
        bytes[byte as usize] = byte.is_ascii_alphanumeric()
            || matches!(byte, b'-' | b'.' | b'!' | b'%' | b'*' | b'_' | b'+' | b'`' | b'\'' | b'~');
        byte += 1;
    }
    bytes
};

/// Whether the text is a non-empty `token`.
pub(super) fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().copied().all(is_token_byte)
}

/// A decimal number without sign; `None` when it is empty, has another character or does not fit.
pub(crate) fn number(text: &[u8]) -> Option<u32> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u32, |sum, byte| {
        let digit = byte.is_ascii_digit().then(|| u32::from(byte - b'0'))?;
        sum.checked_mul(10)?.checked_add(digit)
    })
}

/// Appends a decimal number.
pub(super) fn push_number(out: &mut Vec<u8>, mut n: u64) {
    let mut digits = [0u8; 20];
    let mut count = 0;
    for slot in digits.iter_mut().rev() {
        *slot = b'0' + (n % 10) as u8;
        n /= 10;
        count += 1;
        if n == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(digits.len() - count..).unwrap_or_default());
}

/// The first place of `wanted` outside of quoted strings; an open quote reaches to the end.
pub(super) fn find_unquoted(text: &[u8], wanted: u8) -> Option<usize> {
    // Most text has no quotes; then the byte searched for comes first.
    let first = find_either(b'"', wanted, text)?;
    if text.get(first) == Some(&wanted) {
        return Some(first);
    }
    let mut scan = Scan::default();
    text.iter().position(|byte| scan.is_plain(*byte) && *byte == wanted)
}

/// The first comma that separates list items: outside of quoted strings and of `<…>`.
pub(super) fn find_comma(text: &[u8]) -> Option<usize> {
    // Mostly there is none at all, or one comes before anything that could hide it.
    let comma = find(b',', text)?;
    if find_either(b'"', b'<', text.get(..comma)?).is_none() {
        return Some(comma);
    }
    let mut scan = Scan::default();
    let mut angle = false;
    text.iter().position(|&byte| {
        if angle {
            angle = byte != b'>';
            return false;
        }
        if !scan.is_plain(byte) {
            return false;
        }
        angle = byte == b'<';
        byte == b','
    })
}

/// Follows quoted strings byte by byte.
#[derive(Default)]
struct Scan {
    quoted: bool,
    escaped: bool,
}

impl Scan {
    /// Takes the next byte and tells whether it lies outside of a quoted string; the quotes themselves do not.
    fn is_plain(&mut self, byte: u8) -> bool {
        if self.escaped {
            self.escaped = false;
            return false;
        }
        match byte {
            b'"' => {
                self.quoted = !self.quoted;
                false
            }
            b'\\' if self.quoted => {
                self.escaped = true;
                false
            }
            _ => !self.quoted,
        }
    }
}

/// Refuses text that would end the line it is written into.
pub(super) fn check_line(what: &'static str, text: &[u8]) -> Result<(), WriteError> {
    let line_end = find_either(b'\r', b'\n', text);
    match find(0, text.get(..line_end.unwrap_or(text.len())).unwrap_or_default()).or(line_end) {
        Some(offset) => Err(WriteError::LineBreak { what, offset }),
        None => Ok(()),
    }
}

/// Appends header lines written by somebody else, after checking that they are header lines and nothing more.
///
/// Every line end becomes CRLF and a missing last one is added. Text that would end the header section, fold onto the
/// line before it or carry a stray CR is refused, and then nothing is appended.
pub(super) fn push_header_lines(text: &[u8], out: &mut Vec<u8>) -> Result<(), WriteError> {
    push_header_lines_without(None, text, out)
}

/// As [`push_header_lines`], and refuses header lines of a name, also where a fold makes them part of another one.
pub(super) fn push_header_lines_without(
    refused: Option<Refused>,
    text: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), WriteError> {
    let mark = out.len();
    let result = push_checked_lines(refused, text, out);
    if result.is_err() {
        out.truncate(mark);
    }
    result
}

/// A header that may not be among lines written by somebody else, and why.
#[derive(Clone, Copy)]
pub(super) struct Refused {
    pub(super) name: HeaderName,
    pub(super) why: &'static str,
}

fn push_checked_lines(refused: Option<Refused>, text: &[u8], out: &mut Vec<u8>) -> Result<(), WriteError> {
    let mut rest = text;
    loop {
        let offset = text.len() - rest.len();
        let refuse = |why| Err(WriteError::HeaderText { offset, why });
        let end = find(b'\n', rest);
        let (line, after) = rest.split_at(end.unwrap_or(rest.len()));
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if find_either(b'\r', 0, line).is_some() {
            return refuse("a CR or NUL inside of a line");
        }
        if trim(line).is_empty() {
            return refuse("an empty line would end the headers");
        }
        let colon = find(b':', line);
        let name = trim(line.get(..colon.unwrap_or(line.len())).unwrap_or_default());
        if let Some(refused) = refused
            && HeaderName::from_bytes(name) == refused.name
        {
            return refuse(refused.why);
        }
        if line.first().is_some_and(|b| is_lws(*b)) {
            if offset == 0 {
                return refuse("white space at the start would continue the header before it");
            }
        } else if colon.is_none() || !is_token(name) {
            return refuse("a header line needs a name and a colon");
        }
        out.extend_from_slice(line);
        out.extend_from_slice(b"\r\n");
        rest = after.get(1..).unwrap_or_default();
        if rest.is_empty() {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folds_become_one_space() {
        assert_eq!(unfold(b"a\r\n  b\n\tc").as_ref(), b"a b c");
        assert!(matches!(unfold(b"a  b"), Cow::Borrowed(b"a  b")));
    }

    #[test]
    fn quotes_are_removed_with_their_escapes() {
        assert_eq!(unquote(br#""a\"b\\c""#).as_ref(), br#"a"b\c"#);
        assert_eq!(unquote(br#""plain""#).as_ref(), b"plain");
        assert_eq!(unquote(b"\"").as_ref(), b"\"");
        assert_eq!(unquote(b"token").as_ref(), b"token");
    }

    #[test]
    fn a_token_has_the_characters_of_rfc_3261() {
        for byte in 0..=255u8 {
            let expected = byte.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&byte);
            assert_eq!(is_token(&[b'a', byte]), expected, "{byte}");
        }
        assert!(!is_token(b""));
    }

    #[test]
    fn the_first_byte_that_ends_a_line_is_told() {
        for (text, expected) in [("a\0b\rc", Some(1)), ("ab\n\0", Some(2)), ("a\r\n", Some(1)), ("ab", None)] {
            let offset = match check_line("it", text.as_bytes()) {
                Err(WriteError::LineBreak { offset, .. }) => Some(offset),
                _ => None,
            };
            assert_eq!(offset, expected, "{text:?}");
        }
    }

    #[test]
    fn numbers_fit_or_are_none() {
        assert_eq!(number(b"4294967295"), Some(u32::MAX));
        assert_eq!(number(b"4294967296"), None);
        assert_eq!(number(b""), None);
        assert_eq!(number(b"-1"), None);
        let mut out = Vec::new();
        push_number(&mut out, 0);
        push_number(&mut out, u64::MAX);
        assert_eq!(out, b"018446744073709551615");
    }

    #[test]
    fn separators_in_quotes_and_angles_do_not_count() {
        assert_eq!(find_unquoted(br#""a;\";";b"#, b';'), Some(7));
        assert_eq!(find_unquoted(br#""open;"#, b';'), None);
        assert_eq!(find_comma(br#""a,b" <sip:x,y@z>,c"#), Some(17));
        assert_eq!(find_comma(br#"a,"b,c""#), Some(1));
        assert_eq!(find_comma(br#"a"b,c""#), None);
    }

    #[test]
    fn header_lines_are_normalised_and_cannot_break_out() {
        let mut out = Vec::new();
        push_header_lines(b"A: 1\nB: 2\r\n folded", &mut out).unwrap();
        assert_eq!(out, b"A: 1\r\nB: 2\r\n folded\r\n");
        for bad in [
            &b""[..],
            b"\r\n",
            b"A: 1\r\n\r\nbody",
            b"A: 1\r\n \r\n",
            b" fold: 1",
            b"no colon",
            b": no name",
            b"A: 1\rB: 2",
            b"A: \0",
            b"A B: 1",
        ] {
            let mark = out.len();
            assert!(push_header_lines(bad, &mut out).is_err(), "{bad:?}");
            assert_eq!(out.len(), mark, "{bad:?} left something behind");
        }
    }
}
