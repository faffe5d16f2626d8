//! The conventions of scripts that were written for another program.

/// The conventions of a host's scripts that differ from KEMI's own, for scripts that were written for another program.
///
/// The default has none. A host gives its dialect to [`RegistryBuilder::dialect`](super::RegistryBuilder::dialect).
///
/// ```
/// use kemi_core::registry::Dialect;
///
/// // Kamailio's scripts pass "0" for no callback.
/// let dialect = Dialect { no_callback: Some("0"), ..Dialect::default() };
/// # assert_ne!(dialect, Dialect::default());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dialect {
    /// A callback's name that stands for no callback, beside the empty one.
    pub no_callback: Option<&'static str>,
    /// The convention for scripts that keep their callbacks in an object; `None` if they cannot.
    pub script_object: Option<ScriptObject>,
}

/// The convention for scripts that keep their callbacks in an object, as its methods.
///
/// Supported by Python.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScriptObject {
    /// The function that returns the object. A script without it has its callbacks as functions.
    pub factory: &'static str,
    /// The method that the engine calls with the number 1 before any other, if the object has it. A negative result fails the
    /// load.
    pub started: Option<&'static str>,
    /// The argument that each method gets before those of the callback; `None` if there is none.
    pub first_argument: Option<FirstArgument>,
}

/// An argument without content, for methods that expect one by the other program's convention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirstArgument {
    /// The name in error messages.
    pub name: &'static str,
    /// The advice for a script that reads an attribute of it; `{root}` stands for the root object.
    pub instead: &'static str,
}
