//! What can be wrong with a configuration.

use std::fmt;

use super::Place;

/// One thing wrong with the configuration: where, what, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    kind: ErrorKind,
    place: Place,
    text: String,
}

impl ConfigError {
    /// Describes one mistake; for what a host finds wrong beyond the schema.
    pub fn new(kind: ErrorKind, place: &Place, text: impl Into<String>) -> Self {
        Self { kind, place: place.clone(), text: text.into() }
    }

    /// The class of the error.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Where the mistake stands.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// The message without the place.
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.text)?;
        let origin = self.place.origin();
        if origin.is_empty() {
            return Ok(());
        }
        write!(f, " ({origin})")
    }
}

impl std::error::Error for ConfigError {}

/// The class of a [`ConfigError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A file cannot be read; usually a wrong path or missing permission.
    File,
    /// A directive is misspelled, unbalanced or defines a name twice.
    Preprocessor,
    /// The text is not a statement of the global part.
    Syntax,
    /// A `route` block in the native language; routing belongs into the script.
    NativeRouting,
    /// A global or module parameter that does not exist.
    UnknownParameter,
    /// A module that this host does not have.
    UnknownModule,
    /// A `modparam` for a module that is not loaded at that point.
    ModuleNotLoaded,
    /// A value of the wrong type.
    WrongType,
    /// A value of the right type that is not allowed.
    OutOfRange,
    /// `cfgengine` names an unknown engine, or two different ones.
    Engine,
    /// The configuration exceeds a limit of the reader, such as the depth of includes.
    Limit,
}

/// Everything wrong with a configuration, all at once; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors(Vec<ConfigError>);

impl ConfigErrors {
    /// `Err` with the collected errors if there are any, else `Ok` with the value.
    pub(super) fn or<T>(errors: Vec<ConfigError>, value: T) -> Result<T, Self> {
        if errors.is_empty() {
            return Ok(value);
        }
        Err(Self(errors))
    }

    /// The errors one by one.
    pub fn iter(&self) -> std::slice::Iter<'_, ConfigError> {
        self.0.iter()
    }

    /// The errors as a slice.
    pub fn as_slice(&self) -> &[ConfigError] {
        &self.0
    }
}

impl From<ConfigError> for ConfigErrors {
    fn from(error: ConfigError) -> Self {
        Self(vec![error])
    }
}

impl<'a> IntoIterator for &'a ConfigErrors {
    type Item = &'a ConfigError;
    type IntoIter = std::slice::Iter<'a, ConfigError>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// One error a line.
impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}
