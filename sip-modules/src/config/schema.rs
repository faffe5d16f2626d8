//! What a host knows: its parameters, modules and engines.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::Value;

/// Text that is usually a literal.
pub(super) type Text = Cow<'static, str>;

/// The parameters, modules and engines a configuration may name.
///
/// Built once by the host; [`check`](Self::check) compares a configuration with it and
/// [`help`](Self::help) renders it for people.
#[derive(Debug, Clone, Default)]
pub struct Schema {
    pub(super) globals: Vec<Param>,
    pub(super) modules: Vec<Module>,
    pub(super) engines: Vec<EngineName>,
}

impl Schema {
    /// A schema that knows nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a global parameter.
    #[must_use]
    pub fn global(mut self, param: Param) -> Self {
        self.globals.push(param);
        self
    }

    /// Adds a module.
    #[must_use]
    pub fn module(mut self, module: Module) -> Self {
        self.modules.push(module);
        self
    }

    /// Adds an engine for `cfgengine`, with other names that mean the same, such as `python3`.
    #[must_use]
    pub fn engine(mut self, name: impl Into<Text>, aliases: &[&str]) -> Self {
        self.engines
            .push(EngineName { name: name.into(), aliases: aliases.iter().map(|&alias| alias.to_owned()).collect() });
        self
    }

    /// Checks the schema itself, for a test of the host.
    ///
    /// # Errors
    ///
    /// Names the first parameter, module or engine that exists twice, or the first default that its
    /// own parameter refuses.
    pub fn verify(&self) -> Result<(), String> {
        distinct("module", self.modules.iter().map(|module| module.name.as_ref()))?;
        let engines = self.engines.iter().flat_map(EngineName::names);
        distinct("engine", engines)?;
        verify_params("global parameter", &self.globals)?;
        for module in &self.modules {
            verify_params(&format!("parameter of the module '{}'", module.name), &module.params)?;
        }
        Ok(())
    }

    pub(super) fn find_global(&self, name: &str) -> Option<&Param> {
        self.globals.iter().find(|param| param.name == name)
    }

    pub(super) fn find_module(&self, name: &str) -> Option<&Module> {
        self.modules.iter().find(|module| module.name == name)
    }
}

/// A module that `loadmodule` may name.
#[derive(Debug, Clone)]
pub struct Module {
    pub(super) name: Text,
    pub(super) doc: Text,
    pub(super) params: Vec<Param>,
    pub(super) no_effect: Option<Text>,
}

impl Module {
    /// A module without parameters; the name has neither folder nor `.so`.
    pub fn new(name: impl Into<Text>) -> Self {
        Self { name: name.into(), doc: Cow::Borrowed(""), params: Vec::new(), no_effect: None }
    }

    /// Sets the line of documentation.
    #[must_use]
    pub fn doc(mut self, doc: impl Into<Text>) -> Self {
        self.doc = doc.into();
        self
    }

    /// Adds a parameter.
    #[must_use]
    pub fn param(mut self, param: Param) -> Self {
        self.params.push(param);
        self
    }

    /// Marks the module as accepted and without effect, and says why.
    #[must_use]
    pub fn without_effect(mut self, why: impl Into<Text>) -> Self {
        self.no_effect = Some(why.into());
        self
    }

    pub(super) fn find(&self, name: &str) -> Option<&Param> {
        self.params.iter().find(|param| param.name == name)
    }
}

/// A global parameter or one of a module.
#[derive(Debug, Clone)]
pub struct Param {
    pub(super) name: Text,
    pub(super) kind: Kind,
    pub(super) default: Option<Value>,
    pub(super) doc: Text,
    pub(super) repeated: bool,
    pub(super) no_effect: Option<Text>,
}

impl Param {
    /// A parameter of any kind.
    pub fn new(name: impl Into<Text>, kind: Kind) -> Self {
        Self { name: name.into(), kind, default: None, doc: Cow::Borrowed(""), repeated: false, no_effect: None }
    }

    /// An integer from `min` to `max`, both included.
    pub fn int(name: impl Into<Text>, min: i64, max: i64) -> Self {
        Self::new(name, Kind::Int { min, max })
    }

    /// `yes` or `no`.
    pub fn bool(name: impl Into<Text>) -> Self {
        Self::new(name, Kind::Bool)
    }

    /// Text in quotes.
    pub fn str(name: impl Into<Text>) -> Self {
        Self::new(name, Kind::Str)
    }

    /// A host name or address, with or without quotes.
    pub fn host(name: impl Into<Text>) -> Self {
        Self::new(name, Kind::Host)
    }

    /// One of some words, with or without quotes.
    pub fn choice(name: impl Into<Text>, words: &[&str]) -> Self {
        Self::new(name, Kind::Choice(words.iter().map(|&word| word.to_owned()).collect()))
    }

    /// Sets the default of an integer.
    #[must_use]
    pub fn default_int(mut self, value: i64) -> Self {
        self.default = Some(Value::Int(value));
        self
    }

    /// Sets the default of a boolean.
    #[must_use]
    pub fn default_bool(mut self, value: bool) -> Self {
        self.default = Some(Value::Bool(value));
        self
    }

    /// Sets the default of a text, host or choice.
    #[must_use]
    pub fn default_str(mut self, value: impl Into<String>) -> Self {
        self.default = Some(Value::Str(value.into()));
        self
    }

    /// Sets the line of documentation.
    #[must_use]
    pub fn doc(mut self, doc: impl Into<Text>) -> Self {
        self.doc = doc.into();
        self
    }

    /// Keeps all values that are given, instead of the last.
    #[must_use]
    pub fn repeated(mut self) -> Self {
        self.repeated = true;
        self
    }

    /// Marks the parameter as accepted and without effect, and says why.
    #[must_use]
    pub fn without_effect(mut self, why: impl Into<Text>) -> Self {
        self.no_effect = Some(why.into());
        self
    }
}

/// The values a parameter takes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// `yes`, `on`, `true`, `1` or `no`, `off`, `false`, `0`.
    Bool,
    /// One of these words, quoted or not.
    Choice(Vec<String>),
    /// A host name or address, quoted or not.
    Host,
    /// An integer.
    Int {
        /// The smallest value allowed.
        min: i64,
        /// The largest value allowed.
        max: i64,
    },
    /// Text in quotes.
    Str,
}

impl Kind {
    /// The value in the form [`Settings`](super::Settings) keeps, or why it is none.
    pub(super) fn accept(&self, value: &Value) -> Result<Value, Refusal> {
        match (self, value) {
            (Self::Bool, Value::Bool(_)) => Ok(value.clone()),
            (Self::Bool, Value::Int(0)) => Ok(Value::Bool(false)),
            (Self::Bool, Value::Int(1)) => Ok(Value::Bool(true)),
            (Self::Int { min, max }, Value::Int(number)) => {
                if (min..=max).contains(&number) {
                    return Ok(value.clone());
                }
                Err(Refusal::Range(format!("{number} is not in {min}..{max}")))
            }
            (Self::Str, Value::Str(_)) => Ok(value.clone()),
            (Self::Host, Value::Str(text) | Value::Word(text)) => Ok(Value::Str(text.clone())),
            (Self::Choice(words), Value::Str(text) | Value::Word(text)) => {
                if words.contains(text) {
                    return Ok(Value::Str(text.clone()));
                }
                let hint = super::suggest::hint(text, words.iter().map(String::as_str));
                Err(Refusal::Range(format!("'{text}' is not one of {}{hint}", words.join(", "))))
            }
            _ => Err(Refusal::Type(self.expected())),
        }
    }

    /// What stands behind "expected".
    pub(super) fn expected(&self) -> String {
        match self {
            Self::Bool => "yes or no".to_owned(),
            Self::Choice(words) => format!("one of {}", words.join(", ")),
            Self::Host => "a host name or address".to_owned(),
            Self::Int { .. } => "an integer".to_owned(),
            Self::Str => "a string in quotes".to_owned(),
        }
    }
}

/// Why a value does not fit its parameter.
#[derive(Debug)]
pub(super) enum Refusal {
    /// What would have been the right type.
    Type(String),
    /// The type is right, the value is not.
    Range(String),
}

/// An engine's name and what else it is called.
#[derive(Debug, Clone)]
pub(super) struct EngineName {
    pub(super) name: Text,
    pub(super) aliases: Vec<String>,
}

impl EngineName {
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.name.as_ref()).chain(self.aliases.iter().map(String::as_str))
    }
}

fn distinct<'a>(what: &str, names: impl Iterator<Item = &'a str>) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(format!("{what} '{name}' is declared twice"));
        }
    }
    Ok(())
}

fn verify_params(what: &str, params: &[Param]) -> Result<(), String> {
    distinct(what, params.iter().map(|param| param.name.as_ref()))?;
    for param in params {
        let Some(default) = &param.default else { continue };
        if let Err(Refusal::Type(why) | Refusal::Range(why)) = param.kind.accept(default) {
            return Err(format!("the default {default} of the {what} '{}' is refused: {why}", param.name));
        }
    }
    Ok(())
}
