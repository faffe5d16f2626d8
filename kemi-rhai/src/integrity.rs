//! The name of the root object stays the host's.
//!
//! Token by token, `root.module.name(…)` becomes Rhai's `root::module::name(…)`, and nothing else may have the root's name.
//! To Rhai the root is a static module. A chain of property getters would look the same in scripts and cost four times
//! as much a call.

use std::cell::Cell;
use std::collections::BTreeSet;

use kemi_core::registry::RegistryData;
use rhai::{Token, is_valid_identifier};

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

/// The root's name in a stream of tokens.
pub(crate) struct RootName {
    name: String,
    /// Functions of the root that are no modules as well: what follows them is a property of their value.
    functions: BTreeSet<&'static str>,
    at: Cell<At>,
}

impl RootName {
    pub(crate) fn new(registry: &RegistryData) -> RootName {
        let modules: BTreeSet<&str> =
            registry.modules().map(|(name, _)| name).chain(registry.disabled_modules()).collect();
        let exports = registry.modules().find(|(name, _)| name.is_empty()).map_or(&[][..], |(_, exports)| exports);
        RootName {
            name: registry.root().to_owned(),
            functions: exports.iter().map(|e| e.def().name).filter(|name| !modules.contains(name)).collect(),
            at: Cell::new(OUTSIDE),
        }
    }

    /// Begins a new text.
    pub(crate) fn restart(&self) {
        self.at.set(OUTSIDE);
    }

    /// Maps one token.
    ///
    /// # Errors
    /// The message for a text that gives the name to something else.
    pub(crate) fn map(&self, token: Token) -> Result<Token, String> {
        let dot = matches!(token, Token::Period | Token::DoubleColon | Token::Elvis);
        let (at, token) = match self.at.replace(OUTSIDE) {
            At::Root if dot => (At::Separator(1), Token::DoubleColon),
            At::Module if dot => (At::Separator(2), Token::DoubleColon),
            // The key of a map literal.
            At::Root if token == Token::Colon => (OUTSIDE, token),
            At::Root => return Err(self.refusal()),
            At::Separator(names) => match name_of(&token) {
                Some(name) => {
                    let module = names == 1 && !self.functions.contains(name.as_str());
                    (if module { At::Module } else { OUTSIDE }, Token::Identifier(Box::new(name.as_str().into())))
                }
                None => (OUTSIDE, token),
            },
            At::Outside { after_dot: false, binds } if is_name(&token, &self.name) => {
                if binds {
                    return Err(self.refusal());
                }
                (At::Root, token)
            }
            At::Outside { .. } | At::Module => {
                let binds = matches!(token, Token::Let | Token::Const | Token::Fn | Token::For | Token::As);
                (At::Outside { after_dot: dot, binds }, token)
            }
        };
        self.at.set(at);
        Ok(token)
    }

    #[cold]
    fn refusal(&self) -> String {
        let root = &self.name;
        format!(
            "'{root}' names the host's functions and nothing else: it must be followed by a dot, as in \
             '{root}.module.function()', and cannot be the name of a variable, function or parameter"
        )
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
