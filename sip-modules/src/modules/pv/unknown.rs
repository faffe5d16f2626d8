//! Names that are no pseudo-variables: told once each.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use super::name::names;

/// How many different names are remembered; a script that makes up names must not fill the memory.
const MAX_NAMES: usize = 512;

/// Logs that a name is unknown, the first time it is used.
#[cold]
pub(super) fn warn_once(name: &[u8]) {
    static TOLD: Mutex<BTreeSet<Vec<u8>>> = Mutex::new(BTreeSet::new());
    let mut told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
    if told.len() < MAX_NAMES && told.insert(name.to_vec()) {
        tracing::warn!(target: "script", "{}", explain(name));
        if told.len() == MAX_NAMES {
            tracing::warn!(
                target: "script",
                "{MAX_NAMES} different unknown pseudo-variables; further ones are not reported"
            );
        }
    }
}

fn explain(name: &[u8]) -> String {
    let shown = name.escape_ascii();
    let Some(bare) = name.strip_prefix(b"$") else {
        return format!("'{shown}' is no pseudo-variable: their names begin with '$'");
    };
    if name.contains(&b'{') {
        return format!("unknown pseudo-variable '{shown}': transformations are not available, use the script's own");
    }
    if bare.contains(&b'$') {
        return format!("unknown pseudo-variable '{shown}': one inside of another's name is not available");
    }
    // The name proper decides, whatever stands in its parentheses.
    let class = name.split_inclusive(|b| *b == b'(').next().unwrap_or(name);
    let nearest = std::str::from_utf8(name).ok().and_then(|name| kemi_core::error::nearest(name, names()));
    let same_class = names().find(|known| class.len() > 2 && known.as_bytes().starts_with(class));
    match same_class.or(nearest) {
        Some(known) => format!("unknown pseudo-variable '{shown}'; did you mean '{known}'?"),
        None => format!("unknown pseudo-variable '{shown}'"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_explanation_says_what_to_do() {
        for (name, expected) in [
            ("$T_branch_indx", "did you mean '$T_branch_idx'?"),
            ("$hdr(a b)", "did you mean '$hdr(name)'?"),
            ("rm", "begin with '$'"),
            ("$(ru{uri.user})", "transformations"),
            ("$hdr($var(x))", "inside of another's name"),
        ] {
            let text = explain(name.as_bytes());
            assert!(text.contains(expected), "{text}");
        }
        assert_eq!(explain(b"$completely_else"), "unknown pseudo-variable '$completely_else'");
    }
}
