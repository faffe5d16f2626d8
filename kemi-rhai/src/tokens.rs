//! Makes `KSR.pv.get(…)` Rhai's `KSR::pv::get(…)`, token by token, and keeps the root's name for the root.
//!
//! To Rhai the root is a static module. A chain of property getters would look the same in scripts and cost four times
//! as much a call.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;

use kemi_core::RegistryData;
use rhai::{LexError, Position, Token, is_valid_identifier};

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
#[derive(Debug)]
pub(crate) struct Tokens {
    root: String,
    /// Functions of the root that are no modules as well: what follows them is a property of their value.
    functions: BTreeSet<&'static str>,
    at: Cell<At>,
    last: Cell<Position>,
    refused: RefCell<Option<String>>,
}

impl Tokens {
    pub(crate) fn new(registry: &RegistryData) -> Tokens {
        let modules: BTreeSet<&str> =
            registry.modules().map(|(name, _)| name).chain(registry.disabled_modules()).collect();
        let root_exports = registry.modules().find(|(name, _)| name.is_empty()).map_or(&[][..], |(_, exports)| exports);
        Tokens {
            root: registry.root().to_owned(),
            functions: root_exports.iter().map(|e| e.def().name).filter(|name| !modules.contains(name)).collect(),
            at: Cell::new(OUTSIDE),
            last: Cell::new(Position::NONE),
            refused: RefCell::new(None),
        }
    }

    /// Forgets where the tokenizer was: before a new text, and after one that did not parse.
    pub(crate) fn reset(&self) {
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

    fn refuse(&self) -> Token {
        let root = &self.root;
        let message = format!(
            "'{root}' names the host's functions and nothing else: it must be followed by a dot, as in \
             '{root}.module.function()', and cannot be the name of a variable, function or parameter"
        );
        *self.refused.borrow_mut() = Some(message.clone());
        Token::LexError(Box::new(LexError::Runtime(message)))
    }
}

fn is_name(token: &Token, name: &str) -> bool {
    matches!(token, Token::Identifier(identifier) if identifier.as_str() == name)
}

/// Returns the text of a token that may stand for a name after a dot: exports may be called like Rhai's keywords.
fn name_of(token: &Token) -> Option<String> {
    let text = match token {
        Token::Identifier(name) | Token::Reserved(name) => name.as_str(),
        token if token.is_literal() => token.literal_syntax(),
        _ => return None,
    };
    is_valid_identifier(text).then(|| text.to_owned())
}
