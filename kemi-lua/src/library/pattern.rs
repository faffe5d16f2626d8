//! Lua's pattern matching, which checks the budget: a pattern such as `.-.-.-b` can take longer than anybody waits.
//!
//! It follows `lstrlib.c` of Lua 5.4 and `lib_string.c` of LuaJIT 2.1 (both MIT licence; Lua.org, PUC-Rio, and Mike Pall)
//! step by step, so that results, errors and even what is too complex are the same.

use std::ffi::CStr;

/// The most captures of a pattern.
const MAX_CAPTURES: usize = 32;

/// The depth to which matching may call itself.
const MAX_DEPTH: u32 = 200;

/// The number of steps between two checks of the budget.
const STRIDE: u32 = 4096;

/// Whether the rules are those of LuaJIT, which has Lua 5.1's.
const LUAJIT: bool = cfg!(luajit);

const ESCAPE: u8 = b'%';

/// The reason why a match cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The budget is used up.
    Budget,
    /// A fault of the pattern: what Lua says about it.
    Fault(&'static CStr),
    /// A capture that there is not, by its number from 1.
    NoCapture(usize),
}

/// The content of a capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Capture {
    /// It has begun and not ended.
    Unfinished(usize),
    /// The position it stands for, from 0.
    Position(usize),
    /// Where its text begins and how long that is.
    Text(usize, usize),
}

impl Capture {
    fn start(self) -> usize {
        match self {
            Capture::Unfinished(start) | Capture::Position(start) | Capture::Text(start, _) => start,
        }
    }
}

/// A subject and a pattern, and the captures of the last match.
#[derive(Debug)]
pub(crate) struct Matcher<'a, B> {
    subject: &'a [u8],
    pattern: &'a [u8],
    level: usize,
    captures: [Capture; MAX_CAPTURES],
    depth: u32,
    steps: u32,
    /// Tells whether the budget is used up; called once in [`STRIDE`] steps.
    over: B,
}

impl<'a, B: FnMut() -> bool> Matcher<'a, B> {
    /// Takes a pattern without the `^` that anchors it.
    pub(crate) fn new(subject: &'a [u8], pattern: &'a [u8], over: B) -> Self {
        let pattern = match pattern.iter().position(|&byte| byte == 0) {
            // A pattern of LuaJIT's ends there.
            Some(end) if LUAJIT => pattern.get(..end).unwrap_or_default(),
            _ => pattern,
        };
        Matcher {
            subject,
            pattern,
            level: 0,
            captures: [Capture::Unfinished(0); MAX_CAPTURES],
            depth: 0,
            steps: 0,
            over,
        }
    }

    /// Matches at one position of the subject; gives where the match ends.
    ///
    /// # Errors
    /// The pattern is wrong, or the budget is used up.
    pub(crate) fn at(&mut self, start: usize) -> Result<Option<usize>, Stop> {
        self.level = 0;
        self.depth = 0;
        self.step(1)?;
        self.go(start, 0)
    }

    /// Returns how many values a match gives: its captures, or the whole of it if `or_whole` is set and there are none.
    pub(crate) fn count(&self, or_whole: bool) -> usize {
        if self.level == 0 && or_whole { 1 } else { self.level }
    }

    /// Returns a capture of the last match by its number from 0; the first one of none is the whole match.
    ///
    /// # Errors
    /// There is no such capture, or it has not ended.
    pub(crate) fn capture(&self, index: usize, start: usize, end: usize) -> Result<Capture, Stop> {
        match self.captures.get(..self.level).and_then(|captures| captures.get(index)) {
            Some(Capture::Unfinished(_)) => Err(Stop::Fault(c"unfinished capture")),
            Some(&capture) => Ok(capture),
            None if index == 0 => Ok(Capture::Text(start, end.saturating_sub(start))),
            None if LUAJIT => Err(Stop::Fault(c"invalid capture index")),
            None => Err(Stop::NoCapture(index + 1)),
        }
    }

    /// Takes steps off the budget.
    ///
    /// # Errors
    /// It is used up.
    #[inline]
    fn step(&mut self, steps: usize) -> Result<(), Stop> {
        self.steps = self.steps.saturating_add(u32::try_from(steps).unwrap_or(u32::MAX));
        if self.steps >= STRIDE {
            self.steps = 0;
            if (self.over)() {
                return Err(Stop::Budget);
            }
        }
        Ok(())
    }

    /// The byte of the pattern; 0 at its end, as a C string has it.
    #[inline]
    fn pat(&self, at: usize) -> u8 {
        self.pattern.get(at).copied().unwrap_or(0)
    }

    #[inline]
    fn sub(&self, at: usize) -> u8 {
        self.subject.get(at).copied().unwrap_or(0)
    }

    /// Matches the rest of the pattern at a position.
    fn go(&mut self, mut s: usize, mut p: usize) -> Result<Option<usize>, Stop> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Stop::Fault(c"pattern too complex"));
        }
        let found = loop {
            self.step(1)?;
            if p >= self.pattern.len() {
                break Some(s);
            }
            match self.pat(p) {
                b'(' if self.pat(p + 1) == b')' => break self.begin_capture(s, p + 2, Capture::Position(s))?,
                b'(' => break self.begin_capture(s, p + 1, Capture::Unfinished(s))?,
                b')' => break self.end_capture(s, p + 1)?,
                b'$' if p + 1 == self.pattern.len() => break (s == self.subject.len()).then_some(s),
                ESCAPE => match self.pat(p + 1) {
                    b'b' => match self.balance(s, p + 2)? {
                        Some(end) => (s, p) = (end, p + 4),
                        None => break None,
                    },
                    b'f' => {
                        p += 2;
                        if self.pat(p) != b'[' {
                            return Err(Stop::Fault(c"missing '[' after '%f' in pattern"));
                        }
                        let end = self.class_end(p)?;
                        let before = s.checked_sub(1).map_or(0, |before| self.sub(before));
                        if self.in_set(before, p, end - 1)? || !self.in_set(self.sub(s), p, end - 1)? {
                            break None;
                        }
                        p = end;
                    }
                    digit if digit.is_ascii_digit() => match self.again(s, digit)? {
                        Some(end) => (s, p) = (end, p + 2),
                        None => break None,
                    },
                    _ => match self.item(s, p)? {
                        Next::Goto(next) => (s, p) = next,
                        Next::Done(found) => break found,
                    },
                },
                _ => match self.item(s, p)? {
                    Next::Goto(next) => (s, p) = next,
                    Next::Done(found) => break found,
                },
            }
        };
        self.depth -= 1;
        Ok(found)
    }

    /// Matches one class with the suffix it may have.
    #[inline]
    fn item(&mut self, s: usize, p: usize) -> Result<Next, Stop> {
        let end = self.class_end(p)?;
        let matches = self.single(s, p, end)?;
        let suffix = self.pat(end);
        if !matches && !LUAJIT {
            return Ok(match suffix {
                b'*' | b'?' | b'-' => Next::Goto((s, end + 1)),
                _ => Next::Done(None),
            });
        }
        Ok(match suffix {
            b'?' => match if matches { self.go(s + 1, end + 1)? } else { None } {
                Some(found) => Next::Done(Some(found)),
                None => Next::Goto((s, end + 1)),
            },
            b'+' if matches => Next::Done(self.most(s + 1, p, end)?),
            b'+' => Next::Done(None),
            b'*' => Next::Done(self.most(s, p, end)?),
            b'-' => Next::Done(self.least(s, p, end)?),
            _ if matches => Next::Goto((s + 1, end)),
            _ => Next::Done(None),
        })
    }

    fn begin_capture(&mut self, s: usize, p: usize, capture: Capture) -> Result<Option<usize>, Stop> {
        let Some(slot) = self.captures.get_mut(self.level) else {
            return Err(Stop::Fault(c"too many captures"));
        };
        *slot = capture;
        self.level += 1;
        let found = self.go(s, p)?;
        if found.is_none() {
            self.level -= 1;
        }
        Ok(found)
    }

    fn end_capture(&mut self, s: usize, p: usize) -> Result<Option<usize>, Stop> {
        let open = self.captures.get(..self.level).unwrap_or_default();
        let open = open.iter().rposition(|capture| matches!(capture, Capture::Unfinished(_)));
        let Some(slot) = open.and_then(|index| self.captures.get_mut(index)) else {
            return Err(Stop::Fault(c"invalid pattern capture"));
        };
        let start = slot.start();
        *slot = Capture::Text(start, s.saturating_sub(start));
        let found = self.go(s, p)?;
        if found.is_none()
            && let Some(slot) = open.and_then(|index| self.captures.get_mut(index))
        {
            *slot = Capture::Unfinished(start);
        }
        Ok(found)
    }

    /// Matches the text of a capture again.
    fn again(&mut self, s: usize, digit: u8) -> Result<Option<usize>, Stop> {
        let number = usize::from(digit - b'0');
        let capture = number.checked_sub(1).and_then(|index| self.captures.get(..self.level)?.get(index)).copied();
        let (start, length) = match capture {
            Some(Capture::Text(start, length)) => (start, length),
            // Its length is that of nothing, which nothing is as long as.
            Some(Capture::Position(_)) => return Ok(None),
            _ if LUAJIT => return Err(Stop::Fault(c"invalid capture index")),
            _ => return Err(Stop::NoCapture(number)),
        };
        self.step(length / 16)?;
        let wanted = self.subject.get(start..start + length);
        Ok((wanted.is_some() && self.subject.get(s..s + length) == wanted).then_some(s + length))
    }

    /// Matches as often as possible, then less and less often.
    fn most(&mut self, s: usize, p: usize, end: usize) -> Result<Option<usize>, Stop> {
        let mut times = 0;
        while self.single(s + times, p, end)? {
            times += 1;
            self.step(1)?;
        }
        loop {
            if let Some(found) = self.go(s + times, end + 1)? {
                return Ok(Some(found));
            }
            match times.checked_sub(1) {
                Some(fewer) => times = fewer,
                None => return Ok(None),
            }
        }
    }

    /// Matches as seldom as possible, then more and more often.
    fn least(&mut self, mut s: usize, p: usize, end: usize) -> Result<Option<usize>, Stop> {
        loop {
            if let Some(found) = self.go(s, end + 1)? {
                return Ok(Some(found));
            }
            if !self.single(s, p, end)? {
                return Ok(None);
            }
            s += 1;
        }
    }

    fn balance(&mut self, s: usize, p: usize) -> Result<Option<usize>, Stop> {
        let (open, close) = (self.pat(p), self.pat(p + 1));
        if LUAJIT {
            if open == 0 || close == 0 {
                return Err(Stop::Fault(c"unbalanced pattern"));
            }
        } else if p + 1 >= self.pattern.len() {
            return Err(Stop::Fault(c"malformed pattern (missing arguments to '%b')"));
        }
        if self.sub(s) != open {
            return Ok(None);
        }
        let mut level = 1;
        let mut at = s + 1;
        while let Some(&byte) = self.subject.get(at) {
            self.step(1)?;
            if byte == close {
                level -= 1;
                if level == 0 {
                    return Ok(Some(at + 1));
                }
            } else if byte == open {
                level += 1;
            }
            at += 1;
        }
        Ok(None)
    }

    /// Returns where the class that begins at a position of the pattern ends.
    #[inline]
    fn class_end(&mut self, p: usize) -> Result<usize, Stop> {
        let end = self.pattern.len();
        match self.pat(p) {
            ESCAPE if p + 1 >= end => Err(Stop::Fault(c"malformed pattern (ends with '%')")),
            ESCAPE => Ok(p + 2),
            b'[' => {
                let mut at = p + 1;
                if self.pat(at) == b'^' {
                    at += 1;
                }
                loop {
                    if at >= end {
                        return Err(Stop::Fault(c"malformed pattern (missing ']')"));
                    }
                    at += 1;
                    if self.pat(at - 1) == ESCAPE && at < end {
                        at += 1;
                    }
                    if self.pat(at) == b']' {
                        break;
                    }
                }
                self.step((at - p) / 16)?;
                Ok(at + 1)
            }
            _ => Ok(p + 1),
        }
    }

    /// Tells whether the byte of the subject is one of the class from `p` to `end`.
    #[inline]
    fn single(&mut self, s: usize, p: usize, end: usize) -> Result<bool, Stop> {
        let Some(&byte) = self.subject.get(s) else { return Ok(false) };
        Ok(match self.pat(p) {
            b'.' => true,
            ESCAPE => in_class(byte, self.pat(p + 1)),
            b'[' => return self.in_set(byte, p, end - 1),
            own => own == byte,
        })
    }

    /// Tells whether a byte is one of the set from its `[` to its `]`.
    fn in_set(&mut self, byte: u8, mut p: usize, end: usize) -> Result<bool, Stop> {
        let mut inside = true;
        if self.pat(p + 1) == b'^' {
            inside = false;
            p += 1;
        }
        self.step((end - p) / 16)?;
        loop {
            p += 1;
            if p >= end {
                return Ok(!inside);
            }
            if self.pat(p) == ESCAPE {
                p += 1;
                if in_class(byte, self.pat(p)) {
                    return Ok(inside);
                }
            } else if self.pat(p + 1) == b'-' && p + 2 < end {
                p += 2;
                if (self.pat(p - 2)..=self.pat(p)).contains(&byte) {
                    return Ok(inside);
                }
            } else if self.pat(p) == byte {
                return Ok(inside);
            }
        }
    }
}

/// The step after a class.
enum Next {
    /// More of the pattern: a position in the subject and one in the pattern.
    Goto((usize, usize)),
    /// The match, or that there is none.
    Done(Option<usize>),
}

#[inline]
fn in_class(byte: u8, class: u8) -> bool {
    let is = match class.to_ascii_lowercase() {
        b'a' => byte.is_ascii_alphabetic(),
        b'c' => byte.is_ascii_control(),
        b'd' => byte.is_ascii_digit(),
        b'g' => byte.is_ascii_graphic(),
        b'l' => byte.is_ascii_lowercase(),
        b'p' => byte.is_ascii_punctuation(),
        b's' => matches!(byte, b' ' | b'\t'..=b'\r'),
        b'u' => byte.is_ascii_uppercase(),
        b'w' => byte.is_ascii_alphanumeric(),
        b'x' => byte.is_ascii_hexdigit(),
        b'z' => byte == 0,
        _ => return class == byte,
    };
    is == class.is_ascii_lowercase()
}

/// Tells whether a pattern is plain text.
pub(crate) fn is_plain(pattern: &[u8]) -> bool {
    !pattern.iter().any(|byte| b"^$*+?.([%-".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(subject: &str, pattern: &str) -> Option<(usize, usize)> {
        let mut matcher = Matcher::new(subject.as_bytes(), pattern.as_bytes(), || false);
        (0..=subject.len()).find_map(|start| matcher.at(start).expect("a sound pattern").map(|end| (start, end)))
    }

    #[test]
    fn patterns_match_as_the_manual_says() {
        assert_eq!(find("hello world", "o w"), Some((4, 7)));
        assert_eq!(find("key = value", "%w+%s*="), Some((0, 5)));
        assert_eq!(find("f(a(b)c)d", "%b()"), Some((1, 8)));
        assert_eq!(find("THE (quick) fox", "%f[%a]%a+%f[%A]"), Some((0, 3)));
        assert_eq!(find("aXXb", "(X)%1"), Some((1, 3)));
        assert_eq!(find("a]b", "[]]"), Some((1, 2)));
        assert_eq!(find("a^b", "[%^]"), Some((1, 2)));
        assert_eq!(find("abc", "[^a-b]"), Some((2, 3)));
        assert_eq!(find("abc", "x"), None);
    }

    #[test]
    fn a_match_ends_when_the_budget_does() {
        let subject = "a".repeat(1 << 16);
        let mut looks = 0;
        let mut matcher = Matcher::new(subject.as_bytes(), b".-.-.-.-b", || {
            looks += 1;
            looks > 10
        });
        assert_eq!(matcher.at(0), Err(Stop::Budget));
        assert_eq!(looks, 11);
    }

    #[test]
    fn one_long_class_counts_by_its_length() {
        let pattern = format!("[{}]*x", "a".repeat(1 << 16));
        let subject = "b".repeat(100);
        let mut looks = 0;
        let mut matcher = Matcher::new(subject.as_bytes(), pattern.as_bytes(), || {
            looks += 1;
            false
        });
        assert_eq!(matcher.at(0), Ok(None));
        assert!(looks > 0);
    }
}
