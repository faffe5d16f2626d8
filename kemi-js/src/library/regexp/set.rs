//! The set of characters that a part of a pattern stands for, by Boa's own matcher.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use super::pattern::Flags;

/// The characters that a part of a pattern matches.
pub(crate) struct Set {
    regex: regress::Regex,
    by_points: bool,
    /// The cached answers for the first characters.
    low: [Cell<Option<bool>>; 256],
    high: RefCell<HashMap<u32, bool>>,
}

impl Set {
    /// Makes the set of a class, an escape or a literal; `None` if the matcher refuses it by itself.
    pub(crate) fn new(text: &[u32], flags: Flags) -> Option<Set> {
        let around = |text: &'static str| text.chars().map(u32::from);
        let pattern = around("^(?:").chain(text.iter().copied()).chain(around(")$"));
        let flags_of = regress::Flags {
            icase: flags.icase,
            multiline: false,
            dot_all: flags.dot_all,
            no_opt: false,
            unicode: flags.unicode,
            unicode_sets: flags.unicode_sets,
        };
        // The iterator is to be cloned.
        let pattern: Vec<u32> = pattern.collect();
        let regex = regress::Regex::from_unicode(pattern.iter().copied(), flags_of).ok()?;
        Some(Set {
            regex,
            by_points: flags.by_points(),
            low: [const { Cell::new(None) }; 256],
            high: RefCell::default(),
        })
    }

    /// Returns whether a character is in the set.
    pub(crate) fn has(&self, c: u32) -> bool {
        if let Some(slot) = self.low.get(c as usize) {
            if let Some(known) = slot.get() {
                return known;
            }
            let has = self.ask(c);
            slot.set(Some(has));
            return has;
        }
        if let Some(&known) = self.high.borrow().get(&c) {
            return known;
        }
        let has = self.ask(c);
        self.high.borrow_mut().insert(c, has);
        has
    }

    fn ask(&self, c: u32) -> bool {
        let mut units = [0; 2];
        let units: &[u16] = match (u16::try_from(c), char::from_u32(c)) {
            (Ok(unit), _) => {
                units[0] = unit;
                &units[..1]
            }
            (_, Some(char)) => char.encode_utf16(&mut units),
            _ => return false,
        };
        let found = match self.by_points {
            true => self.regex.find_from_utf16(units, 0).next(),
            false => self.regex.find_from_ucs2(units, 0).next(),
        };
        found.is_some()
    }
}
