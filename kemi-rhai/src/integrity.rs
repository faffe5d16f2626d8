//! Makes `KSR.pv.get(…)` Rhai's `KSR::pv::get(…)`, token by token, and keeps the root's name for the root.
//!
//! To Rhai the root is a static module. A chain of property getters would look the same in scripts and cost four times
//! as much a call. Since each token passes here, this is also where parsing ends when its time is over.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;

use kemi_core::{Place, Runtime};
use rhai::{LexError, Position, Token, is_valid_identifier};

use crate::interpreter::line_of;
use crate::interrupt::Nowhere;

/// How many cases of a `switch` there may be: Rhai takes quadratic time for them, in which nothing looks at the clock.
const MAX_CASES: u32 = 5_000;

/// Where in a path of the root object the tokenizer is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum At {
    /// Not in one; a name after a dot is a property, so never the root.
    Outside { after_dot: bool, binds: bool },
    /// After the root's name.
    Root,
    /// After a separator, with this many names before it.
    Separator(usize),
    /// After a name that may be a module, so a dot goes on.
    Module,
}

const OUTSIDE: At = At::Outside { after_dot: false, binds: false };

/// The state of the remapping; one for each engine.
pub(crate) struct Tokens {
    runtime: Rc<Runtime>,
    /// The file that is being parsed, if its name is known.
    file: RefCell<String>,
    root: String,
    /// Functions of the root that are no modules as well: what follows them is a property of their value.
    functions: BTreeSet<&'static str>,
    at: Cell<At>,
    last: Cell<Position>,
    /// The cases since the last `switch`.
    cases: Cell<u32>,
    refused: RefCell<Option<String>>,
}

impl Tokens {
    pub(crate) fn new(runtime: &Rc<Runtime>) -> Tokens {
        let registry = runtime.registry();
        let modules: BTreeSet<&str> =
            registry.modules().map(|(name, _)| name).chain(registry.disabled_modules()).collect();
        let root_exports = registry.modules().find(|(name, _)| name.is_empty()).map_or(&[][..], |(_, exports)| exports);
        Tokens {
            runtime: runtime.clone(),
            file: RefCell::default(),
            root: registry.root().to_owned(),
            functions: root_exports.iter().map(|e| e.def().name).filter(|name| !modules.contains(name)).collect(),
            at: Cell::new(OUTSIDE),
            last: Cell::new(Position::NONE),
            cases: Cell::new(0),
            refused: RefCell::new(None),
        }
    }

    /// Begins a file.
    pub(crate) fn begin(&self, file: &str) {
        self.reset();
        file.clone_into(&mut self.file.borrow_mut());
    }

    /// Forgets where the tokenizer was: before a new text, and after one that did not parse.
    pub(crate) fn reset(&self) {
        self.file.borrow_mut().clear();
        self.cases.set(0);
        self.at.set(OUTSIDE);
        self.last.set(Position::NONE);
        self.refused.borrow_mut().take();
    }

    /// Returns why the last text was refused, if it was for its use of the root's name.
    pub(crate) fn take_refused(&self) -> Option<String> {
        self.refused.borrow_mut().take()
    }

    /// Maps one token.
    pub(crate) fn map(&self, token: Token, position: Position) -> Token {
        // The end of a text is not told; a position that goes back is the next text. Columns end at 65535.
        if position <= self.last.replace(position) && position.position() != Some(usize::from(u16::MAX)) {
            self.at.set(OUTSIDE);
        }
        if self.runtime.over().is_some() {
            return self.out_of_time(position);
        }
        match token {
            Token::Switch => self.cases.set(0),
            Token::DoubleArrow => self.cases.set(self.cases.get() + 1),
            _ => {}
        }
        if self.cases.get() > MAX_CASES {
            return self.refuse_for(format!("a switch has more than {MAX_CASES} cases; use a map instead"));
        }
        let (at, token) = self.step(self.at.get(), token);
        self.at.set(at);
        token
    }

    fn step(&self, at: At, token: Token) -> (At, Token) {
        let dot = matches!(token, Token::Period | Token::DoubleColon | Token::Elvis);
        match at {
            At::Root if dot => (At::Separator(1), Token::DoubleColon),
            At::Module if dot => (At::Separator(2), Token::DoubleColon),
            // The key of a map literal.
            At::Root if token == Token::Colon => (OUTSIDE, token),
            At::Root => (OUTSIDE, self.refuse()),
            At::Separator(names) => match name_of(&token) {
                Some(name) => {
                    let module = names == 1 && !self.functions.contains(name.as_str());
                    (if module { At::Module } else { OUTSIDE }, Token::Identifier(Box::new(name.as_str().into())))
                }
                None => (OUTSIDE, token),
            },
            At::Outside { after_dot: false, binds } if is_name(&token, &self.root) => {
                if binds {
                    (OUTSIDE, self.refuse())
                } else {
                    (At::Root, token)
                }
            }
            At::Outside { .. } | At::Module => {
                let binds = matches!(token, Token::Let | Token::Const | Token::Fn | Token::For | Token::As);
                (At::Outside { after_dot: dot, binds }, token)
            }
        }
    }

    /// Ends the call that has used up a limit; no parser gets past what comes instead of the token.
    #[cold]
    fn out_of_time(&self, position: Position) -> Token {
        if self.runtime.exhausted().is_none() {
            self.runtime.poll(&Nowhere);
        }
        let file = self.file.borrow();
        if let (Some(limit), Some(line), false) = (self.runtime.exhausted(), line_of(position), file.is_empty()) {
            self.runtime.exhaust(limit, Some(Place { file: file.clone(), line }));
        }
        Token::LexError(Box::new(LexError::Runtime("parsing took too long".to_owned())))
    }

    fn refuse(&self) -> Token {
        let root = &self.root;
        self.refuse_for(format!(
            "'{root}' names the host's functions and nothing else: it must be followed by a dot, as in \
             '{root}.module.function()', and cannot be the name of a variable, function or parameter"
        ))
    }

    #[cold]
    fn refuse_for(&self, message: String) -> Token {
        *self.refused.borrow_mut() = Some(message.clone());
        Token::LexError(Box::new(LexError::Runtime(message)))
    }
}

pub(crate) fn is_name(token: &Token, name: &str) -> bool {
    matches!(token, Token::Identifier(identifier) if identifier.as_str() == name)
}

/// Returns the text of a token that may stand for a name after a dot: exports may be called like Rhai's keywords.
pub(crate) fn name_of(token: &Token) -> Option<String> {
    let text = match token {
        Token::Identifier(name) | Token::Reserved(name) => name.as_str(),
        token if token.is_literal() => token.literal_syntax(),
        _ => return None,
    };
    is_valid_identifier(text).then(|| text.to_owned())
}
