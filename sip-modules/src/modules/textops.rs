//! `KSR.textops`: searching messages and comparing texts (Kamailio's module `textops`).
//!
//! Regular expressions are searched for anywhere, in any case, and `^` and `$` stand for the ends of a line.

use std::cell::RefCell;

use kemi_macros::kemi_export;
use regex_lite::{Regex, RegexBuilder};

use crate::message::Header;
use crate::modules::mistaken;
use crate::proxy::Cx;

/// How many compiled expressions a worker keeps.
const KEPT_EXPRESSIONS: usize = 64;

/// Searches the message as it was received for a regular expression. Returns 1 or -1; -1 as well for a bad expression.
#[kemi_export(module = "textops", cost = 10)]
fn search(cx: &Cx, expression: &str) -> i64 {
    found("search", expression, cx.msg.message.bytes())
}

/// Searches the body as it was received for a regular expression. Returns 1 or -1; -1 as well for a bad expression.
#[kemi_export(module = "textops", cost = 10)]
fn search_body(cx: &Cx, expression: &str) -> i64 {
    found("search_body", expression, cx.msg.message.body())
}

/// Searches a text for a regular expression. Returns 1 or -1; -1 as well for a bad expression.
#[kemi_export(module = "textops", context = Cx, cost = 10)]
fn search_str(text: &[u8], expression: &str) -> i64 {
    found("search_str", expression, text)
}

/// Searches the values of the headers of a name for a regular expression.
///
/// `which` is `"a"` for all of them, `"f"` for the first, `"l"` for the last. Returns 1 or -1; -1 as well for a bad
/// expression.
#[kemi_export(module = "textops", cost = 10)]
pub(super) fn search_hf(cx: &Cx, name: &[u8], expression: &str, which: &str) -> Result<i64, String> {
    let message = &cx.msg.message;
    let value = |header: &Header| found("search_hf", expression, message.text(header.value));
    let result = match which {
        "a" => message.headers(name).map(value).find(|result| *result > 0),
        "f" => message.headers(name).next().map(value),
        "l" => message.headers(name).last().map(value),
        _ => {
            let why = format!("unknown choice '{which}': a (all), f (the first) or l (the last)");
            return mistaken(cx, "search_hf", -1, why);
        }
    };
    Ok(result.unwrap_or(-1))
}

/// Tells whether there is a header of that name, in any case, compact or long. Returns 1 or -1.
#[kemi_export(module = "textops")]
fn is_present_hf(cx: &Cx, name: &[u8]) -> i64 {
    answer(cx.msg.message.header(name).is_some())
}

/// Tells whether there is a header whose name matches a regular expression. Returns 1 or -1.
#[kemi_export(module = "textops", cost = 10)]
fn is_present_hf_re(cx: &Cx, expression: &str) -> i64 {
    let message = &cx.msg.message;
    let mut names = message.header_lines().iter().map(|header| message.text(header.name_span));
    answer(names.any(|name| found("is_present_hf_re", expression, name) > 0))
}

/// Removes all headers of that name when the message leaves. Returns 1, or -1 if there is none.
#[kemi_export(module = "textops")]
fn remove_hf(cx: &mut Cx, name: &[u8]) -> i64 {
    let msg = &mut cx.msg;
    answer(msg.edits.remove_headers(&msg.message, name) > 0)
}

/// Removes all headers whose names match a regular expression when the message leaves.
///
/// Returns 1, or -1 if there is none.
#[kemi_export(module = "textops", cost = 10)]
fn remove_hf_re(cx: &mut Cx, expression: &str) -> i64 {
    let msg = &mut cx.msg;
    let mut result = -1;
    for header in msg.message.header_lines() {
        if found("remove_hf_re", expression, msg.message.text(header.name_span)) > 0 {
            msg.edits.remove_header(header);
            result = 1;
        }
    }
    result
}

/// Tells whether the message has a body. Returns 1 or -1.
#[kemi_export(module = "textops")]
fn has_body(cx: &Cx) -> i64 {
    answer(!cx.msg.message.body().is_empty())
}

/// Tells whether the message has a body of a media type such as `application/sdp`, in any case. Returns 1 or -1.
#[kemi_export(module = "textops")]
fn has_body_type(cx: &Cx, media_type: &[u8]) -> i64 {
    let message = &cx.msg.message;
    let declared = message.content_type().and_then(|value| value.split(|byte| *byte == b';').next());
    let same = declared.is_some_and(|declared| declared.trim_ascii().eq_ignore_ascii_case(media_type));
    answer(same && !message.body().is_empty())
}

/// Tells whether two texts are the same. Returns 1 or -1.
#[kemi_export(module = "textops", context = Cx)]
fn cmp_str(one: &[u8], other: &[u8]) -> i64 {
    answer(one == other)
}

/// Tells whether two texts are the same but for the case of ASCII letters. Returns 1 or -1.
#[kemi_export(module = "textops", context = Cx)]
fn cmp_istr(one: &[u8], other: &[u8]) -> i64 {
    answer(one.eq_ignore_ascii_case(other))
}

/// Tells whether a text starts with another one. Returns 1 or -1.
#[kemi_export(module = "textops", context = Cx)]
fn starts_with(text: &[u8], start: &[u8]) -> i64 {
    answer(text.starts_with(start))
}

/// Tells whether a text ends with another one. Returns 1 or -1.
#[kemi_export(module = "textops", context = Cx)]
fn ends_with(text: &[u8], end: &[u8]) -> i64 {
    answer(text.ends_with(end))
}

/// Tells whether a text is an element of a list whose elements are separated by one character. Returns 1 or -1.
///
/// White space around an element does not count. Of a longer separator the first character counts; without one it is -1.
#[kemi_export(module = "textops", context = Cx)]
fn in_list(subject: &[u8], list: &[u8], separator: &[u8]) -> i64 {
    let found = elements("in_list", list, separator)
        .is_some_and(|mut elements| elements.any(|element| element.trim_ascii() == subject));
    answer(found)
}

/// Tells whether an element of a list, whose elements are separated by one character, is the start of a text.
///
/// White space around an element does not count. Returns 1 or -1; the separator is as for `in_list`.
#[kemi_export(module = "textops", context = Cx)]
fn in_list_prefix(subject: &[u8], list: &[u8], separator: &[u8]) -> i64 {
    let found = elements("in_list_prefix", list, separator).is_some_and(|elements| {
        elements.map(<[u8]>::trim_ascii).any(|element| !element.is_empty() && subject.starts_with(element))
    });
    answer(found)
}

/// Whether a regular expression is found in a text, in any case; bytes that are no UTF-8 count as unknown characters.
///
/// # Errors
/// When the expression cannot be read.
pub(crate) fn matches(expression: &str, text: &[u8]) -> Result<bool, regex_lite::Error> {
    thread_local! {
        static COMPILED: RefCell<Vec<(String, Regex)>> = const { RefCell::new(Vec::new()) };
    }
    COMPILED.with_borrow_mut(|compiled| {
        let text = String::from_utf8_lossy(text);
        if let Some((_, regex)) = compiled.iter().find(|(kept, _)| kept == expression) {
            return Ok(regex.is_match(&text));
        }
        let regex = RegexBuilder::new(expression).case_insensitive(true).multi_line(true).build()?;
        let found = regex.is_match(&text);
        // Scripts name few expressions; one that makes them up must not fill the memory.
        if compiled.len() == KEPT_EXPRESSIONS {
            compiled.remove(0);
        }
        compiled.push((expression.to_owned(), regex));
        Ok(found)
    })
}

fn found(function: &str, expression: &str, text: &[u8]) -> i64 {
    match matches(expression, text) {
        Ok(found) => answer(found),
        Err(error) => {
            tracing::error!(target: "script", "{function}: bad regular expression '{expression}': {error}");
            -1
        }
    }
}

fn elements<'a>(function: &str, list: &'a [u8], separator: &[u8]) -> Option<impl Iterator<Item = &'a [u8]> + use<'a>> {
    if separator.len() != 1 {
        let shown = separator.escape_ascii();
        tracing::error!(target: "script", "{function}: the separator '{shown}' must be one character");
    }
    let separator = *separator.first()?;
    Some(list.split(move |byte| *byte == separator))
}

fn answer(yes: bool) -> i64 {
    if yes { 1 } else { -1 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::sl::wire::{Wire, request};

    fn message() -> Wire {
        let text =
            request("MESSAGE", "sip:b@h", "X-One: first\r\nX-One: Second\r\nContent-Type: Text/Plain; charset=x\r\n");
        Wire::new(&(text.replace("Content-Length: 0", "Content-Length: 9") + "one\r\ntwo\n"))
    }

    #[test]
    fn searching_sees_the_part_it_is_named_after() {
        let wire = message();
        for (expression, anywhere, body) in [
            ("^message sip:", 1, -1),
            ("ONE", 1, 1),
            ("^two$", 1, 1),
            ("first", 1, -1),
            ("three", -1, -1),
            ("(", -1, -1),
        ] {
            assert_eq!(search(&wire.cx, expression), anywhere, "{expression}");
            assert_eq!(search_body(&wire.cx, expression), body, "{expression}");
        }
        assert_eq!(search_str(b"sip:a@h;transport=TCP", ";transport=tcp"), 1);
        assert_eq!(search_str(b"a\xffb", "a.b"), 1);
        for (expression, which, code) in [
            ("second", "a", 1),
            ("first", "f", 1),
            ("second", "f", -1),
            ("second", "l", 1),
            ("first", "l", -1),
            ("x", "a", -1),
        ] {
            assert_eq!(search_hf(&wire.cx, b"x-one", expression, which), Ok(code), "{expression} {which}");
        }
        assert_eq!(search_hf(&wire.cx, b"X-None", ".*", "a"), Ok(-1));
        assert!(search_hf(&wire.cx, b"X-One", ".*", "z").is_err());
    }

    #[test]
    fn compiled_expressions_are_kept_within_bounds_and_stay_right() {
        for number in 0..3 * KEPT_EXPRESSIONS {
            for (text, expected) in [(number, true), (number + 1, false)] {
                assert_eq!(matches(&format!("^{number}$"), text.to_string().as_bytes()).unwrap(), expected);
            }
        }
    }

    #[test]
    fn headers_are_found_and_removed() {
        let mut wire = message();
        for (name, code) in [("x-one", 1), ("f", 1), ("X-Two", -1)] {
            assert_eq!(is_present_hf(&wire.cx, name.as_bytes()), code, "{name}");
        }
        assert_eq!(is_present_hf_re(&wire.cx, "^x-"), 1);
        assert_eq!(is_present_hf_re(&wire.cx, "^y-"), -1);
        assert_eq!(remove_hf(&mut wire.cx, b"X-Two"), -1);
        assert_eq!(remove_hf(&mut wire.cx, b"X-ONE"), 1);
        assert!(!wire.leaving().contains("X-One"));
        assert_eq!(remove_hf_re(&mut wire.cx, "^y-"), -1);
        assert_eq!(remove_hf_re(&mut wire.cx, "^content-t"), 1);
        assert!(!wire.leaving().contains("Content-Type") && wire.leaving().contains("Content-Length"));
    }

    #[test]
    fn bodies() {
        let wire = message();
        assert_eq!((has_body(&wire.cx), has_body_type(&wire.cx, b"text/plain")), (1, 1));
        assert_eq!(has_body_type(&wire.cx, b"application/sdp"), -1);
        let empty = Wire::new(&request("MESSAGE", "sip:b@h", "Content-Type: text/plain\r\n"));
        assert_eq!((has_body(&empty.cx), has_body_type(&empty.cx, b"text/plain")), (-1, -1));
    }

    #[test]
    fn texts() {
        assert_eq!(
            (cmp_str(b"a", b"a"), cmp_str(b"a", b"A"), cmp_istr(b"a", b"A"), cmp_istr(b"a", b"b")),
            (1, -1, 1, -1)
        );
        assert_eq!((starts_with(b"abc", b"ab"), starts_with(b"abc", b"bc")), (1, -1));
        assert_eq!((ends_with(b"abc", b"ab"), ends_with(b"abc", b"bc")), (-1, 1));
        assert_eq!((in_list(b"fi", b"dk,fi,no", b","), in_list(b"f", b"dk,fi,no", b",")), (1, -1));
        assert_eq!(in_list_prefix(b"final", b"dk,fi,no", b","), 1);
        assert_eq!(in_list_prefix(b"x", b"dk,,no", b","), -1);
        for list in [&b"path, 100rel"[..], b" path\t,\r\n 100rel ", b"100rel ,path"] {
            assert_eq!((in_list(b"100rel", list, b","), in_list(b"rel", list, b",")), (1, -1));
            assert_eq!(in_list_prefix(b"100relay", list, b","), 1);
        }
        assert_eq!(in_list_prefix(b"x", b"dk, ,no", b","), -1);
        for (separator, code) in [(&b", "[..], 1), (b",", 1), (b";,", -1), (b"", -1)] {
            assert_eq!(in_list(b"a", b"a,b", separator), code, "{separator:?}");
            assert_eq!(in_list_prefix(b"a", b"a,b", separator), code, "{separator:?}");
        }
    }
}
