//! What a configuration says, before anybody asked whether it makes sense.

use std::fmt;

use super::{Address, Defines, Place};

/// The parsed configuration: each kind of statement in the order of the text.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// `name=value`, also `port=`, `mpath=` and `loadpath=`.
    pub settings: Vec<Setting>,
    /// `listen=`.
    pub listen: Vec<Listen>,
    /// `alias=`.
    pub aliases: Vec<Alias>,
    /// `loadmodule`.
    pub modules: Vec<LoadModule>,
    /// `modparam`.
    pub modparams: Vec<ModParam>,
    /// `cfgengine`; more than one is possible here.
    pub engines: Vec<EngineChoice>,
    /// What was noticed and is no error, such as a skipped `#!define`.
    pub notes: Vec<Note>,
    /// All names the preprocessor knew in the end, for scripts that ask.
    pub defines: Defines,
}

/// `name=value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The name, with its dots if it has any.
    pub name: String,
    /// The value.
    pub value: Value,
    /// Where the name stands.
    pub place: Place,
}

/// `listen=address`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// The address.
    pub address: Address,
    /// Where it stands.
    pub place: Place,
}

/// `alias=address`: a name or address that counts as this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alias {
    /// The alias; protocol and port narrow it when given.
    pub address: Address,
    /// Where it stands.
    pub place: Place,
}

/// `loadmodule "name.so"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadModule {
    /// The name, without folder and `.so`.
    pub name: String,
    /// Where it stands.
    pub place: Place,
    /// Grows with each statement, through all files: a module must be loaded before it is configured.
    pub(super) order: usize,
}

/// `modparam("modules", "name", value)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModParam {
    /// The modules it applies to: what stands between the `|`.
    pub modules: Vec<String>,
    /// The name of the parameter.
    pub name: String,
    /// The value.
    pub value: Value,
    /// Where it stands.
    pub place: Place,
    /// Grows with each statement, through all files: a module must be loaded before it is configured.
    pub(super) order: usize,
}

/// `cfgengine "name"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineChoice {
    /// The engine's name as written.
    pub name: String,
    /// Where it stands.
    pub place: Place,
}

/// Something worth a line in the log that is no error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// What it is about.
    pub place: Place,
    /// What happened.
    pub text: String,
}

impl Note {
    pub(super) fn new(place: &Place, text: impl Into<String>) -> Self {
        Self { place: place.clone(), text: text.into() }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.text)
    }
}

/// A value as written.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Value {
    /// `yes`, `on`, `true` or `no`, `off`, `false`.
    Bool(bool),
    /// A decimal, octal (`017`) or hexadecimal (`0x1f`) number.
    Int(i64),
    /// Text in quotes.
    Str(String),
    /// Text without quotes: an identifier, a host name or an address.
    Word(String),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(true) => f.write_str("yes"),
            Self::Bool(false) => f.write_str("no"),
            Self::Int(number) => write!(f, "{number}"),
            Self::Str(text) => write!(f, "{text:?}"),
            Self::Word(text) => f.write_str(text),
        }
    }
}

/// The module's name in `path/name.so`.
pub(super) fn module_name(written: &str) -> &str {
    let file = written.rsplit('/').next().unwrap_or(written);
    file.strip_suffix(".so").unwrap_or(file)
}
