//! Checks of a registry: declarations that contradict each other, and names that a script cannot use.

use std::any::TypeId;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::panic::Location;

use super::language::{NameRole, Reserved};
use crate::abi::Kind;
use crate::callback::{CallbackKind, Callbacks};
use crate::export::{ExportDef, NoContext};

/// The name of the root object, a module, an export or a callback.
struct Name<'a> {
    /// The name.
    text: &'a str,
    /// The bearer of the name, for a message: `module 'm' (src/m.rs:7)`.
    owner: String,
    role: NameRole,
}

/// Notes contradictions between an export's description and its entries; callers trust the description.
pub(super) fn export(def: &ExportDef, mistakes: &mut Vec<String>) {
    let mut wrong = |what: fmt::Arguments<'_>| mistakes.push(format!("{} {what}", owner(def)));
    let none = TypeId::of::<NoContext>();
    for (entry, context) in
        [("generic", Some(def.thunk.context())), ("typed", def.typed.as_ref().map(|typed| typed.context()))]
    {
        let Some(context) = context else { continue };
        let takes = context.id() != none;
        if takes && context.id() != def.context.id() {
            let (owner, taken) = (def.context.name(), context.name());
            wrong(format_args!("belongs to the context '{owner}', but its {entry} entry takes '{taken}'"));
        } else if takes && !def.needs_context {
            wrong(format_args!("says that it needs no context, but its {entry} entry takes one"));
        } else if !takes && def.needs_context {
            wrong(format_args!("says that it needs the context, but its {entry} entry takes none"));
        }
    }
    if let Some(typed) = def.typed {
        let shape = typed.shape();
        if !shape.params().eq(def.params.iter().map(|param| if param.variadic { Kind::Any } else { param.ty.kind() })) {
            let types: Vec<String> = def.params.iter().map(|param| param.ty.to_string()).collect();
            wrong(format_args!("has the parameters ({}), but its typed entry takes {shape:?}", types.join(", ")));
        }
        // An owned result can be of any type.
        if shape.result() != Kind::Any && shape.result() != def.returns.kind() {
            wrong(format_args!("returns {}, but its typed entry gives {shape:?}", def.returns));
        }
    }
    let last = def.params.len().saturating_sub(1);
    let needed = def.params.iter().rposition(|param| !param.optional && !param.variadic).unwrap_or(0);
    for (i, param) in def.params.iter().enumerate() {
        if param.variadic && i != last {
            wrong(format_args!("has '{}', which takes all remaining arguments, before its last parameter", param.name));
        } else if param.optional && i < needed {
            wrong(format_args!("has the optional parameter '{}' before one that must be given", param.name));
        }
    }
}

/// Notes exports of one name, and functions of the root that have the name of a module.
///
/// The exports are sorted by module and name.
pub(super) fn twice(exports: &[&'static ExportDef], mistakes: &mut Vec<String>) {
    for pair in exports.windows(2) {
        if let [a, b] = pair
            && (a.module, a.name) == (b.module, b.name)
        {
            mistakes.push(format!("'{}' is exported twice: at {} and at {}", path(a), place(a), place(b)));
        }
    }
}

/// Notes functions of the root that have the name of a visible module, of which scripts could reach only one.
pub(super) fn functions_or_modules(exports: &[&'static ExportDef], mistakes: &mut Vec<String>) {
    let mut modules: BTreeMap<&str, &ExportDef> = BTreeMap::new();
    for def in exports.iter().filter(|def| !def.module.is_empty()) {
        modules.entry(def.module).or_insert(def);
    }
    for function in exports.iter().filter(|def| def.module.is_empty()) {
        if let Some(first) = modules.get(function.name) {
            mistakes.push(format!(
                "'{}' is both a function of the root object ({}) and a module (with '{}' at {})",
                function.name,
                place(function),
                first.name,
                place(first)
            ));
        }
    }
}

/// Notes callbacks that are declared twice: a host that asks by name would get whichever came first.
pub(super) fn callbacks(callbacks: &Callbacks, mistakes: &mut Vec<String>) {
    let mut known: BTreeMap<(bool, &str), &Location<'_>> = BTreeMap::new();
    for (decl, place) in callbacks.declared() {
        let named = decl.presence == CallbackKind::Named;
        let name = if named { &decl.route } else { &decl.name };
        if let Some(first) = known.get(&(named, name.as_str())) {
            let what = if named { "the route of callbacks named at run time" } else { "the callback" };
            mistakes.push(format!("{what} '{name}' is declared twice: at {} and at {}", line(first), line(place)));
        } else {
            known.insert((named, name), place);
        }
    }
}

/// Notes names that a script of one of the languages cannot write, or cannot use without losing what its language has
/// under them.
pub(super) fn names<'a>(
    root: &str,
    exports: impl Iterator<Item = &'a ExportDef>,
    callbacks: &Callbacks,
    languages: &[(&str, &Reserved)],
    mistakes: &mut Vec<String>,
) {
    if root.is_empty() {
        mistakes.push("the root object has no name: give it one by `RegistryBuilder::root`".to_owned());
    }
    let mut names = vec![Name { text: root, owner: format!("the root object '{root}'"), role: NameRole::Root }];
    let mut modules = BTreeSet::new();
    for def in exports {
        if !def.module.is_empty() && modules.insert(def.module) {
            let owner = format!("the module '{}' ({})", def.module, place(def));
            names.push(Name { text: def.module, owner, role: NameRole::Member });
        }
        names.push(Name { text: def.name, owner: owner(def), role: NameRole::Member });
    }
    for (decl, place) in callbacks.declared().filter(|(decl, _)| decl.presence != CallbackKind::Named) {
        let owner = format!("the callback '{}' ({})", decl.name, line(place));
        if decl.name == root {
            mistakes.push(format!("{owner} has the name of the root object"));
        }
        names.push(Name { text: &decl.name, owner, role: NameRole::Callback });
    }
    for name in names.iter().filter(|name| !(name.role == NameRole::Root && name.text.is_empty())) {
        if !is_identifier(name.text) {
            mistakes.push(format!(
                "{} is no name that scripts can write: that has ASCII letters, digits and `_`, and does not begin with a \
                 digit",
                name.owner
            ));
            continue;
        }
        for (language, reserved) in languages {
            if let Some(meaning) = reserved(name.text, name.role) {
                mistakes.push(format!("{}: '{}' is {meaning} in {}", name.owner, name.text, language));
            }
        }
    }
}

/// Returns whether every language can write a name, keywords aside.
fn is_identifier(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|first| first == b'_' || first.is_ascii_alphabetic())
        && bytes.all(|byte| byte == b'_' || byte.is_ascii_alphanumeric())
}

/// Names an export with its place, for messages.
fn owner(def: &ExportDef) -> String {
    format!("'{}' ({})", path(def), place(def))
}

/// Returns the path of an export below the root object.
fn path(def: &ExportDef) -> String {
    let ExportDef { module, name, .. } = def;
    if module.is_empty() { (*name).to_owned() } else { format!("{module}.{name}") }
}

fn place(def: &ExportDef) -> String {
    format!("{}:{}", def.file, def.line)
}

fn line(place: &Location<'_>) -> String {
    format!("{}:{}", place.file(), place.line())
}
