//! Where something stands in the configuration.

use std::fmt;
use std::sync::Arc;

/// A file and line of the configuration, and the way that led there.
///
/// [`Display`](fmt::Display) gives `file:line`. Inside an included file or the value of a define,
/// [`origin`](Self::origin) tells the rest.
#[derive(Clone)]
pub struct Place {
    source: Arc<Source>,
    line: u32,
    expansion: Option<Arc<Expansion>>,
}

impl Place {
    /// A place in a file that nobody included.
    pub fn new(file: &str, line: u32) -> Self {
        Self::in_source(&Source::main(file), line)
    }

    /// The place of what was given on the command line.
    pub fn command_line() -> Self {
        Self::new("command line", 0)
    }

    pub(super) fn in_source(source: &Arc<Source>, line: u32) -> Self {
        Self { source: Arc::clone(source), line, expansion: None }
    }

    /// The same place, for text that comes from the value of a define.
    pub(super) fn expanded(&self, expansion: &Arc<Expansion>) -> Self {
        Self { source: Arc::clone(&self.source), line: self.line, expansion: Some(Arc::clone(expansion)) }
    }

    /// The name of the file, as it was given or written.
    pub fn file(&self) -> &str {
        &self.source.name
    }

    /// The line, from 1; 0 when the place is a file or the command line as a whole.
    pub fn line(&self) -> u32 {
        self.line
    }

    /// The define in whose value this stands: its name, and where it was defined.
    pub fn define(&self) -> Option<(&str, &Place)> {
        let expansion = self.expansion.as_deref()?;
        Some((&expansion.name, &expansion.place))
    }

    /// The statement that included this file.
    pub fn included_from(&self) -> Option<&Place> {
        self.source.included_from.as_ref()
    }

    /// How the reader got here, in words: the define and the includes, or nothing.
    pub fn origin(&self) -> String {
        let mut parts = Vec::new();
        if let Some((name, place)) = self.define() {
            parts.push(format!("in the value of '{name}' from {place}"));
        }
        let mut outer = self.included_from();
        while let Some(place) = outer {
            parts.push(format!("included from {place}"));
            outer = place.included_from();
        }
        parts.join(", ")
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.source.name),
            line => write!(f, "{}:{line}", self.source.name),
        }
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Place({self})")
    }
}

/// Two places are equal when they name the same file and line.
impl PartialEq for Place {
    fn eq(&self, other: &Self) -> bool {
        self.line == other.line && self.source.name == other.source.name
    }
}

impl Eq for Place {}

/// A file that is being read, shared by all places in it.
pub(super) struct Source {
    name: String,
    included_from: Option<Place>,
}

impl Source {
    pub(super) fn main(name: &str) -> Arc<Self> {
        Arc::new(Self { name: name.to_owned(), included_from: None })
    }

    pub(super) fn included(name: &str, from: Place) -> Arc<Self> {
        Arc::new(Self { name: name.to_owned(), included_from: Some(from) })
    }
}

/// A define that is being replaced by its value.
pub(super) struct Expansion {
    pub(super) name: String,
    pub(super) place: Place,
}
