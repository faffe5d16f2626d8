//! The classes of a registry: what scripts reach through an object.

use std::ops::Range;

use super::table::{Export, RegistryData};
use crate::error::{ErrorCode, ScriptError, nearest};
use crate::export::{Operator, Role};
use crate::value::{Class, Type};

/// A class as the scripts of a registry see it.
#[derive(Debug)]
pub struct RegisteredClass {
    class: &'static Class,
    exports: Range<usize>,
}

impl RegisteredClass {
    pub(super) fn new(class: &'static Class, exports: Range<usize>) -> RegisteredClass {
        RegisteredClass { class, exports }
    }

    /// Returns the description.
    #[must_use]
    pub fn class(&self) -> &'static Class {
        self.class
    }

    /// Returns the positions of its functions, properties and operators in [`RegistryData::exports`].
    #[must_use]
    pub fn exports(&self) -> Range<usize> {
        self.exports.clone()
    }
}

impl RegistryData {
    /// Returns the classes whose modules are enabled.
    #[must_use]
    pub fn classes(&self) -> &[RegisteredClass] {
        &self.classes
    }

    /// Returns the position of a class in [`classes`](Self::classes); `None` if its module is not enabled.
    #[must_use]
    pub fn class_index(&self, class: &Class) -> Option<usize> {
        self.classes.iter().position(|known| known.class == class)
    }

    /// Iterates over the members of a class.
    pub fn members(&self, class: &Class) -> impl Iterator<Item = (&Export, Role)> {
        let range = self.class_index(class).and_then(|index| self.classes.get(index)).map(RegisteredClass::exports);
        let exports = range.and_then(|range| self.exports().get(range)).unwrap_or(&[]);
        exports.iter().filter_map(|export| export.def().member.map(|member| (export, member.role)))
    }

    /// Finds the export behind an operator of a class.
    #[must_use]
    pub fn operator(&self, class: &Class, operator: Operator) -> Option<&Export> {
        self.members(class).find(|(_, role)| *role == Role::Operator(operator)).map(|(export, _)| export)
    }

    /// Returns whether the keys of an index operator may be text, so that one that is no name of a member is the operator's.
    ///
    /// In languages that write `object.name` and `object["name"]` for the same thing, all others are misspelt names.
    #[must_use]
    pub fn has_text_keys(&self, class: &Class, operator: Operator) -> bool {
        let key = self.operator(class, operator).and_then(|export| export.def().params.get(1));
        let ty = key.map(|key| if let Type::Option(ty) = key.ty { *ty } else { key.ty });
        ty.is_some_and(|ty| !matches!(ty, Type::Bool | Type::Int { .. } | Type::Float | Type::Object(_)))
    }

    /// Explains why an object has no member of a name.
    #[must_use]
    pub fn explain_member(&self, class: &Class, name: &str) -> ScriptError {
        if self.class_index(class).is_none() {
            return self.explain_unknown(class.path, None);
        }
        if self.members(class).any(|(_, role)| matches!(role, Role::Setter(known) if known == name)) {
            let message = format!("'{name}' of a {} can only be set", class.name);
            return ScriptError::new(ErrorCode::UnknownFunction, message);
        }
        let error = ScriptError::new(ErrorCode::UnknownFunction, format!("a {} has no '{name}'", class.name));
        match nearest(name, self.members(class).filter_map(|(export, role)| reached_by(export, role))) {
            Some(near) => error.with_hint(format!("did you mean '{near}'?")),
            None => error,
        }
    }

    /// Explains why a property of an object cannot be set.
    #[must_use]
    pub fn explain_assignment(&self, class: &Class, name: &str) -> ScriptError {
        let read_only = self.members(class).any(|(export, role)| reached_by(export, role) == Some(name));
        if read_only {
            let message = format!("'{name}' of a {} can only be read", class.name);
            return ScriptError::new(ErrorCode::ReadOnly, message);
        }
        self.explain_member(class, name)
    }
}

/// Returns the name by which scripts reach a member through an object.
fn reached_by(export: &Export, role: Role) -> Option<&'static str> {
    match role {
        Role::Method => Some(export.def().name),
        Role::Getter(name) | Role::Setter(name) => Some(name),
        Role::Static | Role::Operator(_) => None,
    }
}
