//! Checks of a registry: declarations that contradict each other, and names that a script cannot use.

use std::any::TypeId;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::panic::Location;

use super::language::{NameRole, Reserved};
use crate::abi::Kind;
use crate::callback::{CallbackKind, Callbacks};
use crate::error::nearest;
use crate::export::{ConstantDef, ContextType, ExportDef, HostClosure, NoContext};

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
    if def.blocking && def.typed.is_some() {
        wrong(format_args!("waits, but has a typed entry, in which the interpreter's lock would not be released"));
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

/// Notes constants of one name.
///
/// They are sorted by module and name.
pub(super) fn constants_twice(constants: &[&'static ConstantDef], mistakes: &mut Vec<String>) {
    for pair in constants.windows(2) {
        if let [a, b] = pair
            && (a.module, a.name) == (b.module, b.name)
        {
            let (path, a, b) = (joined(a.module, a.name), constant_place(a), constant_place(b));
            mistakes.push(format!("the constant '{path}' is exported twice: at {a} and at {b}"));
        }
    }
}

/// Notes names that stand for two things, of which scripts could reach only one: functions, constants and modules.
pub(super) fn one_meaning(
    exports: &[&'static ExportDef],
    constants: &[&'static ConstantDef],
    mistakes: &mut Vec<String>,
) {
    let mut modules: BTreeMap<&str, (&str, String)> = BTreeMap::new();
    let functions = exports.iter().map(|def| (def.module, def.name, place(def)));
    let members = functions.chain(constants.iter().map(|def| (def.module, def.name, constant_place(def))));
    for (module, name, place) in members.filter(|(module, ..)| !module.is_empty()) {
        let ends = module.match_indices('.').map(|(end, _)| end).chain([module.len()]);
        for end in ends {
            let outer = module.get(..end).unwrap_or(module);
            modules.entry(outer).or_insert((name, place.clone()));
        }
    }
    for function in exports {
        let of = if function.module.is_empty() { "a function of the root object" } else { "a function" };
        if let Some((first, at)) = modules.get(path(function).as_str()) {
            let (path, place) = (path(function), place(function));
            mistakes.push(format!("'{path}' is both {of} ({place}) and a module (with '{first}' at {at})"));
        }
    }
    for constant in constants {
        let (path, place) = (joined(constant.module, constant.name), constant_place(constant));
        if let Some((first, at)) = modules.get(path.as_str()) {
            mistakes.push(format!("'{path}' is both a constant ({place}) and a module (with '{first}' at {at})"));
        }
        let same = exports.iter().find(|def| (def.module, def.name) == (constant.module, constant.name));
        if let Some(function) = same {
            let function = self::place(function);
            mistakes.push(format!("'{path}' is both a constant ({place}) and a function ({function})"));
        }
    }
}

/// Notes granted capabilities that no export needs: a name that is misspelt would grant nothing.
pub(super) fn capabilities<'a>(
    granted: impl Iterator<Item = &'a String>,
    exports: &[&'static ExportDef],
    mistakes: &mut Vec<String>,
) {
    let known: BTreeSet<&str> = exports.iter().filter_map(|def| def.capability).collect();
    for name in granted.filter(|name| !known.contains(name.as_str())) {
        let advice = match nearest(name, known.iter().copied()) {
            Some(near) => format!("did you mean '{near}'?"),
            None => format!("exports need: {}", known.iter().copied().collect::<Vec<_>>().join(", ")),
        };
        mistakes.push(format!("no export needs the capability '{name}', which is granted; {advice}"));
    }
}

/// Notes closures that name another number of parameters than they take.
pub(super) fn closures(closures: &[HostClosure], mistakes: &mut Vec<String>) {
    for HostClosure { def, .. } in closures {
        if def.params.iter().any(|param| param.name.is_empty()) {
            let count = def.params.len();
            mistakes.push(format!("{} takes {count} parameter(s), and not each has a name", owner(def)));
        }
    }
}

/// Notes contexts that are lent twice, of which exports could get only one.
pub(super) fn parts(contexts: &[ContextType], mistakes: &mut Vec<String>) {
    for (i, context) in contexts.iter().enumerate() {
        if contexts.iter().take(i).any(|earlier| earlier.id() == context.id()) {
            mistakes.push(format!("the part '{}' is lent twice, or is the context itself", context.name()));
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
    constants: &[&'a ConstantDef],
    callbacks: &Callbacks,
    languages: &[(&str, &Reserved)],
    mistakes: &mut Vec<String>,
) {
    if root.is_empty() {
        mistakes.push("the root object has no name: give it one by `RegistryBuilder::root`".to_owned());
    }
    let mut names = vec![Name { text: root, owner: format!("the root object '{root}'"), role: NameRole::Root }];
    let mut modules = BTreeSet::new();
    let functions = exports.map(|def| (def.module, def.name, owner(def), place(def)));
    let constants = constants.iter().map(|def| {
        let place = constant_place(def);
        (def.module, def.name, format!("the constant '{}' ({place})", joined(def.module, def.name)), place)
    });
    for (module, name, owner, place) in functions.chain(constants) {
        if !module.is_empty() && modules.insert(module) {
            for part in module.split('.') {
                let owner = format!("the module '{module}' ({place})");
                names.push(Name { text: part, owner, role: NameRole::Member });
            }
        }
        names.push(Name { text: name, owner, role: NameRole::Member });
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
    joined(def.module, def.name)
}

/// Joins the names of a module and of something in it.
fn joined(module: &str, name: &str) -> String {
    if module.is_empty() { name.to_owned() } else { format!("{module}.{name}") }
}

fn constant_place(def: &ConstantDef) -> String {
    format!("{}:{}", def.file, def.line)
}

fn place(def: &ExportDef) -> String {
    format!("{}:{}", def.file, def.line)
}

fn line(place: &Location<'_>) -> String {
    format!("{}:{}", place.file(), place.line())
}
