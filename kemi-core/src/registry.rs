//! The typed, integer-indexed table of everything a script may call.

use std::any::TypeId;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use serde::Serialize;

use crate::callback::{CallbackDecl, CallbackId, CallbackNames, Callbacks, RouteId, Stamp};
use crate::checks;
use crate::engine::{Engine, engines};
use crate::error::{ErrorCode, Place, ScriptError};
use crate::export::{ContextType, EXPORTS, ExportDef, NoContext};
use crate::insight::Insight;
use crate::limits::Limits;
use crate::metrics::Hub;
use crate::policy::Policy;
use crate::suggest::nearest;
use crate::throttle::Throttle;

/// The bit of an [`Export::gate`] that stands for "while no callback runs".
pub(crate) const IDLE_GATE: u64 = 1 << 63;

/// The exports and callbacks of one host whose context type is `C`.
///
/// Cheap to clone; all clones are the same table.
pub struct Registry<C: 'static> {
    inner: Arc<RegistryData>,
    context: PhantomData<fn(&mut C)>,
}

impl<C: 'static> Registry<C> {
    /// Starts to build a registry.
    #[must_use]
    pub fn builder() -> RegistryBuilder<C> {
        RegistryBuilder {
            root: "KSR".to_owned(),
            all: false,
            modules: BTreeSet::new(),
            callbacks: Callbacks::new(),
            policy: Policy::Strict,
            limits: Limits::default(),
            insight: Insight::default(),
            enable_hint: "enable the module in the host".to_owned(),
            context: PhantomData,
        }
    }

    /// Returns the part that does not depend on the context's type.
    #[must_use]
    pub fn data(&self) -> &Arc<RegistryData> {
        &self.inner
    }
}

impl<C: 'static> Clone for Registry<C> {
    fn clone(&self) -> Self {
        Registry { inner: self.inner.clone(), context: PhantomData }
    }
}

impl<C: 'static> std::ops::Deref for Registry<C> {
    type Target = RegistryData;
    fn deref(&self) -> &RegistryData {
        &self.inner
    }
}

impl<C: 'static> fmt::Debug for Registry<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

/// Builds a [`Registry`].
#[derive(Debug)]
pub struct RegistryBuilder<C: 'static> {
    root: String,
    all: bool,
    modules: BTreeSet<String>,
    callbacks: Callbacks,
    policy: Policy,
    limits: Limits,
    insight: Insight,
    enable_hint: String,
    context: PhantomData<fn(&mut C)>,
}

impl<C: 'static> RegistryBuilder<C> {
    /// Names the object that scripts see; `KSR` by default.
    #[must_use]
    pub fn root(mut self, name: &str) -> Self {
        name.clone_into(&mut self.root);
        self
    }

    /// Makes a module visible to scripts; the empty name is the root.
    #[must_use]
    pub fn module(mut self, name: &str) -> Self {
        self.modules.insert(name.to_owned());
        self
    }

    /// Makes every module of this context visible.
    ///
    /// A module whose functions all take no context belongs to no host in particular and is included; name the
    /// modules one by one where two hosts in one program must not share them.
    #[must_use]
    pub fn all_modules(mut self) -> Self {
        self.all = true;
        self
    }

    /// Sets the callback table.
    #[must_use]
    pub fn callbacks(mut self, callbacks: Callbacks) -> Self {
        self.callbacks = callbacks;
        self
    }

    /// Sets what happens on a bad argument; [`Policy::Strict`] by default.
    #[must_use]
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// Sets how much a callback may use; [`Limits::default`] by default.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets what is measured of calls, and which are logged as slow; [`Insight::default`] by default.
    #[must_use]
    pub fn insight(mut self, insight: Insight) -> Self {
        self.insight = insight;
        self
    }

    /// Says how an operator enables a module, for error messages; `{module}` stands for its name.
    #[must_use]
    pub fn enable_hint(mut self, hint: &str) -> Self {
        hint.clone_into(&mut self.enable_hint);
        self
    }

    /// Collects, checks and sorts the exports.
    ///
    /// # Errors
    /// All mistakes at once:
    /// - two exports of one name, a function of the root and a module of one name, two callbacks of one name;
    /// - an enabled module that does not exist, an export that names a route the host has not declared;
    /// - an export whose entries take another context or other parameters than its description says;
    /// - a name of the root object, a module, an export or a callback that is no identifier, or that means something else
    ///   in the language of a linked engine ([`Engine::reserved`]).
    pub fn build(self) -> Result<Registry<C>, RegistryError> {
        let mut mistakes = Vec::new();
        let known = own_exports::<C>(&mut mistakes);
        let known_modules: BTreeSet<&'static str> = known.iter().map(|def| def.module).collect();

        for module in &self.modules {
            // The root always exists, even where nothing is exported to it.
            if !module.is_empty() && !known_modules.contains(module.as_str()) {
                mistakes.push(unknown_module(module, &known_modules));
            }
        }
        let enabled = |module: &str| self.all || self.modules.contains(module) || module == crate::control::MODULE;

        let visible: Vec<&'static ExportDef> = known.iter().copied().filter(|def| enabled(def.module)).collect();
        checks::functions_or_modules(&visible, &mut mistakes);
        checks::callbacks(&self.callbacks, &mut mistakes);
        let engines: Vec<&dyn Engine> = engines().into_iter().map(|engine| engine as &dyn Engine).collect();
        checks::names(&self.root, visible.iter().copied(), &self.callbacks, &engines, &mut mistakes);

        let mut exports = Vec::new();
        for def in visible {
            let gate = gate(def, &self.callbacks, &mut mistakes);
            let index = u32::try_from(exports.len()).unwrap_or(u32::MAX);
            exports.push(Export { index, def, gate, stamp: self.callbacks.stamp() });
        }
        if !mistakes.is_empty() {
            return Err(RegistryError { mistakes });
        }

        let mut modules: BTreeMap<&'static str, std::ops::Range<usize>> = BTreeMap::new();
        for (i, export) in exports.iter().enumerate() {
            modules.entry(export.def.module).or_insert(i..i).end = i + 1;
        }
        let disabled = known_modules.into_iter().filter(|m| !m.is_empty() && !enabled(m)).collect();
        let inner = RegistryData {
            root: self.root,
            context: ContextType::of::<C>(),
            names: CallbackNames::new(&self.callbacks),
            callbacks: self.callbacks,
            policy: self.policy,
            limits: self.limits,
            insight: self.insight,
            hub: Hub::new(exports.len()),
            slow: Throttle::default(),
            enable_hint: self.enable_hint,
            exports: exports.into(),
            modules,
            disabled,
        };
        Ok(Registry { inner: Arc::new(inner), context: PhantomData })
    }
}

/// Returns the exports of context `C` and of no context, sorted by module and name.
fn own_exports<C: 'static>(mistakes: &mut Vec<String>) -> Vec<&'static ExportDef> {
    let ids = [TypeId::of::<C>(), TypeId::of::<NoContext>()];
    let mut own: Vec<&'static ExportDef> = EXPORTS.iter().filter(|def| ids.contains(&def.context.id())).collect();
    own.sort_by_key(|def| (def.module, def.name));
    for def in &own {
        checks::export(def, mistakes);
    }
    checks::twice(&own, mistakes);
    own
}

fn unknown_module(module: &str, known: &BTreeSet<&'static str>) -> String {
    match nearest(module, known.iter().copied()) {
        Some(near) => format!("there is no module '{module}'; did you mean '{near}'?"),
        None => {
            let list: Vec<&str> = known.iter().copied().filter(|m| !m.is_empty()).collect();
            format!(
                "there is no module '{module}'; linked modules: {} (a crate that is never mentioned is not linked: \
                 call its `link()`)",
                list.join(", ")
            )
        }
    }
}

fn gate(def: &ExportDef, callbacks: &Callbacks, mistakes: &mut Vec<String>) -> u64 {
    if def.callbacks.is_empty() {
        return u64::MAX;
    }
    let mut gate = 0;
    for name in def.callbacks {
        match callbacks.route(name) {
            Some(route) => gate |= route.bit(),
            None => mistakes.push(format!(
                "'{}' ({}:{}) may be called in route '{name}', which the host does not declare; declared: {}",
                script_name("", def),
                def.file,
                def.line,
                callbacks.route_names().join(", ")
            )),
        }
    }
    gate
}

fn script_name(root: &str, def: &ExportDef) -> String {
    [root, def.module, def.name].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(".")
}

/// What is wrong with the exports linked into a program; each mistake is one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryError {
    mistakes: Vec<String>,
}

impl RegistryError {
    /// Returns the mistakes.
    #[must_use]
    pub fn mistakes(&self) -> &[String] {
        &self.mistakes
    }
}

impl fmt::Display for RegistryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the registry of exports is unsound: {}", self.mistakes.join("; "))
    }
}

impl std::error::Error for RegistryError {}

/// What was slow: a callback, or the export that it called at a place.
pub(crate) type Slow = (Option<CallbackId>, Option<(u32, Option<Place>)>);

/// A [`Registry`] without its context type: what engines work with.
#[derive(Debug)]
pub struct RegistryData {
    root: String,
    context: ContextType,
    callbacks: Callbacks,
    names: CallbackNames,
    policy: Policy,
    limits: Limits,
    insight: Insight,
    hub: Arc<Hub>,
    slow: Throttle<Slow>,
    enable_hint: String,
    exports: Box<[Export]>,
    modules: BTreeMap<&'static str, std::ops::Range<usize>>,
    disabled: BTreeSet<&'static str>,
}

/// One export with its place in a registry.
///
/// Only a registry makes one, and only its own runtimes call it.
#[derive(Clone, Debug)]
pub struct Export {
    index: u32,
    def: &'static ExportDef,
    /// A bit for each route it may be called in.
    gate: u64,
    stamp: Stamp,
}

impl Export {
    /// Returns the dense index: the position after sorting by module and name. It is stable within one build, not across
    /// versions.
    #[must_use]
    #[inline]
    pub fn index(&self) -> u32 {
        self.index
    }

    /// Returns the description.
    #[must_use]
    #[inline]
    pub fn def(&self) -> &'static ExportDef {
        self.def
    }

    #[inline]
    pub(crate) fn gate(&self) -> u64 {
        self.gate
    }

    pub(crate) fn stamp(&self) -> Stamp {
        self.stamp
    }
}

impl RegistryData {
    /// Returns the name of the object that scripts see.
    #[must_use]
    pub fn root(&self) -> &str {
        &self.root
    }

    /// Returns the host's context type.
    #[must_use]
    pub fn context(&self) -> ContextType {
        self.context
    }

    /// Returns what happens on a bad argument.
    #[must_use]
    pub fn policy(&self) -> Policy {
        self.policy
    }

    /// Returns how much a callback may use.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Returns what is measured of calls.
    #[must_use]
    pub fn insight(&self) -> &Insight {
        &self.insight
    }

    pub(crate) fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    pub(crate) fn slow(&self) -> &Throttle<Slow> {
        &self.slow
    }

    /// Returns all exports by index.
    #[must_use]
    pub fn exports(&self) -> &[Export] {
        &self.exports
    }

    /// Iterates over the visible modules with their exports; the root's name is empty.
    pub fn modules(&self) -> impl Iterator<Item = (&'static str, &[Export])> {
        self.modules.iter().map(|(&name, range)| (name, self.exports.get(range.clone()).unwrap_or(&[])))
    }

    /// Iterates over the modules that are linked but not enabled.
    pub fn disabled_modules(&self) -> impl Iterator<Item = &'static str> {
        self.disabled.iter().copied()
    }

    /// Finds an export.
    #[must_use]
    pub fn find(&self, module: &str, name: &str) -> Option<&Export> {
        let exports = self.exports.get(self.modules.get(module)?.clone())?;
        exports.binary_search_by(|export| export.def.name.cmp(name)).ok().and_then(|i| exports.get(i))
    }

    /// Returns an export's full name in scripts, such as `KSR.pv.get`.
    #[must_use]
    pub fn script_name(&self, export: &ExportDef) -> String {
        script_name(&self.root, export)
    }

    /// Finds a declared callback by its function name.
    #[must_use]
    pub fn callback(&self, name: &str) -> Option<CallbackId> {
        let i = self.callbacks.ids.iter().position(|(_, n)| &**n == name)?;
        Some(CallbackId::new(i, self.stamp()))
    }

    /// Finds a route by its name.
    #[must_use]
    pub fn route(&self, name: &str) -> Option<RouteId> {
        self.callbacks.route(name)
    }

    /// Returns a route's name.
    #[must_use]
    pub fn route_name(&self, route: RouteId) -> &str {
        self.callbacks.route_name(route)
    }

    /// Returns the callback table.
    #[must_use]
    pub fn callbacks(&self) -> &[CallbackDecl] {
        &self.callbacks.decls
    }

    pub(crate) fn declared_callbacks(&self) -> impl Iterator<Item = (CallbackId, &str)> {
        self.callbacks.ids.iter().enumerate().map(|(i, (_, n))| (CallbackId::new(i, self.stamp()), &**n))
    }

    pub(crate) fn names(&self) -> &CallbackNames {
        &self.names
    }

    /// Returns what tells the ids of this registry from those of others.
    pub(crate) fn stamp(&self) -> Stamp {
        self.callbacks.stamp()
    }

    /// Returns a callback's function name.
    #[must_use]
    pub fn callback_name(&self, id: CallbackId) -> Option<Arc<str>> {
        self.names.get(id).map(|(_, name)| name)
    }

    /// Explains why a script cannot use a name: `function` in `module`, or the module itself when `function` is `None`.
    ///
    /// Tells apart a module that is linked but not enabled, a name that is nearly right, and nonsense.
    #[must_use]
    pub fn explain_unknown(&self, module: &str, function: Option<&str>) -> ScriptError {
        let (message, hint) = match function {
            Some(function) if self.modules.contains_key(module) => {
                let path =
                    [self.root.as_str(), module].into_iter().filter(|p| !p.is_empty()).collect::<Vec<_>>().join(".");
                let near = nearest(function, self.functions_of(module))
                    .map(|near| format!("{path}.{near}"))
                    .or_else(|| self.same_function_elsewhere(function));
                (format!("there is no function {path}.{function}"), near)
            }
            _ if self.disabled.contains(module) => {
                let hint = self.enable_hint.replace("{module}", module);
                let message = format!("module {}.{module} is not enabled", self.root);
                return ScriptError::new(ErrorCode::UnknownFunction, message).with_hint(hint);
            }
            _ => {
                let names = self.modules.keys().copied().chain(self.disabled_modules()).chain(self.functions_of(""));
                let near = nearest(module, names.filter(|n| !n.is_empty())).map(|near| format!("{}.{near}", self.root));
                (format!("there is no module or function {}.{module}", self.root), near)
            }
        };
        let error = ScriptError::new(ErrorCode::UnknownFunction, message);
        match near_hint(hint) {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    }

    fn functions_of(&self, module: &str) -> impl Iterator<Item = &'static str> {
        let range = self.modules.get(module).cloned().unwrap_or(0..0);
        self.exports.get(range).unwrap_or(&[]).iter().map(|export| export.def.name)
    }

    fn same_function_elsewhere(&self, function: &str) -> Option<String> {
        self.exports.iter().find(|e| e.def.name == function).map(|e| self.script_name(e.def))
    }

    /// Checks the names of everything in the registry against an engine that may not be among the linked ones, which
    /// [`RegistryBuilder::build`] has asked.
    pub(crate) fn check_names(&self, engine: &dyn Engine) -> Result<(), ScriptError> {
        if engines().iter().any(|linked| linked.name() == engine.name()) {
            return Ok(());
        }
        let mut mistakes = Vec::new();
        let exports = self.exports.iter().map(|export| export.def);
        checks::names(&self.root, exports, &self.callbacks, &[engine], &mut mistakes);
        if mistakes.is_empty() { Ok(()) } else { Err(ScriptError::new(ErrorCode::ReservedName, mistakes.join("; "))) }
    }

    /// Writes everything the registry knows as JSON: `version`, `root`, `context`, `policy`, `limits`, `modules`, `disabled`,
    /// `callbacks` and `exports` by index.
    ///
    /// Within one `version` fields are only added.
    #[must_use]
    pub fn dump(&self) -> serde_json::Value {
        let exports: Vec<_> = self.exports.iter().map(|export| ExportDump::new(self, export)).collect();
        serde_json::json!({
            "version": 1,
            "root": self.root,
            "context": self.context.name(),
            "policy": self.policy,
            "limits": self.limits,
            "modules": self.modules.keys().filter(|m| !m.is_empty()).collect::<Vec<_>>(),
            "disabled": self.disabled,
            "callbacks": self.callbacks.decls,
            "exports": exports,
        })
    }
}

fn near_hint(near: Option<String>) -> Option<String> {
    near.map(|near| format!("did you mean {near}?"))
}

#[derive(Serialize)]
struct ExportDump<'a> {
    index: u32,
    module: &'a str,
    name: &'a str,
    script_name: String,
    doc: &'a str,
    params: &'a [crate::export::Param],
    returns: crate::types::Type,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deprecated: Option<crate::export::Deprecated>,
    callbacks: &'a [&'static str],
    cost: u32,
    needs_context: bool,
    shape: Option<String>,
    file: &'a str,
    line: u32,
}

impl<'a> ExportDump<'a> {
    fn new(registry: &RegistryData, export: &Export) -> ExportDump<'a> {
        let def = export.def;
        ExportDump {
            index: export.index,
            module: def.module,
            name: def.name,
            script_name: registry.script_name(def),
            doc: def.doc,
            params: def.params,
            returns: def.returns,
            since: def.since,
            deprecated: def.deprecated,
            callbacks: def.callbacks,
            cost: def.cost,
            needs_context: def.needs_context,
            shape: def.typed.map(|typed| format!("{:?}", typed.shape())),
            file: def.file,
            line: def.line,
        }
    }
}
