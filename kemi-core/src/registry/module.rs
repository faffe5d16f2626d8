//! The modules of a registry as scripts see them: a tree with functions and constants.

use std::collections::BTreeMap;
use std::ops::Range;

use super::table::Export;
use crate::export::ConstantDef;
use crate::value::{Map, Value};

/// One module as scripts see it: its functions, its constants and the modules within it.
///
/// [`RegistryData::module`](super::RegistryData::module) returns the root, from which engines bind all others.
#[derive(Debug)]
pub struct Module {
    path: String,
    exports: Range<usize>,
    constants: Vec<Constant>,
    modules: Vec<Module>,
}

/// A constant as scripts see it.
#[derive(Clone, Debug)]
pub struct Constant {
    def: &'static ConstantDef,
    value: Value,
}

/// What a path below the root object stands for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Member<'a> {
    /// A function, and the number of names that lead to it.
    Export(&'a Export, usize),
    /// A constant, or something within it.
    Constant,
    /// A module.
    Module,
    /// A name that the module of this path does not have.
    Unknown(&'a str, &'a str),
}

/// What a path below the root object leads to, if names stand in it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Scope<'a> {
    Module(&'a Module),
    /// A constant that is a map, or a map within one.
    Names(&'a Map),
}

impl<'a> Scope<'a> {
    /// Returns the names in it.
    pub(super) fn names(self, exports: &'a [Export]) -> Vec<&'a str> {
        match self {
            Scope::Module(module) => module.names(exports),
            Scope::Names(map) => map.keys().filter_map(|key| std::str::from_utf8(key).ok()).collect(),
        }
    }

    /// Returns what scripts look for in it.
    pub(super) fn member(self) -> &'static str {
        match self {
            Scope::Module(_) => "function",
            Scope::Names(_) => "constant",
        }
    }
}

impl Module {
    /// Builds the tree of modules from those that have something of their own.
    pub(super) fn tree(exports: &BTreeMap<&'static str, Range<usize>>, constants: Vec<Constant>) -> Module {
        let mut root = Module::new(String::new());
        for (path, range) in exports {
            root.at(path).exports = range.clone();
        }
        for constant in constants {
            root.at(constant.def.module).constants.push(constant);
        }
        root
    }

    fn new(path: String) -> Module {
        Module { path, exports: 0..0, constants: Vec::new(), modules: Vec::new() }
    }

    /// Finds or adds the module of a path below this one, the root.
    fn at(&mut self, path: &str) -> &mut Module {
        let mut module = self;
        let mut end = 0;
        for name in path.split('.').filter(|name| !name.is_empty()) {
            end += name.len() + usize::from(end > 0);
            let own = path.get(..end).unwrap_or(path);
            let index = match module.modules.iter().position(|child| child.name() == name) {
                Some(index) => index,
                None => {
                    module.modules.push(Module::new(own.to_owned()));
                    module.modules.len() - 1
                }
            };
            module = &mut module.modules[index];
        }
        module
    }

    /// Returns the module's own name, the last part of its path; empty for the root.
    #[must_use]
    pub fn name(&self) -> &str {
        self.path.rsplit('.').next().unwrap_or_default()
    }

    /// Returns the path below the root object, such as `http.client`; empty for the root.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns the positions of its functions in [`RegistryData::exports`](super::RegistryData::exports).
    #[must_use]
    pub fn exports(&self) -> Range<usize> {
        self.exports.clone()
    }

    /// Returns its constants.
    #[must_use]
    pub fn constants(&self) -> &[Constant] {
        &self.constants
    }

    /// Returns the modules within it.
    #[must_use]
    pub fn modules(&self) -> &[Module] {
        &self.modules
    }

    /// Visits the module and all within it, outer ones first.
    pub fn walk<'m>(&'m self, visit: &mut dyn FnMut(&'m Module)) {
        visit(self);
        self.modules.iter().for_each(|module| module.walk(visit));
    }

    /// Finds the scope of a path; the root's is empty.
    pub(super) fn scope(&self, path: &str) -> Option<Scope<'_>> {
        let mut scope = Scope::Module(self);
        for name in path.split('.').filter(|name| !name.is_empty()) {
            let value = match scope {
                Scope::Module(module) => {
                    if let Some(child) = module.modules.iter().find(|child| child.name() == name) {
                        scope = Scope::Module(child);
                        continue;
                    }
                    &module.constants.iter().find(|constant| constant.def.name == name)?.value
                }
                Scope::Names(map) => map.get(name.as_bytes())?,
            };
            scope = Scope::Names(value.as_map()?);
        }
        Some(scope)
    }

    /// Returns the names in it.
    pub(super) fn names<'a>(&'a self, exports: &'a [Export]) -> Vec<&'a str> {
        let functions = exports.get(self.exports.clone()).unwrap_or(&[]).iter().map(|export| export.def().name);
        let constants = self.constants.iter().map(|constant| constant.def.name);
        functions.chain(constants).chain(self.modules.iter().map(Module::name)).collect()
    }

    /// Finds what a path stands for.
    pub(super) fn find<'a>(&'a self, all: &'a [Export], path: &'a [String]) -> Member<'a> {
        let mut module = self;
        for (i, name) in path.iter().enumerate() {
            if let Some(child) = module.modules.iter().find(|child| child.name() == name) {
                module = child;
                continue;
            }
            let exports = all.get(module.exports.clone()).unwrap_or(&[]);
            if let Ok(at) = exports.binary_search_by(|export| export.def().name.cmp(name))
                && let Some(export) = exports.get(at)
            {
                return Member::Export(export, i + 1);
            }
            if module.constants.iter().any(|constant| constant.def.name == name) {
                return Member::Constant;
            }
            return Member::Unknown(&module.path, name);
        }
        Member::Module
    }
}

impl Constant {
    pub(super) fn new(def: &'static ConstantDef) -> Constant {
        Constant { value: (def.value)(), def }
    }

    /// Returns the description.
    #[must_use]
    pub fn def(&self) -> &'static ConstantDef {
        self.def
    }

    /// Returns the value; the names of an enum are a map.
    #[must_use]
    pub fn value(&self) -> &Value {
        &self.value
    }
}
