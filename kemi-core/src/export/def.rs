//! The description of a native function, as `#[kemi_export]` generates it.

use std::any::TypeId;
use std::fmt;

use super::class::{ClassMember, Role};
use super::entry::{Thunk, Typed};
use crate::value::Type;

/// All exports linked into this program, in no stable order; [`Registry`](crate::Registry) sorts them.
#[linkme::distributed_slice]
pub static EXPORTS: [ExportDef];

/// One exported function, as the attribute describes it.
#[derive(Debug)]
pub struct ExportDef {
    /// The module; empty for the root.
    pub module: &'static str,
    /// The name in scripts.
    pub name: &'static str,
    /// The doc comment.
    pub doc: &'static str,
    /// The parameters, without the context.
    pub params: &'static [Param],
    /// The result.
    pub returns: Type,
    /// The version that added it.
    pub since: Option<&'static str>,
    /// The deprecation, if scripts should stop using it.
    pub deprecated: Option<Deprecated>,
    /// The routes it may be called in; empty for all.
    pub callbacks: &'static [&'static str],
    /// The cost of one call, in units of a plain call.
    pub cost: u32,
    /// The capability that a script must be granted to call it.
    pub capability: Option<&'static str>,
    /// The part that it plays in a class; `None` for a function of a module.
    pub member: Option<ClassMember>,
    /// The host's context type it belongs to.
    pub context: ContextType,
    /// Whether it takes the context, and so cannot be called without one.
    pub needs_context: bool,
    /// Whether it waits: the interpreter's lock is released and the call's clock stands while it runs. It has no typed entry.
    pub blocking: bool,
    /// The source file of the function.
    pub file: &'static str,
    /// Its line.
    pub line: u32,
    /// The generic entry.
    pub thunk: Thunk,
    /// The typed entry, if the signature has a shape.
    pub typed: Option<Typed>,
}

impl ExportDef {
    /// Returns whether scripts call it by its name in its module: a function, and of a class all but properties and operators.
    #[must_use]
    pub fn is_function(&self) -> bool {
        self.member.is_none_or(|member| matches!(member.role, Role::Static | Role::Method))
    }

    /// Returns the least number of arguments.
    #[must_use]
    pub fn min_args(&self) -> usize {
        self.params.iter().rposition(|p| !p.optional && !p.variadic).map_or(0, |i| i + 1)
    }

    /// Returns the most arguments; `None` if the last parameter is variadic.
    #[must_use]
    pub fn max_args(&self) -> Option<usize> {
        match self.params.last() {
            Some(last) if last.variadic => None,
            _ => Some(self.params.len()),
        }
    }
}

/// One parameter of an export.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct Param {
    /// The name in the Rust function.
    pub name: &'static str,
    /// The type.
    #[serde(rename = "type")]
    pub ty: Type,
    /// Whether it may be left out.
    pub optional: bool,
    /// Whether it takes all remaining arguments.
    pub variadic: bool,
}

/// The deprecation of an export.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct Deprecated {
    /// The version since which it is deprecated.
    pub since: &'static str,
    /// The replacement.
    #[serde(rename = "use")]
    pub instead: &'static str,
}

/// The host's context type of an export; [`NoContext`] for functions that belong to any host.
#[derive(Clone, Copy)]
pub struct ContextType {
    id: TypeId,
    name: fn() -> &'static str,
}

impl ContextType {
    /// Describes the type `C`.
    #[must_use]
    pub const fn of<C: 'static>() -> ContextType {
        ContextType { id: TypeId::of::<C>(), name: std::any::type_name::<C> }
    }

    /// Returns the type's identity.
    #[must_use]
    pub fn id(&self) -> TypeId {
        self.id
    }

    /// Returns the type's name, for messages.
    #[must_use]
    pub fn name(&self) -> &'static str {
        (self.name)()
    }
}

impl fmt::Debug for ContextType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The context of an export that takes none.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoContext;
