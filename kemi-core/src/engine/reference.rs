//! A script's reference to the root object.

/// A path of names in a script that begins with the root object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reference {
    /// The names behind the root: `["pv", "get"]` for `app.pv.get`.
    pub path: Vec<String>,
    /// The line of its first name, from 1.
    pub line: u32,
    /// Whether it is called where it stands.
    pub called: bool,
    /// The plain texts among the call's arguments, with their positions from 0.
    pub texts: Vec<(usize, String)>,
}
