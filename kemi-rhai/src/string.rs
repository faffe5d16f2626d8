//! Bytes as Rhai strings: text stays as it is, every other byte becomes a private-use character.
//!
//! A byte that is not part of valid UTF-8 is written as the character U+10FF00 plus the byte, which lies between
//! U+10FF80 and U+10FFFF, since such a byte is never below 0x80. Valid text that already holds one of those characters
//! is taken apart the same way, byte by byte. So reading the characters back gives every byte string again.

use std::borrow::Cow;

/// The character that stands for byte 0; the bytes that need a character lie in its upper half.
const BASE: u32 = 0x10_FF00;

/// The first byte of every character from U+100000 on, so of every escaped byte.
const LEAD: u8 = 0xF4;

/// Writes bytes as a string that [`decode`] reads back unchanged.
pub(crate) fn encode(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) if !may_hold_escapes(text) => Cow::Borrowed(text),
        _ => Cow::Owned(encode_slowly(bytes)),
    }
}

/// Reads a script's file as a string: without a byte order mark and without what a first line of `#!` says.
///
/// The line itself stays, so that all others keep their numbers.
pub(crate) fn script(bytes: &[u8]) -> Cow<'_, str> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    if !bytes.starts_with(b"#!") {
        return encode(bytes);
    }
    let end = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r')).unwrap_or(bytes.len());
    encode(bytes.get(end..).unwrap_or_default())
}

/// Reads the bytes of a string.
pub(crate) fn decode(text: &str) -> Cow<'_, [u8]> {
    if !may_hold_escapes(text) {
        return Cow::Borrowed(text.as_bytes());
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut buffer = [0; 4];
    for c in text.chars() {
        match escaped(c) {
            Some(byte) => bytes.push(byte),
            None => bytes.extend_from_slice(c.encode_utf8(&mut buffer).as_bytes()),
        }
    }
    Cow::Owned(bytes)
}

/// Returns a string of the script for people to read.
pub(crate) fn readable(text: &str) -> String {
    String::from_utf8_lossy(&decode(text)).into_owned()
}

/// Returns whether a string may differ from its bytes; when not, they can be lent as they are.
#[inline]
pub(crate) fn may_hold_escapes(text: &str) -> bool {
    text.as_bytes().contains(&LEAD)
}

fn encode_slowly(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() + 16);
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match escaped(c) {
                Some(_) => c.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| text.push(escape(byte))),
                None => text.push(c),
            }
        }
        chunk.invalid().iter().for_each(|&byte| text.push(escape(byte)));
    }
    text
}

fn escape(byte: u8) -> char {
    char::from_u32(BASE + u32::from(byte)).unwrap_or(char::REPLACEMENT_CHARACTER)
}

fn escaped(c: char) -> Option<u8> {
    u32::from(c).checked_sub(BASE).and_then(|byte| u8::try_from(byte).ok()).filter(|byte| *byte >= 0x80)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn text_stays_and_other_bytes_become_one_character_each() {
        assert!(matches!(encode("grüß \u{1F600}\0".as_bytes()), Cow::Borrowed("grüß \u{1F600}\0")));
        assert_eq!(encode(b"a\xff\x80z"), "a\u{10FFFF}\u{10FF80}z");
        assert_eq!(encode(b"cut \xe2\x82"), "cut \u{10FFE2}\u{10FF82}");
    }

    #[test]
    fn a_byte_order_mark_and_a_first_line_for_the_shell_are_no_part_of_a_script() {
        for (file, text) in [
            ("\u{feff}let a = 1;", "let a = 1;"),
            ("#!/usr/bin/rhai-run -x\nlet a = 1;", "\nlet a = 1;"),
            ("\u{feff}#!rhai\r\nlet a = 1;", "\r\nlet a = 1;"),
            ("#!rhai", ""),
            ("\n#!rhai", "\n#!rhai"),
            ("#", "#"),
            ("", ""),
        ] {
            assert_eq!(script(file.as_bytes()), text, "{file:?}");
        }
    }

    #[test]
    fn text_of_escape_characters_is_escaped_itself() {
        let text = "\u{10FF80}\u{10FFFF}\u{10FF7F}";
        assert_eq!(encode(text.as_bytes()).chars().count(), 9);
        assert_eq!(decode(&encode(text.as_bytes())), text.as_bytes());
    }

    proptest! {
        #[test]
        fn every_byte_string_comes_back(bytes: Vec<u8>) {
            let text = encode(&bytes);
            prop_assert_eq!(&*decode(&text), &*bytes);
        }

        #[test]
        fn so_does_every_mixture_of_text_escapes_and_cut_characters(
            parts in proptest::collection::vec(
                prop_oneof![
                    "\\PC{0,3}".prop_map(String::into_bytes),
                    (0x10_FF00u32..=0x10_FFFF).prop_map(|c| char::from_u32(c).unwrap().to_string().into_bytes()),
                    (0x10_FF00u32..=0x10_FFFF, 0usize..4)
                        .prop_map(|(c, n)| char::from_u32(c).unwrap().to_string().into_bytes()[..n].to_vec()),
                    any::<u8>().prop_map(|byte| vec![byte]),
                ],
                0..12,
            )
        ) {
            let bytes = parts.concat();
            let text = encode(&bytes);
            prop_assert_eq!(&*decode(&text), &*bytes);
        }
    }
}
