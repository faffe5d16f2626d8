//! `KSR.hdr`: headers of the message.
//!
//! Getters and tests see the message as it was received. Changes are noted and made when it leaves. Names are
//! compared without regard to case, and a compact form is the same name.
//!
//! A text may have several header lines, as in Kamailio, if each has its line end: then the script has written them, and
//! no value at the end of a header that it builds. Nothing in a text can end the headers.

use kemi_macros::kemi_export;

use crate::message::{Edits, HeaderName, Message, WriteError};
use crate::modules::pv::{self, MISSING};
use crate::proxy::Cx;

/// How much of a refused text is shown in the log.
const SHOWN: usize = 80;

/// Adds a header after the last one; 1, or -1 when the text is no header.
#[kemi_export(module = "hdr")]
pub fn append(cx: &mut Cx, text: &[u8]) -> i64 {
    let result = whole_headers(text).and_then(|()| cx.msg.edits.append_headers(&cx.msg.message, text));
    done("append", text, result)
}

/// Adds a header after the last one, under the name that some of Kamailio's examples use; as `append`.
#[kemi_export(module = "hdr")]
pub fn append_hf(cx: &mut Cx, text: &[u8]) -> i64 {
    let result = whole_headers(text).and_then(|()| cx.msg.edits.append_headers(&cx.msg.message, text));
    done("append_hf", text, result)
}

/// Adds a header after the first one of a name, after the last one where there is none of it; 1, or -1 when the text is
/// not one header.
#[kemi_export(module = "hdr")]
pub fn append_after(cx: &mut Cx, text: &[u8], name: &[u8]) -> i64 {
    let (edits, message) = (&mut cx.msg.edits, &cx.msg.message);
    let result = whole_headers(text).and_then(|()| match edits.append_headers_after(message, name, text) {
        Ok(false) => edits.append_headers(message, text),
        other => other.map(|_| ()),
    });
    done("append_after", text, result)
}

/// Adds a header before the first one; 1, or -1 when the text is no header.
#[kemi_export(module = "hdr")]
pub fn insert(cx: &mut Cx, text: &[u8]) -> i64 {
    let result = whole_headers(text).and_then(|()| cx.msg.edits.insert_headers(&cx.msg.message, text));
    done("insert", text, result)
}

/// Adds a header before the first one of a name, before all where there is none of it; 1, or -1 when the text is not one
/// header.
#[kemi_export(module = "hdr")]
pub fn insert_before(cx: &mut Cx, text: &[u8], name: &[u8]) -> i64 {
    let (edits, message) = (&mut cx.msg.edits, &cx.msg.message);
    let result = whole_headers(text).and_then(|()| match edits.insert_headers_before(message, name, text) {
        Ok(false) => edits.insert_headers(message, text),
        other => other.map(|_| ()),
    });
    done("insert_before", text, result)
}

/// Removes all headers of a name; 1, also when there are none.
#[kemi_export(module = "hdr")]
pub fn remove(cx: &mut Cx, name: &[u8]) -> i64 {
    cx.msg.edits.remove_headers(&cx.msg.message, name);
    1
}

/// Removes all headers of a name and adds a header after the last one; 1, or -1 when the text is no header, and then
/// nothing is removed.
#[kemi_export(module = "hdr")]
pub fn rmappend(cx: &mut Cx, name: &[u8], text: &[u8]) -> i64 {
    replace(cx, "rmappend", name, text, Edits::append_headers)
}

/// Removes all headers of a name and adds a header before the first one; 1, or -1 when the text is no header, and
/// then nothing is removed.
#[kemi_export(module = "hdr")]
pub fn rminsert(cx: &mut Cx, name: &[u8], text: &[u8]) -> i64 {
    replace(cx, "rminsert", name, text, Edits::insert_headers)
}

/// Tests whether there is a header of a name: 1 or -1.
#[kemi_export(module = "hdr")]
pub fn is_present(cx: &Cx, name: &[u8]) -> i64 {
    if cx.msg.message.header(name).is_some() { 1 } else { -1 }
}

/// Adds a header to the replies made here for this request; 1, or -1 when the text is no header.
#[kemi_export(module = "hdr")]
pub fn append_to_reply(cx: &mut Cx, text: &[u8]) -> i64 {
    let result = check_reply_headers(&cx.msg.message, text);
    if result.is_ok() {
        let headers = &mut cx.msg.reply_headers;
        headers.extend_from_slice(text);
        if !text.ends_with(b"\n") {
            headers.extend_from_slice(b"\r\n");
        }
    }
    done("append_to_reply", text, result)
}

/// Returns the value of the first header of a name, nil when there is none.
#[kemi_export(module = "hdr")]
pub fn get<'c>(cx: &'c Cx, name: &[u8]) -> Option<&'c [u8]> {
    pv::header(&cx.msg.message, name, 0)
}

/// Returns the value of the first header of a name, an empty string when there is none.
#[kemi_export(module = "hdr")]
pub fn gete<'c>(cx: &'c Cx, name: &[u8]) -> &'c [u8] {
    get(cx, name).unwrap_or_default()
}

/// Returns the value of the first header of a name, `<null>` when there is none.
#[kemi_export(module = "hdr")]
pub fn getw<'c>(cx: &'c Cx, name: &[u8]) -> &'c [u8] {
    get(cx, name).unwrap_or(MISSING)
}

/// Returns the value of one of the headers of a name, from 0 on or from the last, -1, back; nil when there is none.
#[kemi_export(module = "hdr")]
pub fn get_idx<'c>(cx: &'c Cx, name: &[u8], index: i64) -> Option<&'c [u8]> {
    pv::header(&cx.msg.message, name, index)
}

/// Returns the value of one of the headers of a name, from 0 on or from the last, -1, back; an empty string when there
/// is none.
#[kemi_export(module = "hdr")]
pub fn gete_idx<'c>(cx: &'c Cx, name: &[u8], index: i64) -> &'c [u8] {
    get_idx(cx, name, index).unwrap_or_default()
}

/// Returns the value of one of the headers of a name, from 0 on or from the last, -1, back; `<null>` when there is
/// none.
#[kemi_export(module = "hdr")]
pub fn getw_idx<'c>(cx: &'c Cx, name: &[u8], index: i64) -> &'c [u8] {
    get_idx(cx, name, index).unwrap_or(MISSING)
}

/// Compares the values of the headers of a name with a text, whatever the case of their ASCII letters.
///
/// `operator` is `eq` equal, `ne` not equal, `sw` starts with, `in` has it inside; `which` is `f` the first header,
/// `l` the last, `a` all, `o` at least one; their case does not matter either. False when there is no header of the name.
#[kemi_export(module = "hdr")]
pub fn match_content(cx: &Cx, name: &[u8], operator: &[u8], text: &[u8], which: &[u8]) -> bool {
    let (mut name_of_operator, mut name_of_index) = ([0; 2], [0; 1]);
    let matches: fn(&[u8], &[u8]) -> bool = match lower(operator, &mut name_of_operator) {
        b"eq" => <[u8]>::eq_ignore_ascii_case,
        b"ne" => |value, text| !value.eq_ignore_ascii_case(text),
        b"sw" => |value, text| value.get(..text.len()).is_some_and(|start| start.eq_ignore_ascii_case(text)),
        b"in" => |value, text| text.is_empty() || value.windows(text.len()).any(|part| part.eq_ignore_ascii_case(text)),
        _ => return refuse_match("operator", operator, "eq, ne, sw or in"),
    };
    let message = &cx.msg.message;
    let mut results = message.headers(name).map(|header| matches(message.text(header.value), text));
    match lower(which, &mut name_of_index) {
        b"f" => results.next().unwrap_or(false),
        b"l" => results.last().unwrap_or(false),
        b"a" => results.next().unwrap_or(false) && results.all(|matched| matched),
        b"o" => results.any(|matched| matched),
        _ => refuse_match("index", which, "f, l, a or o"),
    }
}

/// Writes a short name in lower case into a buffer; one that is longer than the buffer is left as it is.
fn lower<'a>(name: &'a [u8], buffer: &'a mut [u8]) -> &'a [u8] {
    match buffer.get_mut(..name.len()) {
        Some(lower) => {
            lower.copy_from_slice(name);
            lower.make_ascii_lowercase();
            lower
        }
        None => name,
    }
}

type AddLines = fn(&mut Edits, &Message, &[u8]) -> Result<(), WriteError>;

fn replace(cx: &mut Cx, function: &str, name: &[u8], text: &[u8], add: AddLines) -> i64 {
    let (edits, message) = (&mut cx.msg.edits, &cx.msg.message);
    let result = whole_headers(text).and_then(|()| add(edits, message, text));
    if result.is_ok() {
        edits.remove_headers(message, name);
    }
    done(function, text, result)
}

/// Refuses several header lines of which the last has no line end: a line break in a value that a script builds a header
/// from must not add another.
fn whole_headers(text: &[u8]) -> Result<(), WriteError> {
    let begins_header = |at: &usize| !matches!(text.get(at + 1), None | Some(b' ' | b'\t' | b'\r' | b'\n'));
    match memchr::memchr_iter(b'\n', text).find(begins_header) {
        Some(at) if !text.ends_with(b"\n") => {
            Err(WriteError::HeaderText { offset: at + 1, why: "of several headers each needs its line end" })
        }
        _ => Ok(()),
    }
}

/// Refuses what a reply could not be written with, while the script can still be told.
fn check_reply_headers(message: &Message, text: &[u8]) -> Result<(), WriteError> {
    whole_headers(text)?;
    Edits::new().append_headers(message, text)?;
    let names = text.split(|b| *b == b'\n').filter_map(|line| line.split(|b| *b == b':').next());
    if names.map(<[u8]>::trim_ascii).any(|name| HeaderName::from_bytes(name) == HeaderName::ContentLength) {
        return Err(WriteError::Value { what: "a Content-Length header", why: "is made by the proxy itself" });
    }
    Ok(())
}

fn done(function: &str, text: &[u8], result: Result<(), WriteError>) -> i64 {
    match result {
        Ok(()) => 1,
        Err(error) => {
            let (shown, more) = match text.split_at_checked(SHOWN) {
                Some((start, _)) => (start, "…"),
                None => (text, ""),
            };
            tracing::warn!(target: "script", "KSR.hdr.{function}: {error}: \"{}{more}\"", shown.escape_ascii());
            -1
        }
    }
}

#[cold]
fn refuse_match(what: &str, got: &[u8], expected: &str) -> bool {
    tracing::warn!(target: "script", "KSR.hdr.match_content: {what} '{}' is not {expected}", got.escape_ascii());
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::testing::{INVITE, RINGING, cx, edited};

    #[test]
    fn lines_are_added_where_they_shall_be() {
        type Add = fn(&mut Cx) -> i64;
        let rows: [(Add, &str, &str); 8] = [
            (|cx| append(cx, b"P-Hint: outbound\r\n"), "three\r\n", "three\r\nP-Hint: outbound\r\n"),
            (|cx| append_hf(cx, b"P-Hint: x"), "three\r\n", "three\r\nP-Hint: x\r\n"),
            (|cx| insert(cx, b"A: 1\r\n 2"), "Via:", "A: 1\r\n 2\r\nVia:"),
            (
                |cx| append_after(cx, b"A: 1\n", b"contact"),
                "m: <sip:alice@127.0.0.9:5090>\r\n",
                "m: <sip:alice@127.0.0.9:5090>\r\nA: 1\r\n",
            ),
            (|cx| append_after(cx, b"A: 1", b"X-None"), "three\r\n", "three\r\nA: 1\r\n"),
            (|cx| insert_before(cx, b"A: 1", b"X-LIST"), "X-List: one", "A: 1\r\nX-List: one"),
            (|cx| insert_before(cx, b"A: 1", b"X-None"), "Via:", "A: 1\r\nVia:"),
            (|cx| append(cx, b"A: 1\r\n folded"), "three\r\n", "three\r\nA: 1\r\n folded\r\n"),
        ];
        for (i, (add, from, to)) in rows.into_iter().enumerate() {
            let mut cx = cx(INVITE);
            assert_eq!(add(&mut cx), 1, "row {i}");
            assert_eq!(edited(&cx), INVITE.replacen(from, to, 1), "row {i}");
        }
    }

    #[test]
    fn headers_are_removed_by_any_form_of_their_name() {
        let mut cx = cx(INVITE);
        assert_eq!((remove(&mut cx, b"Contact"), remove(&mut cx, b"X-None")), (1, 1));
        assert_eq!(rmappend(&mut cx, b"x-list", b"X-List: new"), 1);
        assert_eq!(rminsert(&mut cx, b"i", b"i: other"), 1);
        let text = edited(&cx);
        assert!(!text.contains("5090>") && !text.contains(": one") && !text.contains("call-1"), "{text}");
        assert!(text.contains("SIP/2.0\r\ni: other\r\nVia") && text.ends_with("X-List: new\r\n\r\nbody"), "{text}");
        // What scripts read is the message as received.
        assert_eq!((is_present(&cx, b"Contact"), is_present(&cx, b"P-Hint")), (1, -1));
        assert_eq!(get(&cx, b"X-List"), Some(&b"one"[..]));
    }

    #[test]
    fn several_lines_are_several_headers() {
        let mut cx = cx(INVITE);
        assert_eq!(append(&mut cx, b"A: 1\r\nB: 2\n 3\r\nC: 4\r\n"), 1);
        assert_eq!(rmappend(&mut cx, b"X-List", b"X-List: new\nX-List: newer\n"), 1);
        assert_eq!(append_to_reply(&mut cx, b"D: 1\r\nE: 2\r\n"), 1);
        let text = edited(&cx);
        assert!(text.ends_with("A: 1\r\nB: 2\r\n 3\r\nC: 4\r\nX-List: new\r\nX-List: newer\r\n\r\nbody"), "{text}");
        assert_eq!(text.matches("ist: ").count(), 2);
        assert_eq!(cx.msg.reply_headers, b"D: 1\r\nE: 2\r\n");
        assert_eq!(append_to_reply(&mut cx, b"D: 1\r\nl: 2\r\n"), -1);
    }

    #[test]
    fn only_whole_headers_are_taken() {
        let bad: [&[u8]; 13] = [
            b"",
            b"\r\n",
            b"text",
            b"A: 1\r\n\r\nbody",
            b"A: 1\r\n\r\n",
            b" fold: 1",
            b"A: \0",
            b"A: 1\rB: 2",
            b"A: 1\r\nB: 2",
            b"A: 1\nB: 2",
            b"A: 1\r\n folded\r\nB: 2",
            b"A: 1\r\nB\r\n",
            b"A: 1\r\n \r\nB: 2",
        ];
        for text in bad {
            let mut cx = cx(INVITE);
            for result in [
                append(&mut cx, text),
                append_hf(&mut cx, text),
                append_after(&mut cx, text, b"Via"),
                insert(&mut cx, text),
                insert_before(&mut cx, text, b"Via"),
                rmappend(&mut cx, b"Via", text),
                rminsert(&mut cx, b"Via", text),
                append_to_reply(&mut cx, text),
            ] {
                assert_eq!(result, -1, "{text:?}");
            }
            assert_eq!(edited(&cx), INVITE, "{text:?}");
            assert_eq!(cx.msg.reply_headers, b"");
        }
    }

    #[test]
    fn lines_for_replies_are_collected_whole() {
        let mut cx = cx(INVITE);
        assert_eq!((append_to_reply(&mut cx, b"A: 1"), append_to_reply(&mut cx, b"B: 2\r\n")), (1, 1));
        assert_eq!((append_to_reply(&mut cx, b"l : 0"), append_to_reply(&mut cx, b"Content-Length: 0")), (-1, -1));
        assert_eq!(cx.msg.reply_headers, b"A: 1\r\nB: 2\r\n");
        assert_eq!(edited(&cx), INVITE);
    }

    #[test]
    fn values_by_name_and_index() {
        let cx = cx(INVITE);
        for (name, present) in [("Via", 1), ("v", 1), ("VIA", 1), ("x-list", 1), ("l", 1), ("Route", -1), ("", -1)] {
            assert_eq!(is_present(&cx, name.as_bytes()), present, "{name}");
        }
        assert_eq!((gete(&cx, b"Route"), getw(&cx, b"Route"), get(&cx, b"Route")), (&b""[..], &b"<null>"[..], None));
        assert_eq!(
            (gete(&cx, b"f"), getw(&cx, b"User-Agent")),
            (cx.msg.message.from().unwrap().raw, &b"test phone"[..])
        );
        for (index, expected) in [
            (0, Some("one")),
            (2, Some("three")),
            (3, None),
            (-1, Some("three")),
            (-3, Some("one")),
            (-4, None),
            (i64::MAX, None),
            (i64::MIN, None),
        ] {
            let expected = expected.map(str::as_bytes);
            assert_eq!(get_idx(&cx, b"X-List", index), expected, "{index}");
            assert_eq!(gete_idx(&cx, b"X-List", index), expected.unwrap_or(b""), "{index}");
            assert_eq!(getw_idx(&cx, b"X-List", index), expected.unwrap_or(b"<null>"), "{index}");
        }
    }

    #[test]
    fn contents_are_compared_for_the_headers_asked_for() {
        let cx = cx(INVITE);
        for (operator, text, which, expected) in [
            ("eq", "one", "f", true),
            ("eq", "one", "l", false),
            ("eq", "three", "l", true),
            ("eq", "two", "o", true),
            ("eq", "four", "o", false),
            ("ne", "four", "a", true),
            ("ne", "two", "a", false),
            ("sw", "t", "f", false),
            ("sw", "th", "l", true),
            ("in", "wo", "o", true),
            ("in", "", "a", true),
            ("in", "e", "a", false),
            ("eq", "ONE", "f", true),
            ("EQ", "One", "F", true),
            ("ne", "ONE", "f", false),
            ("Sw", "TH", "L", true),
            ("sw", "one and more", "f", false),
            ("iN", "WO", "o", true),
            ("equal", "one", "f", false),
            ("xx", "one", "f", false),
            ("eq", "one", "x", false),
        ] {
            let result = match_content(&cx, b"x-list", operator.as_bytes(), text.as_bytes(), which.as_bytes());
            assert_eq!(result, expected, "{operator} {text} {which}");
        }
        for which in [&b"f"[..], b"l", b"a", b"o"] {
            assert!(!match_content(&cx, b"X-None", b"ne", b"x", which));
        }
    }

    #[test]
    fn replies_have_headers_too() {
        let mut cx = cx(RINGING);
        assert_eq!((append(&mut cx, b"A: 1"), remove(&mut cx, b"To")), (1, 1));
        let text = edited(&cx);
        assert!(text.ends_with("Length: 0\r\nA: 1\r\n\r\n") && !text.contains("To:"), "{text}");
    }
}
