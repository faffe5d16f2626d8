//! Source text that nests too deep for Boa, which works down it by recursion: the parser, its checks, the compiler, and
//! what frees the tree.
//!
//! The parser asks for one character after the other, and at each it is looked at how much stack is left. So brackets,
//! prefixes and statements in statements are found on the way. A tree may be deeper than the parser went, by a chain of
//! operators or calls; how deep it is can be told only when it is there. Short texts cannot make a deep one.

use std::cell::Cell;
use std::io::{self, Read};
use std::ops::ControlFlow;

use boa_engine::ast::Spanned;
use boa_engine::ast::declaration::Declaration;
use boa_engine::ast::expression::Expression;
use boa_engine::ast::function::FunctionBody;
use boa_engine::ast::pattern::Pattern;
use boa_engine::ast::statement::Statement;
use boa_engine::ast::visitor::{VisitWith, Visitor};
use boa_engine::interner::Interner;
use boa_engine::parser::Parser;
use kemi_core::engine::Runtime;
use kemi_core::{ErrorCode, ScriptError};

use crate::stack;

/// How much stack the parser may use.
const PARSER: usize = 48 << 20;

/// How much stack one character takes at most, in the parser. A bracket goes through some forty functions.
const CHARACTER: usize = if cfg!(debug_assertions) { 192 << 10 } else { 8 << 10 };

/// How much stack one level of a tree takes at most, in the compiler.
const LEVEL: usize = if cfg!(debug_assertions) { 48 << 10 } else { 8 << 10 };

/// How much stack one level takes at most in code that goes through a tree or frees it.
const WALK: usize = 1 << 10;

/// The length up to which a text is short.
const SHORT: usize = if cfg!(debug_assertions) { 1 << 10 } else { 8 << 10 };

/// How deep a tree may be.
const DEPTH: usize = 20_000;

/// How deep functions and classes may stand in each other. Boa goes through all that are inside of each.
const FUNCTIONS: usize = 256;

/// The reason why a text is not read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// It nests too deep, in this line.
    Deep(u32),
    /// The time or the memory is over.
    Over,
}

impl Stop {
    pub(crate) fn error(self, name: &str) -> ScriptError {
        match self {
            Stop::Deep(line) => ScriptError::new(ErrorCode::Syntax, "the source nests too deep")
                .at(name, line)
                .with_hint("brackets, functions, operators or statements stand in each other by thousands"),
            Stop::Over => {
                ScriptError::new(ErrorCode::Syntax, "the limit of the call was reached while the source was read")
            }
        }
    }
}

/// A source's bytes, read one by one while there is stack and time.
struct SourceReader<'a> {
    bytes: &'a [u8],
    stop: &'a Cell<Option<Stop>>,
    runtime: Option<&'a Runtime>,
    /// How much of the stack must remain.
    least: usize,
    read: u32,
    line: u32,
}

impl<'a> SourceReader<'a> {
    fn new(text: &'a str, stop: &'a Cell<Option<Stop>>, runtime: Option<&'a Runtime>) -> SourceReader<'a> {
        let remaining = stack::remaining().unwrap_or(0);
        // Half is left for what runs at the deepest level.
        let least = remaining.saturating_sub(PARSER).max(remaining / 2);
        SourceReader { bytes: text.as_bytes(), stop, runtime, least, read: 0, line: 1 }
    }

    fn refuse(&self, stop: Stop) -> io::Error {
        self.stop.set(self.stop.get().or(Some(stop)));
        io::Error::other("not read on")
    }
}

impl Read for SourceReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        /// Between two looks at the clock.
        const BYTES: u32 = 1 << 12;
        if stack::remaining().is_some_and(|remaining| remaining < self.least) {
            return Err(self.refuse(Stop::Deep(self.line)));
        }
        self.read = self.read.wrapping_add(1);
        if self.read.is_multiple_of(BYTES) && self.runtime.is_some_and(|runtime| runtime.pending_limit().is_some()) {
            return Err(self.refuse(Stop::Over));
        }
        let (Some((&first, rest)), Some(slot)) = (self.bytes.split_first(), buffer.first_mut()) else { return Ok(0) };
        self.line += u32::from(first == b'\n');
        self.bytes = rest;
        *slot = first;
        Ok(1)
    }
}

/// The kind of text that is read.
#[derive(Clone, Copy)]
pub(crate) enum Goal {
    Script,
    FunctionBody,
    Parameters,
}

/// Returns how much stack it takes to read and compile so long a text, if it is short or was found not too deep.
pub(crate) fn stack_for(bytes: usize) -> usize {
    if is_short(bytes) { bytes.max(64).saturating_mul(CHARACTER) } else { (2 * PARSER).max(DEPTH * LEVEL) }
}

/// Returns whether so long a text cannot be too deep to be compiled on a stack made for it.
pub(crate) fn is_short(bytes: usize) -> bool {
    bytes <= SHORT
}

/// Returns how deep a text may be to be compiled on the present stack.
pub(crate) fn depth_here() -> usize {
    stack::remaining().map_or(DEPTH, |remaining| remaining / 2 / CHARACTER)
}

/// How deep a text may be to be compiled on a stack made for it.
pub(crate) const DEPTH_THERE: usize = DEPTH;

/// Returns whether so long a text can be compiled on what is left of the stack, whatever it says.
pub(crate) fn fits_on_present_stack(bytes: usize) -> bool {
    stack::remaining().is_none_or(|remaining| bytes.saturating_mul(CHARACTER) <= remaining / 2)
}

/// Reads a text only to see how deep it is. A text that has other faults is left to who reads it in earnest.
///
/// # Errors
/// It is too deep, or takes too long.
pub(crate) fn check(text: &str, goal: Goal, depth: usize, runtime: Option<&Runtime>) -> Result<(), Stop> {
    // A chain takes two characters a level.
    let needed = (text.len() / 2).saturating_mul(WALK).max(PARSER).saturating_mul(2);
    stack::on_large(needed, || measure(text, goal, depth, runtime)).unwrap_or(Err(Stop::Deep(1)))
}

fn measure(text: &str, goal: Goal, depth: usize, runtime: Option<&Runtime>) -> Result<(), Stop> {
    let stop = Cell::new(None);
    let mut interner = Interner::default();
    let mut depth = Depth { most: depth.min(DEPTH), ..Depth::default() };
    let source = boa_engine::Source::from_reader(SourceReader::new(text, &stop, runtime), None);
    let mut parser = Parser::new(source);
    let flow = match goal {
        Goal::Script => parser.parse_eval(true, &mut interner).map(|(script, _)| script.visit_with(&mut depth)),
        Goal::FunctionBody => {
            parser.parse_function_body(&mut interner, true, true).map(|body| body.visit_with(&mut depth))
        }
        Goal::Parameters => {
            parser.parse_formal_parameters(&mut interner, true, true).map(|list| list.visit_with(&mut depth))
        }
    };
    match (stop.get(), flow) {
        (Some(stop), _) => Err(stop),
        (None, Ok(ControlFlow::Break(()))) => Err(Stop::Deep(depth.line.max(1))),
        _ => Ok(()),
    }
}

/// Measures how deep a tree is.
#[derive(Default)]
struct Depth {
    now: usize,
    most: usize,
    functions: usize,
    /// The line of the part that is too deep.
    line: u32,
}

impl Depth {
    fn deeper(&mut self, walk: impl FnOnce(&mut Depth) -> ControlFlow<()>) -> ControlFlow<()> {
        self.now += 1;
        if self.now > self.most {
            return ControlFlow::Break(());
        }
        let flow = walk(self);
        self.now -= 1;
        flow
    }
}

impl<'ast> Visitor<'ast> for Depth {
    type BreakTy = ();

    fn visit_expression(&mut self, node: &'ast Expression) -> ControlFlow<()> {
        if self.now >= self.most {
            self.line = node.span().start().line_number();
        }
        self.deeper(|depth| node.visit_with(depth))
    }

    fn visit_statement(&mut self, node: &'ast Statement) -> ControlFlow<()> {
        self.deeper(|depth| node.visit_with(depth))
    }

    fn visit_declaration(&mut self, node: &'ast Declaration) -> ControlFlow<()> {
        self.deeper(|depth| node.visit_with(depth))
    }

    fn visit_function_body(&mut self, node: &'ast FunctionBody) -> ControlFlow<()> {
        self.functions += 1;
        if self.functions > FUNCTIONS {
            return ControlFlow::Break(());
        }
        let flow = self.deeper(|depth| node.visit_with(depth));
        self.functions -= 1;
        flow
    }

    fn visit_pattern(&mut self, node: &'ast Pattern) -> ControlFlow<()> {
        self.deeper(|depth| node.visit_with(depth))
    }
}
