//! The names known to the preprocessor.

use std::collections::BTreeMap;

use super::{ConfigError, ErrorKind, Place};

/// Names defined by the preprocessor, with their values and origins.
///
/// Filled from the command line (`-A NAME`, `-A NAME=VALUE`) before the file is read, and by
/// `#!define` while it is read. A value is text that is read again where the name is used, so a
/// string needs its quotes: `-A 'DBURL="text:///var/db"'`.
#[derive(Debug, Clone, Default)]
pub struct Defines {
    names: BTreeMap<String, Define>,
}

impl Defines {
    /// No names.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a define from the command line: `NAME` or `NAME=VALUE`.
    ///
    /// A name given twice keeps the later value.
    ///
    /// # Errors
    ///
    /// When the name is not a letter or `_` followed by letters, digits and `_`.
    pub fn add(&mut self, argument: &str) -> Result<(), ConfigError> {
        let (name, value) = argument.split_once('=').unwrap_or((argument, ""));
        if !is_name(name) {
            return Err(ConfigError::new(
                ErrorKind::Preprocessor,
                &Place::command_line(),
                format!(
                    "cannot define '{argument}': expected NAME or NAME=VALUE, where NAME is a letter \
                     or '_' followed by letters, digits and '_'"
                ),
            ));
        }
        let define =
            Define { value: value.trim().as_bytes().to_vec(), place: Place::command_line(), from_command_line: true };
        self.names.insert(name.to_owned(), define);
        Ok(())
    }

    /// Whether the name is defined.
    pub fn contains(&self, name: &str) -> bool {
        self.names.contains_key(name)
    }

    /// The text of the name's value; empty for a name defined without one.
    ///
    /// Bytes that are not UTF-8 are replaced.
    pub fn value(&self, name: &str) -> Option<String> {
        let define = self.names.get(name)?;
        Some(String::from_utf8_lossy(&define.value).into_owned())
    }

    /// All names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.keys().map(String::as_str)
    }

    pub(super) fn find(&self, name: &str) -> Option<&Define> {
        self.names.get(name)
    }

    pub(super) fn set(&mut self, name: &str, value: Vec<u8>, place: Place) {
        let define = Define { value, place, from_command_line: false };
        self.names.insert(name.to_owned(), define);
    }
}

/// The value of one name.
#[derive(Debug, Clone)]
pub(super) struct Define {
    pub(super) value: Vec<u8>,
    pub(super) place: Place,
    pub(super) from_command_line: bool,
}

/// Whether the text can be the name of a define.
pub(super) fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}
