//! The table of everything a script may call, typed and indexed by integers.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::Arc;

use super::builder::RegistryBuilder;
use super::checks;
use super::class::RegisteredClass;
use super::dialect::Dialect;
use super::dump;
use super::host_state::HostState;
use super::language::{Reserved, linked_languages};
use super::module::{Constant, Member, Module};
use super::part::Part;
use crate::callback::{CallbackDecl, CallbackId, Callbacks, Carried, RouteId, Stamp};
use crate::error::{ErrorCode, ScriptError, nearest};
use crate::export::{ContextType, ExportDef, Typed};
use crate::limits::{CallNames, Limits, Profile};
use crate::telemetry::TelemetryConfig;
use crate::value::ArgumentPolicy;

/// The bit of an [`Export::route_mask`] that stands for "while no callback runs".
pub(crate) const IDLE_ROUTE: u64 = 1 << 63;

/// The exports and callbacks of one host whose context type is `C`.
///
/// Cheap to clone; all clones are the same table.
pub struct Registry<C: 'static> {
    inner: Arc<RegistryData>,
    context: PhantomData<fn(&mut C)>,
}

impl<C: 'static> Registry<C> {
    /// Starts building a registry.
    #[must_use]
    pub fn builder() -> RegistryBuilder<C> {
        RegistryBuilder::new()
    }

    pub(super) fn new(data: RegistryData) -> Registry<C> {
        Registry { inner: Arc::new(data), context: PhantomData }
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

/// A [`Registry`] without its context type, for engines.
///
/// It does not change; counters and names given at run time are kept beside it.
#[derive(Debug)]
pub struct RegistryData {
    pub(super) root: String,
    pub(super) dialect: Dialect,
    pub(super) context: ContextType,
    pub(super) callbacks: Callbacks,
    pub(super) policy: ArgumentPolicy,
    pub(super) limits: Limits,
    pub(super) profile: Profile,
    pub(super) telemetry: TelemetryConfig,
    pub(super) enable_hint: String,
    /// What the scripts are granted; `None` for everything.
    pub(super) capabilities: Option<BTreeSet<String>>,
    pub(super) exports: Box<[Export]>,
    pub(super) modules: BTreeMap<&'static str, Range<usize>>,
    pub(super) tree: Module,
    pub(super) classes: Box<[RegisteredClass]>,
    pub(super) disabled: BTreeSet<&'static str>,
    pub(super) state: HostState,
}

/// One export with its place in a registry.
///
/// Only a registry makes one, and only its own runtimes call it.
#[derive(Clone, Debug)]
pub struct Export {
    index: u32,
    def: &'static ExportDef,
    /// A bit for each route it may be called in.
    route_mask: u64,
    stamp: Stamp,
    /// The part of the host's context that it takes, if it does not take the whole.
    part: Option<Part>,
    /// The closure that it is, if it is one.
    closure: Option<Arc<dyn Any + Send + Sync>>,
    /// Whether the scripts of this registry lack the capability that it needs. Its route mask is empty then.
    denied: bool,
}

impl Export {
    pub(super) fn new(index: u32, def: &'static ExportDef, route_mask: u64, stamp: Stamp) -> Export {
        Export { index, def, route_mask, stamp, part: None, closure: None, denied: false }
    }

    pub(super) fn with_part(self, part: Option<Part>) -> Export {
        Export { part, ..self }
    }

    pub(super) fn with_closure(self, closure: Option<Arc<dyn Any + Send + Sync>>) -> Export {
        Export { closure, ..self }
    }

    pub(super) fn denied(self) -> Export {
        Export { route_mask: 0, denied: true, ..self }
    }

    /// Returns the error for a script that lacks the capability which the export needs.
    pub(crate) fn check_capability(&self) -> Result<(), ScriptError> {
        let Some(capability) = self.def.capability.filter(|_| self.denied) else { return Ok(()) };
        let message = format!("needs the capability '{capability}', which this script is not granted");
        Err(ScriptError::new(ErrorCode::NotPermitted, message))
    }

    /// Returns the typed entry, if this export can be called by one.
    ///
    /// The functions of a library that take a part of the host's context have none.
    #[must_use]
    pub fn typed(&self) -> Option<Typed> {
        if self.part.is_some() { None } else { self.def.typed }
    }

    pub(crate) fn closure(&self) -> Option<&(dyn Any + Send + Sync)> {
        self.closure.as_deref()
    }

    /// Returns what the export takes as its context.
    ///
    /// # Safety
    /// `context` points to the context of the export's registry, which nothing else uses while the result is in use.
    #[inline]
    pub(crate) unsafe fn part_of(&self, context: *mut ()) -> *mut () {
        match &self.part {
            // SAFETY: the part was described for the registry's context.
            Some(part) if self.def.needs_context => unsafe { part.lend(context) },
            _ => context,
        }
    }

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
    pub(crate) fn route_mask(&self) -> u64 {
        self.route_mask
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

    /// Returns the conventions of scripts that were written for another program.
    #[must_use]
    pub fn dialect(&self) -> &Dialect {
        &self.dialect
    }

    /// Returns the host's context type.
    #[must_use]
    pub fn context(&self) -> ContextType {
        self.context
    }

    /// Returns the policy for bad arguments.
    #[must_use]
    pub fn policy(&self) -> ArgumentPolicy {
        self.policy
    }

    /// Returns the limits of a callback.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Returns what scripts may use of their language's own library.
    #[must_use]
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// Returns the measurements of calls.
    #[must_use]
    pub fn telemetry(&self) -> &TelemetryConfig {
        &self.telemetry
    }

    /// Returns the changing state beside the registry.
    pub(crate) fn state(&self) -> &HostState {
        &self.state
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

    /// Returns the root module, with all others in it.
    #[must_use]
    pub fn module(&self) -> &Module {
        &self.tree
    }

    /// Finds what a path below the root object stands for.
    pub(crate) fn member<'a>(&'a self, path: &'a [String]) -> Member<'a> {
        self.tree.find(&self.exports, path)
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

    /// Returns an export's full name in scripts, such as `app.counter.add`.
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

    /// Returns the route of functions that are called in none: they may use what is allowed everywhere.
    pub(crate) fn no_route(&self) -> RouteId {
        RouteId::none(self.stamp())
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

    /// Returns the callbacks that hand a script's state to its next version.
    pub(crate) fn carried(&self) -> Option<Carried> {
        self.callbacks.carried()
    }

    pub(crate) fn declared_callbacks(&self) -> impl Iterator<Item = (CallbackId, &str)> {
        self.callbacks.ids.iter().enumerate().map(|(i, (_, n))| (CallbackId::new(i, self.stamp()), &**n))
    }

    /// Returns the stamp that tells the ids of this registry from those of others.
    pub(crate) fn stamp(&self) -> Stamp {
        self.callbacks.stamp()
    }

    /// Returns a callback's function name.
    #[must_use]
    pub fn callback_name(&self, id: CallbackId) -> Option<Arc<str>> {
        self.state.names().get(id).map(|(_, name)| name)
    }

    /// Explains why a script cannot use a name: `function` in `module`, or the module itself when `function` is `None`.
    ///
    /// Tells apart a module that is linked but not enabled, a name that is nearly right, and nonsense.
    #[must_use]
    pub fn explain_unknown(&self, module: &str, function: Option<&str>) -> ScriptError {
        if let Some(module) = self.not_enabled(module, function) {
            let hint = self.enable_hint.replace("{module}", module);
            let message = format!("module {}.{module} is not enabled", self.root);
            return ScriptError::new(ErrorCode::UnknownFunction, message).with_hint(hint);
        }
        let (message, hint) = match (function, self.tree.scope(module)) {
            (Some(function), Some(scope)) => {
                let path =
                    [self.root.as_str(), module].into_iter().filter(|p| !p.is_empty()).collect::<Vec<_>>().join(".");
                let near = nearest(function, scope.names(&self.exports))
                    .map(|near| format!("{path}.{near}"))
                    .or_else(|| self.same_function_elsewhere(function));
                (format!("there is no {} {path}.{function}", scope.member()), near)
            }
            _ => {
                let mut names: Vec<&str> = self.disabled_modules().collect();
                self.tree.walk(&mut |module| names.push(module.path()));
                names.extend(self.tree.names(&self.exports));
                let names = names.into_iter().filter(|name| !name.is_empty());
                let near = nearest(module, names).map(|near| format!("{}.{near}", self.root));
                (format!("there is no module or function {}.{module}", self.root), near)
            }
        };
        let error = ScriptError::new(ErrorCode::UnknownFunction, message);
        match near_hint(hint) {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    }

    /// Returns the module that is linked but not enabled, for want of which a script cannot use a name.
    pub(crate) fn not_enabled(&self, module: &str, function: Option<&str>) -> Option<&'static str> {
        let off = |path: &str| {
            let within = |disabled: &&str| disabled.strip_prefix(path).is_some_and(|rest| rest.starts_with('.'));
            let around = || self.tree.scope(path).is_none().then(|| self.disabled_modules().find(within)).flatten();
            self.disabled.get(path).copied().or_else(around)
        };
        let member = function.filter(|_| !module.is_empty()).map(|function| format!("{module}.{function}"));
        member.and_then(|path| off(&path)).or_else(|| off(module))
    }

    fn same_function_elsewhere(&self, function: &str) -> Option<String> {
        self.exports.iter().find(|e| e.def.name == function).map(|e| self.script_name(e.def))
    }

    /// Checks all names of the registry against the language of an engine, for one that is not linked;
    /// [`RegistryBuilder::build`] has asked the linked ones.
    pub(crate) fn check_names(&self, engine: &str, reserved: &Reserved<'_>) -> Result<(), ScriptError> {
        if linked_languages().iter().any(|linked| (linked.engine)() == engine) {
            return Ok(());
        }
        let mut mistakes = Vec::new();
        let exports = self.exports.iter().map(|export| export.def);
        let mut constants = Vec::new();
        self.tree.walk(&mut |module| constants.extend(module.constants().iter().map(Constant::def)));
        checks::names(&self.root, exports, &constants, &self.callbacks, &[(engine, reserved)], &mut mistakes);
        if mistakes.is_empty() { Ok(()) } else { Err(ScriptError::new(ErrorCode::ReservedName, mistakes.join("; "))) }
    }

    /// Writes everything the registry knows as JSON: `version`, `root`, `context`, `policy`, `limits`, `modules`, `disabled`, `capabilities`
    /// (null for all of them),
    /// `callbacks`, `constants`, `types` by name and `exports` by index.
    ///
    /// Within one `version` fields are only added.
    #[must_use]
    pub fn dump(&self) -> serde_json::Value {
        let exports: Vec<_> = self.exports.iter().map(|export| dump::ExportDump::new(self, export)).collect();
        let mut constants = Vec::new();
        self.tree.walk(&mut |module| {
            constants.extend(module.constants().iter().map(|constant| dump::ConstantDump::new(&self.root, constant)));
        });
        let mut types = dump::Types::default();
        for export in &self.exports {
            export.def.params.iter().for_each(|param| types.add(param.ty));
            types.add(export.def.returns);
        }
        serde_json::json!({
            "version": 1,
            "root": self.root,
            "context": self.context.name(),
            "policy": self.policy,
            "limits": self.limits,
            "modules": self.modules.keys().filter(|m| !m.is_empty()).collect::<Vec<_>>(),
            "disabled": self.disabled,
            "capabilities": self.capabilities,
            "callbacks": self.callbacks.decls,
            "constants": constants,
            "types": types,
            "exports": exports,
        })
    }
}

impl CallNames for RegistryData {
    fn callback_at(&self, index: usize) -> Option<Arc<str>> {
        self.callback_name(CallbackId::new(index, self.stamp()))
    }

    fn export_at(&self, index: usize) -> Option<String> {
        self.exports.get(index).map(|export| self.script_name(export.def))
    }
}

/// Returns an export's full name below a root object.
pub(super) fn script_name(root: &str, def: &ExportDef) -> String {
    [root, def.module, def.name].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(".")
}

fn near_hint(near: Option<String>) -> Option<String> {
    near.map(|near| format!("did you mean {near}?"))
}
