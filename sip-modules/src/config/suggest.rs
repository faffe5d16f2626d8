//! "Did you mean …?"

/// The candidate most like the word, if one is near enough to be a likely slip.
///
/// The distance is Damerau-Levenshtein's (insertions, deletions, substitutions and swaps of
/// neighbours), without regard to ASCII case; up to a third of the word may differ. Among equals the
/// first wins.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let length = word.chars().count();
    // Nothing of that length is a slip, and the distance costs the product of the lengths.
    if length > MAX_LENGTH {
        return None;
    }
    let limit = (length / 3).max(1);
    candidates
        .into_iter()
        .filter(|candidate| candidate.chars().count().abs_diff(length) <= limit)
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// ": did you mean 'x'?", or nothing.
pub(super) fn hint<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    match nearest(word, candidates) {
        Some(name) => format!(": did you mean '{name}'?"),
        None => String::new(),
    }
}

const MAX_LENGTH: usize = 64;

fn distance(left: &str, right: &str) -> usize {
    let left: Vec<char> = left.chars().map(|c| c.to_ascii_lowercase()).collect();
    let right: Vec<char> = right.chars().map(|c| c.to_ascii_lowercase()).collect();
    // Three rows of the table are enough: a swap looks two rows back.
    let mut before: Vec<usize> = Vec::new();
    let mut previous: Vec<usize> = (0..=right.len()).collect();
    for (i, &a) in left.iter().enumerate() {
        let mut row = Vec::with_capacity(right.len() + 1);
        row.push(i + 1);
        for (j, &b) in right.iter().enumerate() {
            let substituted = previous[j] + usize::from(a != b);
            let mut best = substituted.min(previous[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a == right[j - 1] && left[i - 1] == b {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut previous, row);
    }
    previous.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_a_swap_as_one() {
        for (left, right, expected) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("childern", "children", 1),
            ("port", "prot", 1),
            ("kitten", "sitting", 3),
            ("Debug", "debug", 0),
        ] {
            assert_eq!(distance(left, right), expected, "{left} {right}");
        }
    }

    #[test]
    fn nearest_prefers_the_closest_and_refuses_the_far() {
        assert_eq!(nearest("prot", ["part", "port"]), Some("port"));
        assert_eq!(nearest("fr_timr", ["fr_inv_timer", "fr_timer"]), Some("fr_timer"));
        assert_eq!(nearest("zzz", ["debug", "port"]), None);
        assert_eq!(nearest(&"x".repeat(100_000), ["x"]), None);
    }
}
