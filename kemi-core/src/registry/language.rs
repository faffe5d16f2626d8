//! Reserved names of languages, which the build of a registry checks.

/// The role of a name that a host gives, for [`Engine::reserved`](crate::Engine::reserved).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NameRole {
    /// The root object: a global that scripts read.
    Root,
    /// A callback: a global function that scripts define.
    Callback,
    /// A module or function: a name after a dot.
    Member,
}

/// Returns the meaning of a name in a language; `None` for a name that the host may give.
pub(crate) type Reserved<'a> = dyn Fn(&str, NameRole) -> Option<&'static str> + 'a;

/// The names that a language keeps for itself.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct LanguageNames {
    /// Returns the engine's name.
    pub engine: fn() -> &'static str,
    /// Returns the meaning of a name in the language; `None` for a name that the host may give.
    pub reserved: fn(&str, NameRole) -> Option<&'static str>,
}

inventory::collect!(LanguageNames);

/// Returns the languages of the linked engines, sorted by name.
pub(super) fn linked_languages() -> Vec<&'static LanguageNames> {
    let mut languages: Vec<_> = inventory::iter::<LanguageNames>().collect();
    languages.sort_by_key(|language| (language.engine)());
    languages
}
