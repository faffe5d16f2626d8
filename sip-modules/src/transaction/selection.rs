//! The choice among final replies (RFC 3261 §16.7 step 6).

use super::action::Choice;

/// Chooses the best of the final replies, given as pairs of branch index and status.
///
/// A 6xx wins; otherwise the lowest class present. Among 4xx those come first that tell the caller how to try again
/// (401, 407, 415, 420, 484). Then the lowest code, as Kamailio does: 480 before 486. Then the earliest branch.
/// A chosen 503 is mapped to 500, because it would make the caller avoid this proxy instead of the callee.
pub(super) fn best(finals: impl Iterator<Item = (usize, u16)>) -> Option<Choice> {
    let (branch, status) = finals.min_by_key(|&(branch, status)| (rank(status), status, branch))?;
    Some(Choice { branch, status, mapped_status: if status == 503 { 500 } else { status } })
}

fn rank(status: u16) -> u16 {
    match status {
        600.. => 0,
        401 | 407 | 415 | 420 | 484 => 400,
        _ => status / 100 * 100 + 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(statuses: &[u16]) -> u16 {
        best(statuses.iter().copied().enumerate()).unwrap().status
    }

    #[test]
    fn a_6xx_beats_everything() {
        assert_eq!(choose(&[302, 404, 603, 500]), 603);
    }

    #[test]
    fn the_lowest_class_wins() {
        assert_eq!(choose(&[500, 486, 302]), 302);
        assert_eq!(choose(&[500, 486]), 486);
        assert_eq!(choose(&[503, 501]), 501);
    }

    #[test]
    fn among_4xx_what_helps_the_caller_try_again_comes_first() {
        for code in [401, 407, 415, 420, 484] {
            assert_eq!(choose(&[400, 404, code, 480]), code);
        }
        assert_eq!(choose(&[407, 401]), 401);
    }

    #[test]
    fn otherwise_the_lowest_code_wins() {
        assert_eq!(choose(&[486, 480]), 480);
        assert_eq!(choose(&[480, 486]), 480);
        assert_eq!(choose(&[487, 486]), 486);
    }

    #[test]
    fn among_equals_the_earliest_branch_wins() {
        assert_eq!(best([(3, 486), (1, 486)].into_iter()).unwrap().branch, 1);
    }

    #[test]
    fn a_503_is_mapped_to_500() {
        let choice = best([(0, 503)].into_iter()).unwrap();
        assert_eq!((choice.status, choice.mapped_status), (503, 500));
    }

    #[test]
    fn nothing_is_chosen_from_nothing() {
        assert_eq!(best(std::iter::empty()), None);
    }
}
