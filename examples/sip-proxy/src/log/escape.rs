//! Makes a text harmless for who reads the log: people with a terminal, and programs that read it line by line.

use std::borrow::Cow;
use std::fmt::Write;

use super::queue::Form;

/// Escapes what is no text: control characters but the tab, and what turns the direction of writing. What the network or a
/// script has sent can then neither begin a line of its own nor move the cursor.
pub(super) fn escape(text: &[u8], form: Form) -> Cow<'_, [u8]> {
    if !text.iter().any(|&byte| may_begin_harm(byte)) && std::str::from_utf8(text).is_ok() {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 64);
    for character in String::from_utf8_lossy(text).chars() {
        match character {
            '\n' if form == Form::Text => out.push('\n'),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            // The parts of the line have none any more; what is left are the colours.
            '\x1b' if form == Form::Coloured => out.push('\x1b'),
            // Writing to a String does not fail.
            harmful if is_harmful(harmful) && harmful.is_ascii() => drop(write!(out, "\\x{:02x}", u32::from(harmful))),
            harmful if is_harmful(harmful) => drop(write!(out, "\\u{{{:x}}}", u32::from(harmful))),
            harmless => out.push(harmless),
        }
    }
    Cow::Owned(out.into_bytes())
}

/// Whether a byte is a control character, or the first one of a character that may be harmful.
fn may_begin_harm(byte: u8) -> bool {
    matches!(byte, 0..=8 | 10..=31 | 0x7f | 0xc2 | 0xe2)
}

fn is_harmful(character: char) -> bool {
    (character.is_control() && character != '\t')
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_as_it_is() {
        for text in ["", "plain", "tab\tand back\\slash", "Zoë “quotes” – Ω 🦀 مرحبا"] {
            assert_eq!(escape(text.as_bytes(), Form::Line), text.as_bytes());
        }
    }

    #[test]
    fn no_control_character_is_left() {
        let all: String = ('\0'..'\u{3000}').collect();
        let escaped = escape(all.as_bytes(), Form::Line).into_owned();
        let escaped = String::from_utf8(escaped).expect("it is text");
        assert!(!escaped.chars().any(is_harmful));
        assert_eq!(escape(b"a\xffb", Form::Line), "a\u{fffd}b".as_bytes());
    }

    #[test]
    fn colours_are_kept_where_there_are_some() {
        assert_eq!(escape(b"\x1b[2mx\x1b[0m\ny", Form::Coloured), &b"\x1b[2mx\x1b[0m\\ny"[..]);
        assert_eq!(escape(b"\x1b[2m", Form::Text), &b"\\x1b[2m"[..]);
    }
}
