//! `KSR.pv`: pseudo-variables, `$name`.
//!
//! Values that are numbers in Kamailio's type system (`$sp`, `$rs`, `$T_branch_idx` …) come as integers, all others as
//! strings. Headers are those of the message as received. The names are in `pv/name.rs`; setting works for `$ru`,
//! `$rU`, `$rd`, `$rp`, `$du`, `$var(name)` and `$avp(name)`.

mod address;
mod avps;
mod credentials;
mod name;
mod read;
mod ruri;
mod template;
mod unknown;
mod write;

use kemi_core::abi::Out;
use kemi_macros::kemi_export;

pub(crate) use self::address::{push_int, push_ip, push_socket, push_uri};
pub(crate) use self::avps::Avps;
pub(crate) use self::credentials::user as credentials_user;
pub(crate) use self::read::header;
pub(crate) use self::ruri::{Change, change_ruri, set_destination};
pub(crate) use self::template::expand;
use self::write::New;
use crate::proxy::Cx;

/// What a missing value looks like to the functions that end in `w`.
pub(crate) const MISSING: &[u8] = b"<null>";

/// Returns a pseudo-variable's value: an integer, a string, or nil when it has none.
#[kemi_export(module = "pv")]
pub fn get<'c>(cx: &'c mut Cx, name: &[u8]) -> Out<'c> {
    value(cx, name)
}

/// Returns a pseudo-variable's value, or `<null>` when it has none.
#[kemi_export(module = "pv")]
pub fn getw<'c>(cx: &'c mut Cx, name: &[u8]) -> Out<'c> {
    or(value(cx, name), Out::Bytes(MISSING))
}

/// Returns a pseudo-variable's value, or an empty string when it has none.
#[kemi_export(module = "pv")]
pub fn gete<'c>(cx: &'c mut Cx, name: &[u8]) -> Out<'c> {
    or(value(cx, name), Out::Bytes(b""))
}

/// Returns a pseudo-variable's value as an integer; 0 when it has none or is not a number.
#[kemi_export(module = "pv")]
pub fn geti(cx: &mut Cx, name: &[u8]) -> i64 {
    number(&value(cx, name)).unwrap_or(0)
}

/// Returns a pseudo-variable's value as an integer; nil when it has none or is not a number.
#[kemi_export(module = "pv")]
pub fn getl(cx: &mut Cx, name: &[u8]) -> Option<i64> {
    number(&value(cx, name))
}

/// Returns a pseudo-variable's value, or the integer given when it has none.
#[kemi_export(module = "pv")]
pub fn getvn<'c>(cx: &'c mut Cx, name: &[u8], default: i64) -> Out<'c> {
    or(value(cx, name), Out::Int(default))
}

/// Returns a pseudo-variable's value, or the string given when it has none.
#[kemi_export(module = "pv")]
pub fn getvs<'c>(cx: &'c mut Cx, name: &[u8], default: &'c [u8]) -> Out<'c> {
    or(value(cx, name), Out::Bytes(default))
}

/// Sets a pseudo-variable to an integer; false when it cannot be set to one.
#[kemi_export(module = "pv")]
pub fn seti(cx: &mut Cx, name: &[u8], value: i64) -> bool {
    set(cx, "seti", name, New::Int(value))
}

/// Sets a pseudo-variable to an integer; false when it cannot be set to one.
#[kemi_export(module = "pv")]
pub fn setl(cx: &mut Cx, name: &[u8], value: i64) -> bool {
    set(cx, "setl", name, New::Int(value))
}

/// Sets a pseudo-variable to a string; false when it cannot be set to it.
#[kemi_export(module = "pv")]
pub fn sets(cx: &mut Cx, name: &[u8], value: &[u8]) -> bool {
    set(cx, "sets", name, New::Text(value))
}

/// Takes a pseudo-variable's value away; false when that is not possible.
#[kemi_export(module = "pv")]
pub fn unset(cx: &mut Cx, name: &[u8]) -> bool {
    set(cx, "unset", name, New::Null)
}

/// Tests whether a pseudo-variable has no value; one that does not exist has none.
#[kemi_export(module = "pv")]
pub fn is_null(cx: &mut Cx, name: &[u8]) -> bool {
    matches!(value(cx, name), Out::Nil)
}

fn value<'c>(cx: &'c mut Cx, name: &[u8]) -> Out<'c> {
    match name::parse(name) {
        Some(pv) => read::read(cx, pv),
        None => {
            unknown::warn_once(name);
            Out::Nil
        }
    }
}

fn or<'c>(value: Out<'c>, default: Out<'c>) -> Out<'c> {
    match value {
        Out::Nil => default,
        value => value,
    }
}

fn number(value: &Out<'_>) -> Option<i64> {
    match value {
        Out::Int(number) => Some(*number),
        Out::Bytes(digits) => std::str::from_utf8(digits).ok()?.parse().ok(),
        _ => None,
    }
}

fn set(cx: &mut Cx, function: &str, name: &[u8], new: New<'_>) -> bool {
    let Some(pv) = name::parse(name) else {
        unknown::warn_once(name);
        return false;
    };
    match write::write(cx, pv, new) {
        Ok(()) => true,
        Err(why) => {
            tracing::warn!(target: "script", "KSR.pv.{function}: {} is not set: {why}", name.escape_ascii());
            false
        }
    }
}

#[cfg(test)]
mod tests;
