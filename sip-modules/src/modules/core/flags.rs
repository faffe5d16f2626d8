//! Flags of the message, of its branches and of the script.

use kemi_macros::kemi_export;

use crate::proxy::Cx;

macro_rules! flags {
    ($($flags:ident: $(#[$set_doc:meta])* $set:ident $(#[$reset_doc:meta])* $reset:ident $(#[$test_doc:meta])* $test:ident;)*) => {$(
        $(#[$set_doc])*
        #[kemi_export(module = "")]
        pub fn $set(cx: &mut Cx, flag: i64) -> bool {
            change(stringify!($set), &mut cx.msg.$flags, flag, true)
        }

        $(#[$reset_doc])*
        #[kemi_export(module = "")]
        pub fn $reset(cx: &mut Cx, flag: i64) -> bool {
            change(stringify!($reset), &mut cx.msg.$flags, flag, false)
        }

        $(#[$test_doc])*
        #[kemi_export(module = "")]
        pub fn $test(cx: &Cx, flag: i64) -> bool {
            test(stringify!($test), cx.msg.$flags, flag)
        }
    )*};
}
flags! {
    flags:
        /// Sets a flag of the message, 0 to 31; it follows the request into its transaction. Returns true.
        setflag
        /// Clears a flag of the message, 0 to 31. Returns true.
        resetflag
        /// Tests a flag of the message, 0 to 31.
        isflagset;
    branch_flags:
        /// Sets a flag of the current branch, 0 to 31; outside of a branch's routes of the first one. Returns true.
        setbflag
        /// Clears a flag of the current branch, 0 to 31; outside of a branch's routes of the first one. Returns true.
        resetbflag
        /// Tests a flag of the current branch, 0 to 31; outside of a branch's routes of the first one.
        isbflagset;
    script_flags:
        /// Sets a flag of the script run, 0 to 31. Returns true.
        setsflag
        /// Clears a flag of the script run, 0 to 31. Returns true.
        resetsflag
        /// Tests a flag of the script run, 0 to 31.
        issflagset;
}

/// Sets a flag, 0 to 31, of the branch with that number: 0 for the R-URI's, then the added ones. False when there is
/// no such branch.
#[kemi_export(module = "")]
pub fn setbiflag(cx: &mut Cx, flag: i64, branch: i64) -> bool {
    branch_flags(cx, "setbiflag", branch).is_some_and(|flags| change("setbiflag", flags, flag, true))
}

/// Clears a flag, 0 to 31, of the branch with that number: 0 for the R-URI's, then the added ones. False when there is
/// no such branch.
#[kemi_export(module = "")]
pub fn resetbiflag(cx: &mut Cx, flag: i64, branch: i64) -> bool {
    branch_flags(cx, "resetbiflag", branch).is_some_and(|flags| change("resetbiflag", flags, flag, false))
}

/// Tests a flag, 0 to 31, of the branch with that number: 0 for the R-URI's, then the added ones.
#[kemi_export(module = "")]
pub fn isbiflagset(cx: &mut Cx, flag: i64, branch: i64) -> bool {
    branch_flags(cx, "isbiflagset", branch).is_some_and(|flags| test("isbiflagset", *flags, flag))
}

fn branch_flags<'c>(cx: &'c mut Cx, function: &str, branch: i64) -> Option<&'c mut u32> {
    if branch == 0 {
        return Some(&mut cx.msg.branch_flags);
    }
    let index = branch.checked_sub(1).and_then(|index| usize::try_from(index).ok());
    let added = cx.msg.branches.len();
    let found = index.and_then(|index| cx.msg.branches.get_mut(index));
    if found.is_none() {
        tracing::warn!(target: "script", "KSR.{function}: there is no branch {branch}, only 0 to {added}");
    }
    found.map(|branch| &mut branch.flags)
}

fn change(function: &str, flags: &mut u32, flag: i64, on: bool) -> bool {
    let Some(bit) = bit(flag) else { return refuse(function, flag) };
    if on {
        *flags |= bit;
    } else {
        *flags &= !bit;
    }
    true
}

fn test(function: &str, flags: u32, flag: i64) -> bool {
    match bit(flag) {
        Some(bit) => flags & bit != 0,
        None => refuse(function, flag),
    }
}

fn bit(flag: i64) -> Option<u32> {
    u32::try_from(flag).ok().and_then(|flag| 1_u32.checked_shl(flag))
}

#[cold]
fn refuse(function: &str, flag: i64) -> bool {
    tracing::warn!(target: "script", "KSR.{function}: there is no flag {flag}, only 0 to 31");
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::testing::{INVITE, cx};
    use crate::proxy::ExtraBranch;

    type Change = fn(&mut Cx, i64) -> bool;
    type Test = fn(&Cx, i64) -> bool;

    #[test]
    fn each_kind_has_its_own_32_flags() {
        let kinds: [(Change, Change, Test); 3] =
            [(setflag, resetflag, isflagset), (setbflag, resetbflag, isbflagset), (setsflag, resetsflag, issflagset)];
        let mut cx = cx(INVITE);
        for (i, (set, reset, test)) in kinds.iter().enumerate() {
            for flag in [0, 7, 31] {
                assert!(!test(&cx, flag) && set(&mut cx, flag) && test(&cx, flag));
                let others = kinds.iter().enumerate().filter(|(j, _)| *j != i);
                assert!(others.into_iter().all(|(_, (_, _, test))| !test(&cx, flag)));
                assert!(reset(&mut cx, flag) && !test(&cx, flag));
            }
            for flag in [-1, 32, i64::MIN, i64::MAX] {
                assert!(!set(&mut cx, flag) && !reset(&mut cx, flag) && !test(&cx, flag), "{flag}");
            }
        }
        assert_eq!((cx.msg.flags, cx.msg.branch_flags, cx.msg.script_flags), (0, 0, 0));
    }

    #[test]
    fn branches_are_counted_from_the_r_uris() {
        let mut cx = cx(INVITE);
        cx.msg.branches = vec![ExtraBranch::default()];
        assert!(setbiflag(&mut cx, 6, 0) && isbflagset(&cx, 6) && !isbiflagset(&mut cx, 6, 1));
        assert!(setbiflag(&mut cx, 7, 1) && isbiflagset(&mut cx, 7, 1) && !isbflagset(&cx, 7));
        assert_eq!(cx.msg.branches[0].flags, 1 << 7);
        assert!(resetbiflag(&mut cx, 7, 1) && !isbiflagset(&mut cx, 7, 1));
        for branch in [2, -1, i64::MIN] {
            assert!(!setbiflag(&mut cx, 1, branch) && !isbiflagset(&mut cx, 1, branch), "{branch}");
        }
        assert!(!setbiflag(&mut cx, 32, 1));
    }
}
