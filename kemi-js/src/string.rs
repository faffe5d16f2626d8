//! Byte strings as JavaScript strings and back, without loss.
//!
//! A JavaScript string is a sequence of 16-bit units, a byte string is any bytes. Valid UTF-8 becomes the text it
//! encodes; each byte that is not part of valid UTF-8 becomes the lone surrogate U+DC00 + byte, which no text
//! contains. The way back turns those into the bytes again, so bytes survive the round trip, whatever they are.

use boa_engine::JsString;
use boa_engine::string::{JsStr, JsStrVariant};

/// The lone surrogate for the byte 0; only bytes from 0x80 on occur.
const ESCAPE: u16 = 0xDC00;

/// The bytes of a JavaScript string: borrowed from it when it is ASCII, else converted.
#[derive(Debug)]
pub(crate) struct Text {
    string: JsString,
    converted: Option<Vec<u8>>,
}

impl Text {
    pub(crate) fn new(string: JsString) -> Text {
        let converted = match string.as_str().variant() {
            JsStrVariant::Latin1(bytes) if bytes.is_ascii() => None,
            _ => Some(to_bytes(&string)),
        };
        Text { string, converted }
    }

    pub(crate) fn is_ascii(&self) -> bool {
        self.converted.is_none()
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        match (&self.converted, self.string.as_str().variant()) {
            (Some(bytes), _) => bytes,
            (None, JsStrVariant::Latin1(bytes)) => bytes,
            // `new` converts every string that is not ASCII in Latin-1 form.
            (None, JsStrVariant::Utf16(_)) => &[],
        }
    }
}

/// Converts bytes to a string.
pub(crate) fn to_js(bytes: &[u8]) -> JsString {
    if bytes.is_ascii() {
        return JsString::from(JsStr::latin1(bytes));
    }
    let mut units: Vec<u16> = Vec::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        units.extend(chunk.valid().encode_utf16());
        units.extend(chunk.invalid().iter().map(|&byte| ESCAPE + u16::from(byte)));
    }
    JsString::from(units.as_slice())
}

/// Converts a string to bytes.
///
/// A lone surrogate that does not stand for a byte, which only a script can make, becomes its three bytes in
/// generalised UTF-8.
pub(crate) fn to_bytes(string: &JsString) -> Vec<u8> {
    match string.as_str().variant() {
        JsStrVariant::Latin1(bytes) if bytes.is_ascii() => bytes.to_vec(),
        JsStrVariant::Latin1(bytes) => bytes.iter().map(|&b| char::from(b)).collect::<String>().into_bytes(),
        JsStrVariant::Utf16(units) => {
            let mut bytes = Vec::with_capacity(units.len());
            for unit in char::decode_utf16(units.iter().copied()) {
                match unit {
                    Ok(char) => bytes.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes()),
                    Err(lone) => push_lone(&mut bytes, lone.unpaired_surrogate()),
                }
            }
            bytes
        }
    }
}

/// Converts a string to text for people: what is no text is replaced.
pub(crate) fn lossy(string: &JsString) -> String {
    String::from_utf8_lossy(&to_bytes(string)).into_owned()
}

fn push_lone(bytes: &mut Vec<u8>, unit: u16) {
    match u8::try_from(unit.wrapping_sub(ESCAPE)) {
        Ok(byte) if byte >= 0x80 => bytes.push(byte),
        _ => {
            let [high, low] = unit.to_be_bytes();
            // 1110xxxx 10xxxxxx 10xxxxxx
            bytes.extend([0xE0 | high >> 4, 0x80 | (high & 0x0F) << 2 | low >> 6, 0x80 | low & 0x3F]);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn round_trip(bytes: &[u8]) -> Vec<u8> {
        Text::new(to_js(bytes)).bytes().to_vec()
    }

    #[test]
    fn every_byte_and_every_pair_of_bytes_survives() {
        for a in 0..=u8::MAX {
            assert_eq!(round_trip(&[a]), [a]);
            for b in 0..=u8::MAX {
                assert_eq!(round_trip(&[a, b]), [a, b]);
            }
        }
    }

    #[test]
    fn text_is_text() {
        assert_eq!(to_js("Müller 😀\0".as_bytes()), JsString::from("Müller 😀\0"));
        assert_eq!(to_bytes(&JsString::from("Müller 😀\0")), "Müller 😀\0".as_bytes());
        assert_eq!(to_bytes(&JsString::from(JsStr::latin1(&[b'a', 0xE9]))), "aé".as_bytes());
    }

    #[test]
    fn other_lone_surrogates_become_generalised_utf8() {
        assert_eq!(to_bytes(&JsString::from([0xD800u16].as_slice())), [0xED, 0xA0, 0x80]);
        assert_eq!(to_bytes(&JsString::from([0xDC7Fu16].as_slice())), [0xED, 0xB1, 0xBF]);
        assert_eq!(to_bytes(&JsString::from([0xDFFFu16].as_slice())), [0xED, 0xBF, 0xBF]);
    }

    #[test]
    fn a_megabyte_survives() {
        let bytes: Vec<u8> = (0..1_000_000u32).map(|i| (i * 31 % 256) as u8).collect();
        assert_eq!(round_trip(&bytes), bytes);
    }

    proptest! {
        #[test]
        fn bytes_survive(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(round_trip(&bytes), bytes);
        }

        #[test]
        fn valid_text_is_itself_both_ways(text in "\\PC*") {
            prop_assert_eq!(to_js(text.as_bytes()), JsString::from(text.as_str()));
            prop_assert_eq!(to_bytes(&JsString::from(text.as_str())), text.as_bytes());
        }
    }
}
