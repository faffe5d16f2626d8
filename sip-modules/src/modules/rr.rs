//! `KSR.rr`: record-routing and loose routing (Kamailio's module `rr`).

mod record;
mod route;

use kemi_macros::kemi_export;

use crate::modules::mistaken;
use crate::modules::textops::matches;
use crate::proxy::{Cx, Route};

pub use record::complete;

/// The number of Kamailio's for a mistake in the configuration or script.
const CONFIGURATION: i64 = -6;

/// Adds a Record-Route with this proxy's address, or two if the request leaves by another socket than it came in by.
///
/// Returns 1, or -1 if one was added already or this is a reply.
#[kemi_export(module = "rr")]
pub fn record_route(cx: &mut Cx) -> i64 {
    record::add(cx, "record_route", &[], b"")
}

/// Adds a Record-Route as `record_route` does, with parameters such as `;name=value` for its URI.
///
/// Returns 1, or -1 if one was added already, this is a reply, or the text is no list of parameters.
#[kemi_export(module = "rr")]
pub fn record_route_params(cx: &mut Cx, params: &[u8]) -> i64 {
    record::add(cx, "record_route_params", &[], params)
}

/// Adds a Record-Route with an address of the script's choice: `address:port;parameters`, without a scheme.
///
/// Returns 1, or -1 if one was added already, this is a reply, or the text cannot be part of a URI.
#[kemi_export(module = "rr")]
pub fn record_route_preset_one(cx: &mut Cx, address: &[u8]) -> i64 {
    record::add(cx, "record_route_preset_one", &[address], b"")
}

/// Adds two Record-Routes: the first names the socket the request leaves by, the second the one it came in by.
///
/// Give both the parameter `;r2=on`, so that `loose_route` treats them as a pair. Returns 1, or -1 if one was added
/// already, this is a reply, or a text cannot be part of a URI.
#[kemi_export(module = "rr")]
pub fn record_route_preset(cx: &mut Cx, outbound: &[u8], inbound: &[u8]) -> i64 {
    if inbound.is_empty() {
        return record::add(cx, "record_route_preset", &[outbound], b"");
    }
    record::add(cx, "record_route_preset", &[outbound, inbound], b"")
}

/// Takes back the Record-Route that this route has added. Returns 1.
#[kemi_export(module = "rr")]
pub fn remove_record_route(cx: &mut Cx) -> i64 {
    record::remove(cx);
    1
}

/// Adds parameters such as `;nat=yes` to the URI of the Record-Route, whether it was added already or will be.
///
/// Returns 1, or -1 if the text is no list of parameters.
#[kemi_export(module = "rr")]
pub fn add_rr_param(cx: &mut Cx, param: &[u8]) -> i64 {
    record::add_param(cx, "add_rr_param", param)
}

/// Routes the request by its Route headers.
///
/// Removes the topmost Route if it names this proxy (and its pair), and sends the request to the next one. A Route without
/// a port names 5060, or 5061 for TLS. Returns 1 if it did, also when no Route is left and the R-URI decides; -1 if there
/// is no Route or it cannot be read; -3 if a request that starts a dialog had no other Route than this proxy's.
#[kemi_export(module = "rr")]
pub fn loose_route(cx: &mut Cx) -> i64 {
    route::route(cx, 0)
}

/// Routes a request that starts a dialog as `loose_route` does.
///
/// Returns 1 if it had no other Route than this proxy's, for which `loose_route` returns -3; else -1, and then further
/// Routes are followed nevertheless. Does nothing within a dialog.
#[kemi_export(module = "rr")]
pub fn loose_route_preloaded(cx: &mut Cx) -> i64 {
    if cx.msg.message.has_to_tag() {
        return -1;
    }
    if route::route(cx, 0) == route::PRELOADED { 1 } else { -1 }
}

/// Routes as `loose_route` does; bit 1 of the mode leaves out what is done for strict routers.
///
/// Returns what `loose_route` returns.
#[kemi_export(module = "rr")]
pub fn loose_route_mode(cx: &mut Cx, mode: i64) -> i64 {
    route::route(cx, mode)
}

/// Tells whether the parameters of this proxy's own Route match a regular expression, without regard to case.
///
/// `loose_route` must have consumed that Route before. Returns 1 or -1; -1 as well for a bad expression.
#[kemi_export(module = "rr")]
pub fn check_route_param(cx: &Cx, expression: &str) -> i64 {
    let Some(params) = &cx.msg.own_route else { return -1 };
    match matches(expression, params) {
        Ok(true) => 1,
        Ok(false) => -1,
        Err(error) => {
            tracing::error!(target: "script", "check_route_param: bad regular expression '{expression}': {error}");
            -1
        }
    }
}

/// Tells whether the request goes `"downstream"` (as the one that started the dialog) or `"upstream"`.
///
/// It needs the setting `append_fromtag`, and `loose_route` must have run before; what cannot be told is downstream.
/// Returns 1 if the direction is the one named, else -1; -6 without that setting.
#[kemi_export(module = "rr")]
pub fn is_direction(cx: &Cx, direction: &str) -> Result<i64, String> {
    if !cx.shared.settings.append_fromtag {
        tracing::error!(target: "script", "is_direction: needs the setting append_fromtag");
        return Ok(CONFIGURATION);
    }
    let wanted = match direction {
        _ if direction.eq_ignore_ascii_case("upstream") => true,
        _ if direction.eq_ignore_ascii_case("downstream") => false,
        _ => {
            let why = format!("unknown direction '{direction}': upstream or downstream");
            return mistaken(cx, "is_direction", CONFIGURATION, why);
        }
    };
    Ok(if record::is_upstream(&cx.msg) == wanted { 1 } else { -1 })
}

/// Whether the functions of this module make sense here; says so if not.
fn is_request(cx: &Cx, function: &str) -> bool {
    let reply = cx.msg.message.is_reply() || matches!(cx.msg.route, Route::Reply | Route::OnReply);
    if reply {
        tracing::warn!(target: "script", "{function}: this is a reply; call it for requests only");
    }
    !reply
}

#[cfg(test)]
mod tests;
