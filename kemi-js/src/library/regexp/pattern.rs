//! A pattern as a tree, read from a text that Boa's own matcher has accepted.
//!
//! The meaning of a single character is not understood here: the text of a class, an escape or a literal is held, and
//! [`Set`](super::set::Set) lets Boa's matcher decide. So both agree on cases, properties and old escapes.

use std::ops::Range;

/// How deep groups may nest; Boa's matcher allows less.
const MAX_DEPTH: usize = 1000;

/// The flags that a part of a pattern is read with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Flags {
    pub(crate) icase: bool,
    pub(crate) multiline: bool,
    pub(crate) dot_all: bool,
    pub(crate) unicode: bool,
    pub(crate) unicode_sets: bool,
}

impl Flags {
    /// Returns whether the text is read by code points.
    pub(crate) fn by_points(self) -> bool {
        self.unicode || self.unicode_sets
    }
}

/// A part of a pattern.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Node {
    /// One character of those that the text stands for.
    Set {
        text: Vec<u32>,
        flags: Flags,
    },
    Sequence(Vec<Node>),
    Alternatives(Vec<Node>),
    /// The content of a capture, whose number begins at 1.
    Group(usize, Box<Node>),
    /// The first capture that took part, of these numbers.
    Reference {
        groups: Vec<usize>,
        flags: Flags,
    },
    Start {
        multiline: bool,
    },
    End {
        multiline: bool,
    },
    Word {
        negated: bool,
        wide: bool,
    },
    Look {
        ahead: bool,
        negated: bool,
        node: Box<Node>,
    },
    Repeat {
        node: Box<Node>,
        least: u64,
        most: u64,
        greedy: bool,
        groups: Range<usize>,
    },
}

/// A whole pattern.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Pattern {
    pub(crate) node: Node,
    pub(crate) groups: usize,
    /// The names of captures with their numbers, in the order of the text.
    pub(crate) names: Vec<(Vec<u32>, usize)>,
    pub(crate) flags: Flags,
}

impl Pattern {
    /// Reads a pattern; `None` if it has something that is not known here.
    pub(crate) fn read(text: &[u32], flags: Flags) -> Option<Pattern> {
        let (groups, names) = captures(text, flags);
        let mut reader = Reader { text, at: 0, flags, groups, names, seen: 0, depth: 0 };
        let node = reader.alternatives()?;
        (reader.at == text.len() && reader.seen == groups).then_some(Pattern {
            node,
            groups,
            names: reader.names,
            flags,
        })
    }
}

fn is(c: Option<u32>, wanted: char) -> bool {
    c == Some(u32::from(wanted))
}

fn digit(c: Option<u32>) -> Option<u64> {
    char::from_u32(c?)?.to_digit(10).map(u64::from)
}

/// Finds the end of a class whose `[` is at `at`.
fn class_end(text: &[u32], at: usize, flags: Flags) -> Option<usize> {
    let (mut i, mut depth) = (at, 0usize);
    loop {
        let c = char::from_u32(*text.get(i)?).unwrap_or('\u{fffd}');
        match c {
            '\\' => i += 1,
            '[' if depth == 0 || flags.unicode_sets => depth += 1,
            ']' => depth -= 1,
            _ => {}
        }
        i += 1;
        if depth == 0 {
            return Some(i);
        }
    }
}

/// Reads the name behind `<`; returns it and where it ends.
fn name(text: &[u32], at: usize) -> Option<(Vec<u32>, usize)> {
    let length = text.get(at..)?.iter().position(|&c| c == u32::from('>'))?;
    let raw = text.get(at..at + length)?;
    Some((plain_name(raw), at + length + 1))
}

/// Resolves the escapes in a name, and joins the halves of characters.
fn plain_name(raw: &[u32]) -> Vec<u32> {
    let mut units: Vec<u16> = Vec::new();
    let mut i = 0;
    while let Some(&c) = raw.get(i) {
        i += 1;
        let mut c = c;
        if c == u32::from('\\') {
            i += 1;
            let braces = is(raw.get(i).copied(), '{');
            let digits = if braces { i + 1 } else { i };
            let count = raw.get(digits..).unwrap_or_default().iter().take(if braces { usize::MAX } else { 4 });
            let count = count.take_while(|&&c| char::from_u32(c).is_some_and(|c| c.is_ascii_hexdigit())).count();
            let code: String =
                raw.get(digits..digits + count).unwrap_or_default().iter().filter_map(|&c| char::from_u32(c)).collect();
            c = u32::from_str_radix(&code, 16).unwrap_or(0xFFFD);
            i = digits + count + usize::from(braces);
        }
        match (u16::try_from(c), char::from_u32(c)) {
            (Ok(unit), _) => units.push(unit),
            (_, Some(char)) => units.extend(char.encode_utf16(&mut [0; 2]).iter()),
            _ => {}
        }
    }
    char::decode_utf16(units).map(|c| c.map_or_else(|lone| lone.unpaired_surrogate().into(), u32::from)).collect()
}

/// Counts the captures and collects their names.
fn captures(text: &[u32], flags: Flags) -> (usize, Vec<(Vec<u32>, usize)>) {
    let (mut count, mut names, mut i) = (0, Vec::new(), 0);
    while let Some(&c) = text.get(i) {
        let at = |offset: usize| text.get(i + offset).copied();
        match char::from_u32(c) {
            Some('\\') => i += 1,
            Some('[') => {
                i = class_end(text, i, flags).unwrap_or(text.len());
                continue;
            }
            Some('(') if !is(at(1), '?') => count += 1,
            Some('(') if is(at(2), '<') && !is(at(3), '=') && !is(at(3), '!') => {
                count += 1;
                if let Some((name, _)) = name(text, i + 3) {
                    names.push((name, count));
                }
            }
            _ => {}
        }
        i += 1;
    }
    (count, names)
}

struct Reader<'a> {
    text: &'a [u32],
    at: usize,
    flags: Flags,
    groups: usize,
    names: Vec<(Vec<u32>, usize)>,
    /// How many captures have begun.
    seen: usize,
    depth: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u32> {
        self.text.get(self.at).copied()
    }

    fn ahead(&self, offset: usize) -> Option<u32> {
        self.text.get(self.at + offset).copied()
    }

    fn take(&mut self, text: &str) -> bool {
        let found = text.chars().enumerate().all(|(i, c)| is(self.ahead(i), c));
        if found {
            self.at += text.chars().count();
        }
        found
    }

    fn set(&mut self, start: usize) -> Option<Node> {
        let text = self.text.get(start..self.at)?.to_vec();
        Some(Node::Set { text, flags: self.flags })
    }

    fn alternatives(&mut self) -> Option<Node> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return None;
        }
        let mut all = vec![self.sequence()?];
        while self.take("|") {
            all.push(self.sequence()?);
        }
        self.depth -= 1;
        if all.len() == 1 { all.pop() } else { Some(Node::Alternatives(all)) }
    }

    fn sequence(&mut self) -> Option<Node> {
        let mut all = Vec::new();
        while let Some(c) = self.peek() {
            if is(Some(c), '|') || is(Some(c), ')') {
                break;
            }
            let seen = self.seen;
            let term = self.term(&mut all)?;
            let term = self.quantified(term, seen)?;
            all.push(term);
        }
        if all.len() == 1 { all.pop() } else { Some(Node::Sequence(all)) }
    }

    /// Reads one term; what stands before it and belongs to no quantifier goes to `before`.
    fn term(&mut self, before: &mut Vec<Node>) -> Option<Node> {
        let start = self.at;
        let c = self.peek()?;
        match char::from_u32(c) {
            Some('^') => {
                self.at += 1;
                Some(Node::Start { multiline: self.flags.multiline })
            }
            Some('$') => {
                self.at += 1;
                Some(Node::End { multiline: self.flags.multiline })
            }
            Some('(') => self.group(),
            Some('[') => {
                self.at = class_end(self.text, self.at, self.flags)?;
                if self.flags.unicode_sets && has_strings(self.text.get(start..self.at)?) {
                    return None;
                }
                self.set(start)
            }
            Some('\\') => self.escape(before),
            _ => {
                self.at += 1;
                self.set(start)
            }
        }
    }

    fn group(&mut self) -> Option<Node> {
        let flags = self.flags;
        let looks = [("(?=", true, false), ("(?!", true, true), ("(?<=", false, false), ("(?<!", false, true)];
        let node = if let Some((_, ahead, negated)) = looks.into_iter().find(|(text, ..)| self.take(text)) {
            Node::Look { ahead, negated, node: Box::new(self.alternatives()?) }
        } else if self.take("(?<") {
            self.seen += 1;
            let number = self.seen;
            self.at = name(self.text, self.at)?.1;
            Node::Group(number, Box::new(self.alternatives()?))
        } else if self.take("(?") {
            let mut on = true;
            loop {
                let c = char::from_u32(self.peek()?)?;
                self.at += 1;
                match c {
                    ':' => break,
                    '-' => on = false,
                    'i' => self.flags.icase = on,
                    'm' => self.flags.multiline = on,
                    's' => self.flags.dot_all = on,
                    _ => return None,
                }
            }
            let node = self.alternatives()?;
            self.flags = flags;
            node
        } else {
            self.at += 1;
            self.seen += 1;
            let number = self.seen;
            Node::Group(number, Box::new(self.alternatives()?))
        };
        self.take(")").then_some(node)
    }

    fn escape(&mut self, before: &mut Vec<Node>) -> Option<Node> {
        let start = self.at;
        let c = char::from_u32(self.ahead(1)?);
        let hex = |at: Option<u32>| at.and_then(char::from_u32).is_some_and(|c| c.is_ascii_hexdigit());
        self.at += 2;
        match c {
            Some('b' | 'B') => {
                let wide = self.flags.unicode && self.flags.icase;
                return Some(Node::Word { negated: c == Some('B'), wide });
            }
            Some('c') if self.peek().and_then(char::from_u32).is_some_and(|c| c.is_ascii_alphabetic()) => self.at += 1,
            Some('c') if !self.flags.unicode => {
                before.push(Node::Set { text: vec!['\\'.into(), '\\'.into()], flags: self.flags });
                return Some(Node::Set { text: vec!['c'.into()], flags: self.flags });
            }
            Some('k') if self.flags.unicode || !self.names.is_empty() => {
                if !self.take("<") {
                    return None;
                }
                let (wanted, end) = name(self.text, self.at)?;
                self.at = end;
                let groups: Vec<usize> =
                    self.names.iter().filter(|(name, _)| *name == wanted).map(|&(_, number)| number).collect();
                return (!groups.is_empty()).then_some(Node::Reference { groups, flags: self.flags });
            }
            Some('1'..='9') => {
                let mut number = digit(self.text.get(start + 1).copied())?;
                let mut end = self.at;
                while let Some(next) = digit(self.text.get(end).copied()) {
                    number = number.saturating_mul(10).saturating_add(next);
                    end += 1;
                }
                if usize::try_from(number).is_ok_and(|number| number <= self.groups) {
                    self.at = end;
                    return Some(Node::Reference { groups: vec![number as usize], flags: self.flags });
                }
                self.at = start + 1;
                self.octal();
            }
            Some('0') if !self.flags.unicode => {
                self.at = start + 1;
                self.octal();
            }
            Some('x') if hex(self.ahead(0)) && hex(self.ahead(1)) => self.at += 2,
            Some('u') => self.unicode_escape(),
            Some('p' | 'P') if self.flags.by_points() && is(self.peek(), '{') => {
                let length = self.text.get(self.at..)?.iter().position(|&c| is(Some(c), '}'))?;
                self.at += length + 1;
                if has_strings(self.text.get(start..self.at)?) {
                    return None;
                }
            }
            _ => {}
        }
        self.set(start)
    }

    /// Goes over what old scripts mean as an octal number; a digit that begins none stands for itself.
    fn octal(&mut self) {
        let octal = |c: Option<u32>| digit(c).filter(|&digit| digit < 8);
        let first = octal(self.peek());
        self.at += 1;
        let Some(first) = first else { return };
        if octal(self.peek()).is_some() {
            self.at += 1;
            if first < 4 && octal(self.peek()).is_some() {
                self.at += 1;
            }
        }
    }

    /// Goes over `{X}`, `XXXX` or `XXXX\uXXXX` behind `\u`, where it is one of them.
    fn unicode_escape(&mut self) {
        let four = |at: usize| -> Option<u32> {
            let digits = self.text.get(at..at + 4)?;
            digits.iter().try_fold(0, |code, &c| Some(code * 16 + char::from_u32(c)?.to_digit(16)?))
        };
        if is(self.peek(), '{') {
            let rest = self.text.get(self.at + 1..).unwrap_or_default();
            let length = rest.iter().position(|&c| is(Some(c), '}'));
            let code = length.and_then(|length| {
                let text: String = rest.get(..length)?.iter().filter_map(|&c| char::from_u32(c)).collect();
                u32::from_str_radix(&text, 16).ok().filter(|&code| code <= 0x10_FFFF)
            });
            if let (Some(length), Some(_)) = (length, code) {
                self.at += length + 2;
            }
            return;
        }
        let Some(first) = four(self.at) else { return };
        let second = if is(self.ahead(4), '\\') && is(self.ahead(5), 'u') { four(self.at + 6) } else { None };
        self.at += 4;
        if (0xD800..0xDC00).contains(&first) && second.is_some_and(|second| (0xDC00..0xE000).contains(&second)) {
            self.at += 6;
        }
    }

    fn quantified(&mut self, node: Node, seen: usize) -> Option<Node> {
        let (least, most) = match self.peek().and_then(char::from_u32) {
            Some('*') => (0, u64::MAX),
            Some('+') => (1, u64::MAX),
            Some('?') => (0, 1),
            Some('{') => match self.braces() {
                Some((least, most, end)) => {
                    self.at = end - 1;
                    (least, most)
                }
                None => return Some(node),
            },
            _ => return Some(node),
        };
        self.at += 1;
        let greedy = !self.take("?");
        Some(Node::Repeat { node: Box::new(node), least, most, greedy, groups: seen + 1..self.seen + 1 })
    }

    fn braces(&self) -> Option<(u64, u64, usize)> {
        let number = |mut at: usize| {
            let (start, mut value) = (at, 0u64);
            while let Some(next) = digit(self.text.get(at).copied()) {
                value = value.saturating_mul(10).saturating_add(next);
                at += 1;
            }
            (at > start).then_some((value, at))
        };
        let (least, mut at) = number(self.at + 1)?;
        let mut most = least;
        if is(self.text.get(at).copied(), ',') {
            at += 1;
            (most, at) = number(at).unwrap_or((u64::MAX, at));
        }
        is(self.text.get(at).copied(), '}').then_some((least, most, at + 1))
    }
}

/// Returns whether a class may stand for more than one character.
fn has_strings(text: &[u32]) -> bool {
    let text: String = text.iter().map(|&c| char::from_u32(c).unwrap_or('\u{fffd}')).collect();
    ["\\q", "Basic_Emoji", "Emoji_Keycap_Sequence", "RGI_"].iter().any(|strings| text.contains(strings))
}
