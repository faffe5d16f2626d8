//! The name of the root object stays the host's.
//!
//! Token by token, `root.module.name(…)` becomes Rhai's `root::module::name(…)`, and nothing else may have the root's name.
//! To Rhai the root is a static module. A chain of property getters would look the same in scripts and cost four times
//! as much a call.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use kemi_core::Value;
use kemi_core::export::Role;
use kemi_core::registry::RegistryData;
use rhai::{Token, is_valid_identifier};

/// Where in a path of the root object the tokenizer is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum At {
    /// Not in one; a name after a dot is a property, so never the root.
    Outside { after_dot: bool, binds: bool },
    /// After the root's name.
    Root,
    /// After a separator behind the scope of this index.
    Separator(usize),
    /// After the name of a scope, so a dot goes on.
    Scope(usize),
}

const OUTSIDE: At = At::Outside { after_dot: false, binds: false };

/// The index of the root among the scopes.
const ROOT: usize = 0;

/// The index of the scope behind a name of the root that stands for nothing: a call in such a module is to be explained.
const NOTHING: usize = 1;

/// What a path goes on behind: the names of the scopes in it, with their indices.
///
/// Scopes are modules, also those that are not enabled, and constants that are maps. What follows any other name is a property of
/// its value.
type Scope = BTreeMap<String, usize>;

/// The root's name in a stream of tokens.
pub(crate) struct RootName {
    name: String,
    scopes: Vec<Scope>,
    /// The functions and constants of the root.
    members: BTreeSet<&'static str>,
    /// What objects have, whatever keyword it reads like.
    of_objects: BTreeSet<&'static str>,
    at: Cell<At>,
}

impl RootName {
    pub(crate) fn new(registry: &RegistryData) -> RootName {
        let mut scopes = vec![Scope::new(), Scope::new()];
        registry.module().walk(&mut |module| {
            let own = scope_at(&mut scopes, module.path());
            for constant in module.constants() {
                add_names(&mut scopes, own, constant.def().name, constant.value());
            }
        });
        for path in registry.disabled_modules() {
            scope_at(&mut scopes, path);
        }
        let root = registry.module();
        let exports = registry.exports().get(root.exports()).unwrap_or_default().iter().map(|export| export.def().name);
        let members = exports.chain(root.constants().iter().map(|constant| constant.def().name)).collect();
        let of_classes = registry.classes().iter().flat_map(|class| registry.members(class.class()));
        let of_objects = of_classes.filter_map(|(export, role)| reached_by(export.def().name, role)).collect();
        RootName { name: registry.root().to_owned(), scopes, members, of_objects, at: Cell::new(OUTSIDE) }
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
            At::Root if dot => (At::Separator(ROOT), Token::DoubleColon),
            At::Scope(scope) if dot => (At::Separator(scope), Token::DoubleColon),
            // The key of a map literal.
            At::Root if token == Token::Colon => (OUTSIDE, token),
            At::Root => return Err(self.refusal()),
            At::Separator(scope) => match name_of(&token) {
                Some(name) => {
                    let at = match self.scopes.get(scope).and_then(|scope| scope.get(&name)) {
                        Some(within) => At::Scope(*within),
                        None if scope == ROOT && !self.members.contains(name.as_str()) => At::Scope(NOTHING),
                        None => OUTSIDE,
                    };
                    (at, Token::Identifier(Box::new(name.as_str().into())))
                }
                None => (OUTSIDE, token),
            },
            At::Outside { after_dot: false, binds } if is_name(&token, &self.name) => {
                if binds {
                    return Err(self.refusal());
                }
                (At::Root, token)
            }
            At::Outside { after_dot: true, .. } if self.is_of_objects(&token) => {
                let name = name_of(&token).unwrap_or_default();
                (OUTSIDE, Token::Identifier(Box::new(name.as_str().into())))
            }
            At::Outside { .. } | At::Scope(_) => {
                let binds = matches!(token, Token::Let | Token::Const | Token::Fn | Token::For | Token::As);
                (At::Outside { after_dot: dot, binds }, token)
            }
        };
        self.at.set(at);
        Ok(token)
    }

    /// Returns whether objects have something of a name that Rhai reads as a word of its own.
    fn is_of_objects(&self, token: &Token) -> bool {
        !matches!(token, Token::Identifier(_))
            && !self.of_objects.is_empty()
            && name_of(token).is_some_and(|name| self.of_objects.contains(name.as_str()))
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

/// Returns the name by which scripts reach a member through an object.
fn reached_by(name: &'static str, role: Role) -> Option<&'static str> {
    match role {
        Role::Method => Some(name),
        Role::Getter(name) | Role::Setter(name) => Some(name),
        Role::Static | Role::Operator(_) => None,
    }
}

/// Finds or adds the scope of a module's path.
fn scope_at(scopes: &mut Vec<Scope>, path: &str) -> usize {
    path.split('.').filter(|name| !name.is_empty()).fold(ROOT, |around, name| scope_in(scopes, around, name))
}

/// Adds the scope of a constant, if it is a map, with those in it.
fn add_names(scopes: &mut Vec<Scope>, around: usize, name: &str, value: &Value) {
    let Some(names) = value.as_map() else { return };
    let own = scope_in(scopes, around, name);
    for (name, value) in names {
        if let Ok(name) = std::str::from_utf8(name) {
            add_names(scopes, own, name, value);
        }
    }
}

/// Finds or adds a scope within another one.
fn scope_in(scopes: &mut Vec<Scope>, around: usize, name: &str) -> usize {
    let next = scopes.len();
    let Some(outer) = scopes.get_mut(around) else { return NOTHING };
    let index = *outer.entry(name.to_owned()).or_insert(next);
    if index == next {
        scopes.push(Scope::new());
    }
    index
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
