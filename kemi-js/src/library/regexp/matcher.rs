//! A backtracking matcher that can be stopped: it asks after some thousand steps whether to go on.
//!
//! It goes the same way as Boa's own matcher, in the order that the language prescribes, and so finds the same.

use std::ops::Range;

use super::pattern::{Node, Pattern};
use super::set::Set;

/// How many steps are taken between two questions.
const STEPS: u32 = 1 << 12;

/// How many backtracking points there may be, 24 bytes each.
const MOST: usize = 1 << 26;

/// The reason why a search was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stopped {
    /// Whoever was asked said so.
    Asked,
    /// There are too many places to come back to.
    Memory,
}

/// The result of a search: the whole match first, then the captures.
pub(crate) type Found = Vec<Option<Range<usize>>>;

enum Op {
    Literal {
        c: u32,
        back: bool,
    },
    Set {
        set: usize,
        back: bool,
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
    Reference {
        groups: Vec<usize>,
        same: Option<usize>,
        back: bool,
    },
    Split {
        second: usize,
    },
    Jump(usize),
    Open(usize),
    Close {
        group: usize,
        back: bool,
    },
    /// Begins a loop anew.
    Begin(usize),
    Loop {
        id: usize,
        least: u64,
        most: u64,
        greedy: bool,
        groups: Range<usize>,
        exit: usize,
    },
    Look {
        negated: bool,
        exit: usize,
    },
    Done,
}

/// A pattern that can be searched for.
pub(crate) struct Program {
    ops: Vec<Op>,
    sets: Vec<Set>,
    groups: usize,
    loops: usize,
    by_points: bool,
    /// The pattern's flags for pairs of characters that are the same but for their case.
    folded: Vec<super::pattern::Flags>,
    same: std::cell::RefCell<std::collections::HashMap<(usize, u32, u32), bool>>,
}

impl Program {
    /// Prepares a pattern; `None` if Boa's matcher does not take one of its parts by itself.
    pub(crate) fn new(pattern: &Pattern) -> Option<Program> {
        let mut program = Program {
            ops: Vec::new(),
            sets: Vec::new(),
            groups: pattern.groups,
            loops: 0,
            by_points: pattern.flags.by_points(),
            folded: Vec::new(),
            same: std::cell::RefCell::default(),
        };
        let mut known = std::collections::HashMap::new();
        program.emit(&pattern.node, false, &mut known)?;
        program.ops.push(Op::Done);
        Some(program)
    }

    fn emit(
        &mut self,
        node: &Node,
        back: bool,
        known: &mut std::collections::HashMap<(Vec<u32>, super::pattern::Flags), usize>,
    ) -> Option<()> {
        match node {
            Node::Set { text, flags } => {
                if let ([c], false) = (text.as_slice(), flags.icase)
                    && *c != u32::from('.')
                {
                    self.ops.push(Op::Literal { c: *c, back });
                    return Some(());
                }
                let key = (text.clone(), *flags);
                let set = match known.get(&key) {
                    Some(&set) => set,
                    None => {
                        self.sets.push(Set::new(text, *flags)?);
                        known.insert(key, self.sets.len() - 1);
                        self.sets.len() - 1
                    }
                };
                self.ops.push(Op::Set { set, back });
            }
            Node::Sequence(nodes) if back => {
                for node in nodes.iter().rev() {
                    self.emit(node, back, known)?;
                }
            }
            Node::Sequence(nodes) => {
                for node in nodes {
                    self.emit(node, back, known)?;
                }
            }
            Node::Alternatives(nodes) => {
                let mut ends = Vec::new();
                for (i, node) in nodes.iter().enumerate() {
                    let last = i + 1 == nodes.len();
                    let split = self.ops.len();
                    if !last {
                        self.ops.push(Op::Split { second: 0 });
                    }
                    self.emit(node, back, known)?;
                    if !last {
                        ends.push(self.ops.len());
                        self.ops.push(Op::Jump(0));
                        let second = self.ops.len();
                        *self.ops.get_mut(split)? = Op::Split { second };
                    }
                }
                let end = self.ops.len();
                for at in ends {
                    *self.ops.get_mut(at)? = Op::Jump(end);
                }
            }
            Node::Group(group, node) => {
                self.ops.push(Op::Open(*group));
                self.emit(node, back, known)?;
                self.ops.push(Op::Close { group: *group, back });
            }
            Node::Reference { groups, flags } => {
                let same = flags.icase.then(|| {
                    self.folded.push(*flags);
                    self.folded.len() - 1
                });
                // Several captures of one name are tried one after the other.
                let mut ends = Vec::new();
                for (i, &group) in groups.iter().enumerate() {
                    let last = i + 1 == groups.len();
                    let split = self.ops.len();
                    if !last {
                        self.ops.push(Op::Split { second: 0 });
                    }
                    self.ops.push(Op::Reference { groups: vec![group], same, back });
                    if !last {
                        ends.push(self.ops.len());
                        self.ops.push(Op::Jump(0));
                        let second = self.ops.len();
                        *self.ops.get_mut(split)? = Op::Split { second };
                    }
                }
                let end = self.ops.len();
                for at in ends {
                    *self.ops.get_mut(at)? = Op::Jump(end);
                }
            }
            Node::Start { multiline } => self.ops.push(Op::Start { multiline: *multiline }),
            Node::End { multiline } => self.ops.push(Op::End { multiline: *multiline }),
            Node::Word { negated, wide } => self.ops.push(Op::Word { negated: *negated, wide: *wide }),
            Node::Look { ahead, negated, node } => {
                let at = self.ops.len();
                self.ops.push(Op::Look { negated: *negated, exit: 0 });
                self.emit(node, !ahead, known)?;
                self.ops.push(Op::Done);
                let exit = self.ops.len();
                *self.ops.get_mut(at)? = Op::Look { negated: *negated, exit };
            }
            Node::Repeat { node, least, most, greedy, groups } => {
                let id = self.loops;
                self.loops += 1;
                self.ops.push(Op::Begin(id));
                let at = self.ops.len();
                self.ops.push(Op::Jump(0));
                self.emit(node, back, known)?;
                self.ops.push(Op::Jump(at));
                let (groups, exit) = (groups.clone(), self.ops.len());
                *self.ops.get_mut(at)? = Op::Loop { id, least: *least, most: *most, greedy: *greedy, groups, exit };
            }
        }
        Some(())
    }

    /// Searches from a place on, or only at it.
    ///
    /// # Errors
    /// The search was stopped.
    pub(crate) fn find(
        &self,
        text: &[u16],
        from: usize,
        only_here: bool,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<Option<Found>, Stopped> {
        let mut run = Run {
            program: self,
            text,
            captures: vec![None; self.groups + 1],
            opened: vec![0; self.groups + 1],
            loops: vec![(0, 0); self.loops],
            back: Vec::new(),
            left: STEPS,
            go_on,
        };
        let mut start = from;
        loop {
            let skipped = match self.ops.first() {
                Some(Op::Literal { c, back: false }) => run.next(start, false).is_some_and(|(next, _)| next != *c),
                _ => false,
            };
            if skipped {
                run.step()?;
            } else if let Some(end) = run.attempt(0, start)? {
                if let Some(whole) = run.captures.first_mut() {
                    *whole = Some(start..end);
                }
                return Ok(Some(run.captures));
            }
            if only_here || start >= text.len() {
                return Ok(None);
            }
            start = run.next(start, false).map_or(start + 1, |(_, next)| next);
        }
    }
}

/// A step back when a way has failed: a value to restore, or a place to go on from.
enum Backtrack {
    Branch {
        op: usize,
        at: usize,
    },
    /// Goes into the body of a loop that goes on only if it must.
    Enter {
        op: usize,
        at: usize,
    },
    Capture {
        group: usize,
        former: Option<Range<usize>>,
    },
    Opened {
        group: usize,
        former: usize,
    },
    Turn {
        id: usize,
        former: (u64, usize),
    },
}

struct Run<'a> {
    program: &'a Program,
    text: &'a [u16],
    captures: Found,
    /// The starts of captures that have not ended.
    opened: Vec<usize>,
    /// How many turns each loop has taken, and where its last one has begun.
    loops: Vec<(u64, usize)>,
    back: Vec<Backtrack>,
    left: u32,
    go_on: &'a mut dyn FnMut() -> bool,
}

impl Run<'_> {
    fn step(&mut self) -> Result<(), Stopped> {
        self.left -= 1;
        if self.left == 0 {
            self.left = STEPS;
            if !(self.go_on)() {
                return Err(Stopped::Asked);
            }
            if self.back.len() > MOST {
                return Err(Stopped::Memory);
            }
        }
        Ok(())
    }

    /// Reads the next character in a direction.
    fn next(&self, at: usize, back: bool) -> Option<(u32, usize)> {
        let (high, low) = (0xD800..0xDC00, 0xDC00..0xE000);
        let join = |a: u16, b: u16| 0x10000 + ((u32::from(a) - 0xD800) << 10) + (u32::from(b) - 0xDC00);
        if back {
            let unit = *self.text.get(at.checked_sub(1)?)?;
            if self.program.by_points
                && low.contains(&unit)
                && let Some(&before) = at.checked_sub(2).and_then(|at| self.text.get(at))
                && high.contains(&before)
            {
                return Some((join(before, unit), at - 2));
            }
            return Some((unit.into(), at - 1));
        }
        let unit = *self.text.get(at)?;
        if self.program.by_points
            && high.contains(&unit)
            && let Some(&after) = self.text.get(at + 1)
            && low.contains(&after)
        {
            return Some((join(unit, after), at + 2));
        }
        Some((unit.into(), at + 1))
    }

    fn set_capture(&mut self, group: usize, value: Option<Range<usize>>) {
        if let Some(slot) = self.captures.get_mut(group) {
            let former = std::mem::replace(slot, value);
            self.back.push(Backtrack::Capture { group, former });
        }
    }

    fn set_turn(&mut self, id: usize, value: (u64, usize)) {
        if let Some(slot) = self.loops.get_mut(id) {
            let former = std::mem::replace(slot, value);
            self.back.push(Backtrack::Turn { id, former });
        }
    }

    /// Goes back to the last place where there was another way, but not behind `base`.
    fn fail(&mut self, base: usize) -> Option<(usize, usize, bool)> {
        while self.back.len() > base {
            match self.back.pop()? {
                Backtrack::Branch { op, at } => return Some((op, at, false)),
                Backtrack::Enter { op, at } => return Some((op, at, true)),
                undo => self.undo(undo),
            }
        }
        None
    }

    fn undo(&mut self, undo: Backtrack) {
        match undo {
            Backtrack::Capture { group, former } => {
                if let Some(slot) = self.captures.get_mut(group) {
                    *slot = former;
                }
            }
            Backtrack::Opened { group, former } => {
                if let Some(slot) = self.opened.get_mut(group) {
                    *slot = former;
                }
            }
            Backtrack::Turn { id, former } => {
                if let Some(slot) = self.loops.get_mut(id) {
                    *slot = former;
                }
            }
            Backtrack::Branch { .. } | Backtrack::Enter { .. } => {}
        }
    }

    /// Matches from an operation and a place on; returns where the match ends.
    fn attempt(&mut self, op: usize, at: usize) -> Result<Option<usize>, Stopped> {
        let base = self.back.len();
        let (mut op, mut at, mut enters) = (op, at, false);
        let program = self.program;
        loop {
            self.step()?;
            let Some(current) = program.ops.get(op) else { return Ok(None) };
            let next = match current {
                Op::Literal { c, back } => {
                    self.next(at, *back).filter(|(next, _)| next == c).map(|(_, at)| (op + 1, at))
                }
                Op::Set { set, back } => {
                    let set = program.sets.get(*set);
                    self.next(at, *back)
                        .filter(|(next, _)| set.is_some_and(|set| set.has(*next)))
                        .map(|(_, at)| (op + 1, at))
                }
                Op::Start { multiline } => self.line_edge(at, true, *multiline).then_some((op + 1, at)),
                Op::End { multiline } => self.line_edge(at, false, *multiline).then_some((op + 1, at)),
                Op::Word { negated, wide } => {
                    let word = |c: Option<(u32, usize)>| c.is_some_and(|(c, _)| in_word(c, *wide));
                    let edge = word(self.next(at, true)) != word(self.next(at, false));
                    (edge != *negated).then_some((op + 1, at))
                }
                Op::Reference { groups, same, back } => self
                    .reference(groups.first().copied().unwrap_or_default(), *same, *back, at)?
                    .map(|at| (op + 1, at)),
                Op::Split { second } => {
                    self.back.push(Backtrack::Branch { op: *second, at });
                    Some((op + 1, at))
                }
                Op::Jump(to) => Some((*to, at)),
                Op::Open(group) => {
                    if let Some(slot) = self.opened.get_mut(*group) {
                        let former = std::mem::replace(slot, at);
                        self.back.push(Backtrack::Opened { group: *group, former });
                    }
                    Some((op + 1, at))
                }
                Op::Close { group, back } => {
                    let other = self.opened.get(*group).copied().unwrap_or_default();
                    self.set_capture(*group, Some(if *back { at..other } else { other..at }));
                    Some((op + 1, at))
                }
                Op::Begin(id) => {
                    self.set_turn(*id, (0, usize::MAX));
                    Some((op + 1, at))
                }
                Op::Loop { id, least, most, greedy, groups, exit } => {
                    let (turns, began) = self.loops.get(*id).copied().unwrap_or_default();
                    let enter = std::mem::take(&mut enters);
                    // More than the least, and nothing of the text taken.
                    if !enter && turns > *least && began == at {
                        None
                    } else if !enter && turns >= *least && (turns >= *most || !greedy) {
                        if turns < *most {
                            self.back.push(Backtrack::Enter { op, at });
                        }
                        Some((*exit, at))
                    } else if turns >= *most {
                        Some((*exit, at))
                    } else {
                        if !enter && turns >= *least {
                            self.back.push(Backtrack::Branch { op: *exit, at });
                        }
                        self.set_turn(*id, (turns + 1, at));
                        for group in groups.clone() {
                            if self.captures.get(group).is_some_and(Option::is_some) {
                                self.set_capture(group, None);
                            }
                        }
                        Some((op + 1, at))
                    }
                }
                Op::Look { negated, exit } => {
                    let before = self.back.len();
                    let found = self.attempt(op + 1, at)?.is_some();
                    if found {
                        // What it has found stays, other ways to find it do not count.
                        let held: Vec<Backtrack> = self.back.drain(before..).collect();
                        let mut changes: Vec<Backtrack> = held
                            .into_iter()
                            .filter(|back| !matches!(back, Backtrack::Branch { .. } | Backtrack::Enter { .. }))
                            .collect();
                        if *negated {
                            while let Some(change) = changes.pop() {
                                self.undo(change);
                            }
                        } else {
                            self.back.append(&mut changes);
                        }
                    }
                    (found != *negated).then_some((*exit, at))
                }
                Op::Done => return Ok(Some(at)),
            };
            match next {
                Some(next) => (op, at) = next,
                None => match self.fail(base) {
                    Some(next) => (op, at, enters) = next,
                    None => return Ok(None),
                },
            }
        }
    }

    fn line_edge(&self, at: usize, start: bool, multiline: bool) -> bool {
        match self.next(at, start) {
            None => true,
            Some((c, _)) => multiline && matches!(c, 0xA | 0xD | 0x2028 | 0x2029),
        }
    }

    fn reference(
        &mut self,
        group: usize,
        same: Option<usize>,
        back: bool,
        at: usize,
    ) -> Result<Option<usize>, Stopped> {
        let Some(range) = self.captures.get(group).cloned().flatten() else { return Ok(Some(at)) };
        let (mut from, mut at) = (if back { range.end } else { range.start }, at);
        let end = if back { range.start } else { range.end };
        while from != end {
            self.step()?;
            let (Some((a, next)), Some((b, to))) = (self.next(from, back), self.next(at, back)) else {
                return Ok(None);
            };
            if a != b && !same.is_some_and(|flags| self.is_same(flags, a, b)) {
                return Ok(None);
            }
            (from, at) = (next, to);
        }
        Ok(Some(at))
    }

    fn is_same(&self, flags: usize, a: u32, b: u32) -> bool {
        if let Some(&known) = self.program.same.borrow().get(&(flags, a, b)) {
            return known;
        }
        let Some(&kind) = self.program.folded.get(flags) else { return false };
        let mut text: Vec<u32> = Vec::new();
        if char::from_u32(a).is_some_and(|c| "^$\\.*+?()[]{}|/".contains(c)) {
            text.push('\\'.into());
        }
        text.push(a);
        let same = Set::new(&text, kind).is_some_and(|set| set.has(b));
        self.program.same.borrow_mut().insert((flags, a, b), same);
        same
    }
}

fn in_word(c: u32, wide: bool) -> bool {
    let ascii = char::from_u32(c).is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
    ascii || (wide && matches!(c, 0x17F | 0x212A))
}
