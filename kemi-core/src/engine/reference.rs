//! A script's reference to the root object.

/// A path that begins with the root object, as it stands in a script.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reference {
    /// The names behind the root: `["pv", "get"]` for `app.pv.get`.
    pub path: Vec<String>,
    /// The line of its first name, from 1.
    pub line: u32,
    /// Whether it is called where it stands.
    pub called: bool,
    /// Those arguments of the call that are plain text, with their positions from 0.
    pub texts: Vec<(usize, String)>,
}
