//! `KSR.tmx`: what more there is to know about transactions (Kamailio's module `tmx`).

use kemi_macros::kemi_export;

use crate::proxy::{Cx, Route, enter_progress};
use crate::tm::progress_key;

/// Tells whether the same request is being routed right now by another worker.
///
/// Returns 1 if so: the message is a retransmission that came too early to find a transaction. Returns -1 if not, and
/// always for ACK and CANCEL.
#[kemi_export(module = "tmx", callbacks(request_route))]
pub fn t_precheck_trans(cx: &mut Cx) -> i64 {
    if matches!(cx.msg.method(), b"ACK" | b"CANCEL") || cx.msg.in_progress.is_some() {
        return -1;
    }
    let Some(key) = progress_key(&cx.shared, &cx.msg.message) else { return -1 };
    if !enter_progress(&cx.shared, key) {
        return 1;
    }
    cx.msg.in_progress = Some(key);
    -1
}

/// Tells whether a branch route runs. Returns 1 or -1.
#[kemi_export(module = "tmx")]
pub fn t_is_branch_route(cx: &Cx) -> i64 {
    is(cx, Route::Branch)
}

/// Tells whether the request route runs. Returns 1 or -1.
#[kemi_export(module = "tmx")]
pub fn t_is_request_route(cx: &Cx) -> i64 {
    is(cx, Route::Request)
}

/// Tells whether a failure route runs. Returns 1 or -1.
#[kemi_export(module = "tmx")]
pub fn t_is_failure_route(cx: &Cx) -> i64 {
    is(cx, Route::Failure)
}

/// Tells whether a reply route of a transaction runs. Returns 1 or -1.
#[kemi_export(module = "tmx")]
pub fn t_is_reply_route(cx: &Cx) -> i64 {
    is(cx, Route::OnReply)
}

fn is(cx: &Cx, route: Route) -> i64 {
    if cx.msg.route == route { 1 } else { -1 }
}
