//! "Did you mean": the nearest known name.

/// Returns the candidate nearest to a name, if it is near enough.
///
/// Distance is Damerau–Levenshtein in its optimal string alignment form, without regard to case; up to a third of the
/// name's length counts as near, and one slip always.
///
/// ```
/// assert_eq!(kemi_core::error::nearest("gte", ["get", "sets"]), Some("get"));
/// assert_eq!(kemi_core::error::nearest("relay", ["get", "sets"]), None);
/// ```
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let length = name.chars().count();
    // Nothing of that length is a slip, and the distance costs the product of the lengths.
    if length == 0 || length > MAX_LENGTH {
        return None;
    }
    let limit = (length / 3).max(1);
    candidates
        .into_iter()
        .filter(|candidate| candidate.chars().count().abs_diff(length) <= limit)
        .map(|candidate| (distance(name, candidate), candidate))
        .filter(|&(d, _)| d <= limit)
        .min_by_key(|&(d, candidate)| (d, candidate))
        .map(|(_, candidate)| candidate)
}

const MAX_LENGTH: usize = 64;

fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().flat_map(char::to_lowercase).collect();
    let b: Vec<char> = b.chars().flat_map(char::to_lowercase).collect();
    let mut before: Vec<usize> = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 0..a.len() {
        let mut row = vec![i + 1; b.len() + 1];
        for j in 0..b.len() {
            let change = last[j] + usize::from(a[i] != b[j]);
            row[j + 1] = change.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a[i] == b[j - 1] && a[i - 1] == b[j] {
                row[j + 1] = row[j + 1].min(before[j - 1] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn swaps_and_typos_are_near_and_other_words_are_not() {
        assert_eq!(distance("gte", "get"), 1);
        assert_eq!(distance("t_rely", "t_relay"), 1);
        assert_eq!(nearest("t_rely", ["t_relay", "t_reply"]), Some("t_relay"));
        assert_eq!(nearest("PV", ["pv", "hdr"]), Some("pv"));
        assert_eq!(nearest("xyz", ["pv", "hdr"]), None);
        assert_eq!(nearest("", ["pv"]), None);
        assert_eq!(nearest("prot", ["part", "port"]), Some("port"));
        assert_eq!(nearest("fr_timr", ["fr_inv_timer", "fr_timer"]), Some("fr_timer"));
        assert_eq!(nearest(&"x".repeat(100_000), ["x"]), None);
    }
}
