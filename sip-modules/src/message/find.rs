//! Where a byte is in a text of a few dozen bytes, as nearly all texts of a message are.

use memchr::{memchr, memchr2};

/// How many bytes are searched here, a word at a time. Only in longer texts vector instructions make up for the call that they
/// take.
const NEAR: usize = 64;

const LOW_BITS: u64 = u64::from_ne_bytes([0x01; 8]);
const HIGH_BITS: u64 = u64::from_ne_bytes([0x80; 8]);

/// The first place of a byte, as [`memchr`] finds it.
#[inline]
pub(super) fn find(wanted: u8, text: &[u8]) -> Option<usize> {
    let pattern = pattern(wanted);
    near(text, |word| marks(word, pattern), |byte| byte == wanted).or_else(|| {
        let rest = text.get(NEAR..)?;
        memchr(wanted, rest).map(|at| NEAR + at)
    })
}

/// The first place of one of two bytes, as [`memchr2`] finds it.
#[inline]
pub(super) fn find_either(one: u8, other: u8, text: &[u8]) -> Option<usize> {
    let patterns = (pattern(one), pattern(other));
    let either = |word| marks(word, patterns.0) | marks(word, patterns.1);
    near(text, either, |byte| byte == one || byte == other).or_else(|| {
        let rest = text.get(NEAR..)?;
        memchr2(one, other, rest).map(|at| NEAR + at)
    })
}

/// The first place among the first [`NEAR`] bytes that `is_wanted`; `marks` finds it in eight bytes at once.
#[inline]
fn near(text: &[u8], marks: impl Fn(u64) -> u64, is_wanted: impl Fn(u8) -> bool) -> Option<usize> {
    let text = text.get(..NEAR).unwrap_or(text);
    let Some(last) = text.last_chunk() else { return text.iter().position(|byte| is_wanted(*byte)) };
    let place = |start: usize, marks: u64| start + marks.trailing_zeros() as usize / 8;
    let (words, rest) = text.as_chunks();
    for (index, word) in words.iter().enumerate() {
        let marks = marks(u64::from_le_bytes(*word));
        if marks != 0 {
            return Some(place(8 * index, marks));
        }
    }
    if rest.is_empty() {
        return None;
    }
    // It begins before the rest, with bytes that are none of those wanted.
    let marks = marks(u64::from_le_bytes(*last));
    (marks != 0).then(|| place(text.len() - 8, marks))
}

/// Eight times that byte.
#[inline]
fn pattern(byte: u8) -> u64 {
    LOW_BITS * u64::from(byte)
}

/// The high bit of each byte that equals the pattern's. Above the first such byte others may be marked, too.
#[inline]
fn marks(word: u64, pattern: u64) -> u64 {
    let differing = word ^ pattern;
    differing.wrapping_sub(LOW_BITS) & !differing & HIGH_BITS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_place_is_found_whatever_stands_around_it() {
        for length in 0..200 {
            for place in 0..length {
                // Bytes that differ from the wanted ones in one bit, before them and behind.
                for around in [b':' ^ 2, b';' ^ 0x80, b':' | 0x80, 0, 0xff] {
                    let mut text = vec![around; length];
                    assert_eq!((find(b':', &text), find_either(b':', b';', &text)), (None, None));
                    text[place] = b':';
                    text[length - 1] = b':';
                    assert_eq!(find(b':', &text), Some(place), "{length}");
                    assert_eq!(find_either(b';', b':', &text), Some(place), "{length}");
                    text[place] = b';';
                    assert_eq!(find_either(b';', b':', &text), Some(place), "{length}");
                }
            }
        }
    }

    #[test]
    fn it_agrees_with_a_search_byte_by_byte() {
        let mut state = 1u32;
        for length in 0..150 {
            for _ in 0..50 {
                let text: Vec<u8> = (0..length)
                    .map(|_| {
                        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                        (state >> 27) as u8
                    })
                    .collect();
                assert_eq!(find(7, &text), text.iter().position(|byte| *byte == 7));
                assert_eq!(find_either(7, 31, &text), text.iter().position(|byte| matches!(byte, 7 | 31)));
            }
        }
    }
}
