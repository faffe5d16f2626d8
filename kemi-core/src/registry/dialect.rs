//! The ways in which a host's scripts differ from KEMI's own.

/// The ways in which a host's scripts differ from KEMI's own: for a host whose scripts were written for another program.
///
/// The default differs in nothing. A host gives its dialect to [`RegistryBuilder::dialect`](super::RegistryBuilder::dialect).
///
/// ```
/// use kemi_core::registry::Dialect;
///
/// // A script of Kamailio passes "0" to say that nothing is to be called.
/// let dialect = Dialect { no_callback: Some("0"), ..Dialect::default() };
/// # assert_ne!(dialect, Dialect::default());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dialect {
    /// A text that stands for no callback where a script passes a callback's name, beside the empty text.
    pub no_callback: Option<&'static str>,
    /// How a script may keep its callbacks in an object; `None` if it may not.
    pub script_object: Option<ScriptObject>,
}

/// How a script may keep its callbacks in an object: the callbacks are its methods then.
///
/// Supported by Python.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScriptObject {
    /// The function that returns the object. A script that does not define it has its callbacks as functions.
    pub factory: &'static str,
    /// The method that is called with the number 1 before any other, if the object has it; a negative result fails the
    /// load.
    pub started: Option<&'static str>,
    /// The argument that each method gets before those of the callback; `None` if there is none.
    pub first_argument: Option<FirstArgument>,
}

/// An argument without content that methods get because scripts of another program expect one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirstArgument {
    /// The name in error messages.
    pub name: &'static str,
    /// What a script should do instead of reading an attribute of it; `{root}` stands for the root object.
    pub instead: &'static str,
}
