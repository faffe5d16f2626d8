//! The functions of `KSR`, one file per module.

pub mod core;
pub mod corex;
pub mod hdr;
pub mod kx;
pub mod maxfwd;
pub mod pv;
pub mod registrar;
pub mod rr;
pub mod sanity;
pub mod siputils;
pub mod sl;
#[cfg(test)]
pub(crate) mod testing;
pub mod textops;
pub mod tm;
pub mod tmx;

use kemi_core::ArgumentPolicy;

use crate::proxy::Cx;

/// Makes sure that the exports of this crate are linked into the program.
pub fn link() {}

/// What a function returns for an argument that makes no sense: the number that Kamailio returns under the policy
/// `compat`, with a line in the log; an error of the script under `strict`.
///
/// # Errors
/// Under `strict`: what is wrong with the argument.
pub(crate) fn mistaken(cx: &Cx, function: &str, code: i64, why: String) -> Result<i64, String> {
    match cx.shared.registry.policy() {
        ArgumentPolicy::Compat => {
            tracing::error!(target: "script", "{function}: {why}");
            Ok(code)
        }
        ArgumentPolicy::Strict => Err(why),
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{INVITE, cx, lenient_cx};
    use super::*;

    #[test]
    fn an_argument_that_makes_no_sense_is_an_error_or_kamailios_number() {
        type Function = fn(&Cx) -> Result<i64, String>;
        let rows: [(Function, i64); 3] = [
            (|cx| tm::t_is_set(cx, "x"), -1),
            (|cx| rr::is_direction(cx, "sideways"), -6),
            (|cx| textops::search_hf(cx, b"To", ".", "z"), -1),
        ];
        for (row, (function, code)) in rows.into_iter().enumerate() {
            assert!(function(&cx(INVITE)).is_err(), "row {row}");
            assert_eq!(function(&lenient_cx(INVITE)), Ok(code), "row {row}");
        }
    }
}
