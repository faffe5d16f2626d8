//! "Did you mean …?"

/// ": did you mean 'x'?", or nothing.
pub(super) fn hint<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    match kemi_core::error::nearest(word, candidates) {
        Some(name) => format!(": did you mean '{name}'?"),
        None => String::new(),
    }
}
