//! Builds a registry: collects, checks and sorts the exports.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::marker::PhantomData;

use super::checks;
use super::class::RegisteredClass;
use super::dialect::Dialect;
use super::host_state::HostState;
use super::language::{Reserved, linked_languages};
use super::module::{Constant, Module};
use super::part::Part;
use super::table::{Export, Registry, RegistryData, script_name};
use crate::callback::Callbacks;
use crate::error::nearest;
use crate::export::{
    CLASSES, CONSTANTS, ConstantDef, ContextType, EXPORTS, ExportDef, HostClosure, HostFunction, MODULE, NoContext,
};
use crate::limits::{Limits, Profile};
use crate::telemetry::TelemetryConfig;
use crate::value::ArgumentPolicy;

/// Builds a [`Registry`].
#[derive(Debug)]
pub struct RegistryBuilder<C: 'static> {
    root: String,
    dialect: Dialect,
    all: bool,
    modules: BTreeSet<String>,
    parts: Vec<Part>,
    closures: Vec<HostClosure>,
    /// What the scripts are granted; `None` for everything.
    capabilities: Option<BTreeSet<String>>,
    callbacks: Callbacks,
    policy: ArgumentPolicy,
    limits: Limits,
    profile: Profile,
    telemetry: TelemetryConfig,
    enable_hint: String,
    context: PhantomData<fn(&mut C)>,
}

impl<C: 'static> RegistryBuilder<C> {
    pub(super) fn new() -> RegistryBuilder<C> {
        RegistryBuilder {
            root: String::new(),
            dialect: Dialect::default(),
            all: false,
            modules: BTreeSet::new(),
            parts: Vec::new(),
            closures: Vec::new(),
            capabilities: None,
            callbacks: Callbacks::new(),
            policy: ArgumentPolicy::Strict,
            limits: Limits::default(),
            profile: Profile::default(),
            telemetry: TelemetryConfig::default(),
            enable_hint: "enable the module in the host".to_owned(),
            context: PhantomData,
        }
    }

    /// Names the object that scripts see; a registry without it is refused.
    #[must_use]
    pub fn root(mut self, name: &str) -> Self {
        name.clone_into(&mut self.root);
        self
    }

    /// Sets the conventions of scripts that were written for another program; none by default.
    #[must_use]
    pub fn dialect(mut self, dialect: Dialect) -> Self {
        self.dialect = dialect;
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
    /// A module whose functions all take no context belongs to no host in particular and is included. Name the modules one
    /// by one if two hosts in one program must not share them.
    #[must_use]
    pub fn all_modules(mut self) -> Self {
        self.all = true;
        self
    }

    /// Lends a part of the context to a library's functions: every export whose context is `P` becomes one of this host.
    ///
    /// So a library can export functions with a state of its own without knowing the hosts that use it.
    ///
    /// ```
    /// use kemi_core::Registry;
    ///
    /// struct Mailbox(Vec<String>); // the context of a library's exports
    /// struct Host {
    ///     mailbox: Mailbox,
    /// }
    ///
    /// let registry = Registry::<Host>::builder().root("app").part(|host: &mut Host| &mut host.mailbox).build()?;
    /// # let _ = registry;
    /// # Ok::<(), kemi_core::registry::RegistryError>(())
    /// ```
    #[must_use]
    pub fn part<P: 'static>(mut self, lend: impl for<'c> Fn(&'c mut C) -> &'c mut P + Send + Sync + 'static) -> Self {
        self.parts.push(Part::new(lend));
        self
    }

    /// Exports a closure: a function that has a state of its own, or is known only at run time.
    ///
    /// `params` are the names of its parameters for messages. Its module is enabled with it.
    ///
    /// ```
    /// use kemi_core::Registry;
    ///
    /// let greeting = String::from("hello");
    /// let greet = move |name: String| format!("{greeting}, {name}");
    /// let registry = Registry::<()>::builder().root("app").function("text", "greet", &["name"], greet).build()?;
    /// assert!(registry.find("text", "greet").is_some());
    /// # Ok::<(), kemi_core::registry::RegistryError>(())
    /// ```
    #[must_use]
    #[track_caller]
    pub fn function<S: 'static>(
        mut self,
        module: &str,
        name: &str,
        params: &[&str],
        function: impl HostFunction<C, S>,
    ) -> Self {
        self.modules.insert(module.to_owned());
        self.closures.push(HostClosure::new::<C, S, _>(module, name, params, function));
        self
    }

    /// Grants capabilities to the scripts: exports that need another one refuse to be called.
    ///
    /// Without this, scripts may call everything. A registry is cheap, so a host with scripts of several origins has one for each.
    #[must_use]
    pub fn capabilities(mut self, granted: &[&str]) -> Self {
        self.capabilities = Some(granted.iter().map(|&name| name.to_owned()).collect());
        self
    }

    /// Sets the callback table.
    #[must_use]
    pub fn callbacks(mut self, callbacks: Callbacks) -> Self {
        self.callbacks = callbacks;
        self
    }

    /// Sets the policy for bad arguments; [`ArgumentPolicy::Strict`] by default.
    #[must_use]
    pub fn policy(mut self, policy: ArgumentPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// Sets the limits of a callback; [`Limits::default`] by default.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets what scripts may use of their language's own library; [`Profile::strictest`] by default.
    #[must_use]
    pub fn profile(mut self, profile: Profile) -> Self {
        self.profile = profile;
        self
    }

    /// Sets the measurements of calls and the thresholds of slow ones; [`TelemetryConfig::default`] by default.
    #[must_use]
    pub fn telemetry(mut self, telemetry: TelemetryConfig) -> Self {
        self.telemetry = telemetry;
        self
    }

    /// Sets the advice how to enable a module, for error messages; `{module}` stands for its name.
    #[must_use]
    pub fn enable_hint(mut self, hint: &str) -> Self {
        hint.clone_into(&mut self.enable_hint);
        self
    }

    /// Collects, checks and sorts the exports.
    ///
    /// # Errors
    /// All mistakes at once:
    /// - no name for the root object;
    /// - two exports of one name, a function of the root and a module of one name, two callbacks of one name;
    /// - an enabled module or a granted capability that does not exist, an export that names a route the host has not declared;
    /// - an export whose entries take another context or other parameters than its description says;
    /// - a name of the root object, a module, an export or a callback that is no identifier, or that means something else
    ///   in the language of a linked engine ([`Engine::reserved`](crate::Engine::reserved)).
    pub fn build(self) -> Result<Registry<C>, RegistryError> {
        let mut mistakes = Vec::new();
        checks::closures(&self.closures, &mut mistakes);
        let (own, none) = (ContextType::of::<C>(), ContextType::of::<NoContext>());
        let none = Some(none).filter(|none| none.id() != own.id());
        let contexts: Vec<ContextType> = [own].into_iter().chain(none).chain(self.parts.iter().map(Part::ty)).collect();
        checks::parts(&contexts, &mut mistakes);
        let is_own = |context: ContextType| contexts.iter().any(|own| own.id() == context.id());
        let known = own_exports(is_own, &self.closures, &mut mistakes);
        let known_constants = own_constants(is_own, &mut mistakes);
        let known_modules: BTreeSet<&'static str> =
            known.iter().map(|def| def.module).chain(known_constants.iter().map(|def| def.module)).collect();

        for module in &self.modules {
            // The root always exists, even where nothing is exported to it.
            let within = |known: &&str| known.strip_prefix(module.as_str()).is_some_and(|rest| rest.starts_with('.'));
            if !module.is_empty() && !known_modules.contains(module.as_str()) && !known_modules.iter().any(within) {
                mistakes.push(unknown_module(module, &known_modules));
            }
        }
        // A module is enabled with those around it, a class with its module, which may be the root.
        let of_class = |path: &str| CLASSES.iter().find(|class| class.path == path).map(|class| class.module);
        let enabled = |module: &str| {
            let mut within = module.match_indices('.').map(|(end, _)| module.get(..end).unwrap_or(module));
            self.all
                || module == MODULE
                || self.modules.contains(module)
                || of_class(module).is_some_and(|outer| self.modules.contains(outer))
                || within.any(|outer| self.modules.contains(outer))
        };

        let visible: Vec<&'static ExportDef> = known.iter().copied().filter(|def| enabled(def.module)).collect();
        let constants: Vec<&'static ConstantDef> =
            known_constants.into_iter().filter(|def| enabled(def.module)).collect();
        checks::capabilities(self.capabilities.iter().flatten(), &known, &mut mistakes);
        checks::one_meaning(&visible, &constants, &mut mistakes);
        checks::callbacks(&self.callbacks, &mut mistakes);
        let languages = linked_languages();
        let languages: Vec<(&str, &Reserved<'_>)> =
            languages.iter().map(|language| ((language.engine)(), &language.reserved as &Reserved<'_>)).collect();
        let functions = visible.iter().copied();
        checks::names(&self.root, functions, &constants, &self.callbacks, &languages, &mut mistakes);

        let values = constants.iter().filter_map(|def| Constant::new(def, &mut mistakes)).collect();
        let mut exports = Vec::new();
        for def in visible {
            let route_mask = route_mask(def, &self.callbacks, &mut mistakes);
            let index = u32::try_from(exports.len()).unwrap_or(u32::MAX);
            let part = self.parts.iter().find(|part| part.ty().id() == def.context.id()).cloned();
            let closure = self.closures.iter().find(|closure| std::ptr::eq(closure.def, def));
            let export = Export::new(index, def, route_mask, self.callbacks.stamp());
            let granted = |needed: &str| self.capabilities.as_ref().is_none_or(|granted| granted.contains(needed));
            let export = if def.capability.is_none_or(granted) { export } else { export.denied() };
            exports.push(export.with_part(part).with_closure(closure.map(|closure| closure.function.clone())));
        }
        if !mistakes.is_empty() {
            return Err(RegistryError { mistakes });
        }

        let mut modules: BTreeMap<&'static str, std::ops::Range<usize>> = BTreeMap::new();
        for (i, export) in exports.iter().enumerate() {
            modules.entry(export.def().module).or_insert(i..i).end = i + 1;
        }
        let classes = CLASSES.iter().filter(|class| enabled(class.path) && known_modules.contains(class.path));
        let classes =
            classes.map(|class| RegisteredClass::new(class, modules.get(class.path).cloned().unwrap_or(0..0)));
        let classes: Vec<RegisteredClass> = classes.collect();
        let disabled = known_modules.into_iter().filter(|m| !m.is_empty() && !enabled(m)).collect();
        Ok(Registry::new(RegistryData {
            state: HostState::new(&self.callbacks, exports.len()),
            root: self.root,
            dialect: self.dialect,
            context: ContextType::of::<C>(),
            callbacks: self.callbacks,
            policy: self.policy,
            limits: self.limits,
            profile: self.profile,
            telemetry: self.telemetry,
            enable_hint: self.enable_hint,
            capabilities: self.capabilities,
            exports: exports.into(),
            tree: Module::tree(&modules, values),
            classes: classes.into(),
            modules,
            disabled,
        }))
    }
}

/// Returns the exports of the host's contexts and its closures, sorted by module and name.
fn own_exports(
    is_own: impl Fn(ContextType) -> bool,
    closures: &[HostClosure],
    mistakes: &mut Vec<String>,
) -> Vec<&'static ExportDef> {
    let linked = EXPORTS.iter().filter(|def| is_own(def.context));
    let mut own: Vec<&'static ExportDef> = linked.chain(closures.iter().map(|closure| closure.def)).collect();
    own.sort_by_key(|def| (def.module, def.name));
    for def in &own {
        checks::export(def, mistakes);
    }
    checks::twice(&own, mistakes);
    own
}

/// Returns the constants of the host's contexts, sorted by module and name.
fn own_constants(is_own: impl Fn(ContextType) -> bool, mistakes: &mut Vec<String>) -> Vec<&'static ConstantDef> {
    let mut own: Vec<&'static ConstantDef> = CONSTANTS.iter().filter(|def| is_own(def.context)).collect();
    own.sort_by_key(|def| (def.module, def.name));
    checks::constants_twice(&own, mistakes);
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

fn route_mask(def: &ExportDef, callbacks: &Callbacks, mistakes: &mut Vec<String>) -> u64 {
    if def.callbacks.is_empty() {
        return u64::MAX;
    }
    let mut mask = 0;
    for name in def.callbacks {
        match callbacks.route(name) {
            Some(route) => mask |= route.bit(),
            None => mistakes.push(format!(
                "'{}' ({}:{}) may be called in route '{name}', which the host does not declare; declared: {}",
                script_name("", def),
                def.file,
                def.line,
                callbacks.route_names().join(", ")
            )),
        }
    }
    mask
}

/// The mistakes in the exports linked into a program, one line each.
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
        write!(f, "invalid exports: {}", self.mistakes.join("; "))
    }
}

impl std::error::Error for RegistryError {}
