//! The attribute-value pairs `$avp(name)`.

use kemi_core::Value;

use super::name::Index;

/// How many values one message may carry.
const MAX_AVPS: usize = 1024;

/// The values that `$avp(name)` has been given: several a name, the newest first.
///
/// They belong to the message and follow it wherever its state is copied to.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Avps {
    /// The newest last.
    list: Vec<(Box<[u8]>, Value)>,
}

impl Avps {
    /// Returns the value at a position, the newest at 0; negative positions count from the oldest.
    pub(crate) fn get(&self, name: &[u8], position: i64) -> Option<&Value> {
        let nth = usize::try_from(position.unsigned_abs()).ok()?;
        match position {
            0.. => self.values(name).nth(nth),
            _ => self.values(name).nth_back(nth - 1),
        }
    }

    /// Returns the values of a name, the newest first.
    pub(crate) fn values(&self, name: &[u8]) -> impl DoubleEndedIterator<Item = &Value> {
        self.list.iter().rev().filter(move |(other, _)| **other == *name).map(|(_, value)| value)
    }

    /// Returns the newest value of a name if it is a text.
    pub(crate) fn text(&self, name: &[u8]) -> Option<&[u8]> {
        match self.values(name).next()? {
            Value::Str(text) => Some(text.as_bytes()),
            _ => None,
        }
    }

    /// Puts a value on top of those of its name; `false` when the message carries too many already.
    #[must_use]
    pub(crate) fn push(&mut self, name: &[u8], value: Value) -> bool {
        let fits = self.list.len() < MAX_AVPS;
        if fits {
            self.list.push((name.into(), value));
        }
        fits
    }

    /// How many bytes they hold on the heap, lists and dictionaries left out.
    pub(crate) fn memory(&self) -> usize {
        let text = |value: &Value| if let Value::Str(text) = value { text.as_bytes().len() } else { 0 };
        let texts: usize = self.list.iter().map(|(name, value)| name.len() + text(value)).sum();
        self.list.capacity() * size_of::<(Box<[u8]>, Value)>() + texts
    }

    /// Removes the newest value of a name, or all.
    pub(super) fn remove(&mut self, name: &[u8], index: Index) {
        match index {
            Index::All => self.list.retain(|(other, _)| **other != *name),
            Index::At(_) => {
                if let Some(newest) = self.list.iter().rposition(|(other, _)| **other == *name) {
                    self.list.remove(newest);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_value_comes_first() {
        let mut avps = Avps::default();
        for i in 1..=3 {
            assert!(avps.push(b"x", Value::Int(i)) && avps.push(b"y", Value::Int(-i)));
        }
        let at = |avps: &Avps, i| avps.get(b"x", i).cloned();
        for (position, expected) in [(0, 3), (1, 2), (2, 1), (-1, 1), (-3, 3)] {
            assert_eq!(at(&avps, position), Some(Value::Int(expected)), "{position}");
        }
        for position in [3, -4, i64::MIN, i64::MAX] {
            assert_eq!(at(&avps, position), None, "{position}");
        }
        avps.remove(b"x", Index::At(0));
        assert_eq!(at(&avps, 0), Some(Value::Int(2)));
        avps.remove(b"x", Index::All);
        assert_eq!(at(&avps, 0), None);
        assert_eq!(avps.values(b"y").count(), 3);
    }

    #[test]
    fn a_message_carries_a_bounded_number() {
        let mut avps = Avps::default();
        for _ in 0..MAX_AVPS {
            assert!(avps.push(b"x", Value::Nil));
        }
        assert!(!avps.push(b"x", Value::Nil));
    }
}
