//! The basic route in Rust: the same steps as `scripts/basic.*`, the baseline that the languages are measured against.

use kemi::error::IntoNativeError;
use kemi::{CallbackName, NativeEngine, NativeError, NativeExit, Script, ScriptError, Value};
use sip_modules::modules::core::flags::setflag;
use sip_modules::modules::core::force_rport;
use sip_modules::modules::core::method::{
    is_ack, is_bye, is_cancel, is_invite, is_method_in, is_notify, is_options, is_register,
};
use sip_modules::modules::core::myself::is_myself_ruri;
use sip_modules::modules::{corex, hdr, kx, maxfwd, registrar, rr, sanity, siputils, sl, tm, tmx};
use sip_modules::proxy::Cx;

/// The name for `cfgengine`; `native` stays free for the routing language of `kamailio.cfg`.
pub const ENGINE: &str = "rust";

const FLAG_ACCOUNT: i64 = 1;
const FLAG_ACCOUNT_FAILED: i64 = 3;

/// How a step of the route ends: the next step follows, or the callback is over.
type Step = Result<(), Box<NativeError>>;

/// Returns the engine with all callbacks.
pub fn engine() -> NativeEngine<Cx> {
    NativeEngine::new(ENGINE)
        .callback("ksr_request_route", |cx, script, _| done(request_route(cx, script)))
        .callback("ksr_reply_route", |cx, _, _| done(reply_route(cx)))
        .callback("ksr_branch_manage", |cx, _, _| done(branch_manage(cx)))
        .callback("ksr_onreply_manage", |cx, _, _| done(onreply_manage(cx)))
        .callback("ksr_failure_manage", |cx, _, _| done(failure_manage(cx)))
}

fn done(step: Step) -> Result<Value, Box<NativeError>> {
    step.map(|()| Value::Nil)
}

/// Ends the callback.
fn exit() -> Step {
    Err(NativeExit::Exit.into_native_error())
}

fn request_route(cx: &mut Cx, script: &Script<'_>) -> Step {
    check_request(cx)?;

    if is_cancel(cx) {
        if tm::t_check_trans(cx, script) > 0 {
            relay(cx, script)?;
        }
        return Ok(());
    }
    if !is_ack(cx) {
        if tmx::t_precheck_trans(cx) > 0 {
            tm::t_check_trans(cx, script);
            return Ok(());
        }
        if tm::t_check_trans(cx, script) == 0 {
            return Ok(());
        }
    }

    route_within_dialog(cx, script)?;

    hdr::remove(cx, b"Route");
    if is_method_in(cx, b"IS") {
        rr::record_route(cx);
    }
    if is_invite(cx) {
        setflag(cx, FLAG_ACCOUNT);
    }

    if !is_myself_ruri(cx) {
        relay(cx, script)?;
    }
    if is_register(cx) {
        if registrar::save(cx, "location", 0) < 0 {
            sl::sl_reply_error(cx);
        }
        return Ok(());
    }
    if corex::has_ruri_user(cx) < 0 {
        sl::sl_send_reply(cx, 484, b"Address Incomplete");
        return Ok(());
    }
    match registrar::lookup(cx, "location") {
        -2 => {
            sl::send_reply(cx, 405, b"Method Not Allowed");
        }
        ..0 => {
            sl::send_reply(cx, 404, b"Not Found");
        }
        _ => relay(cx, script)?,
    }
    Ok(())
}

fn check_request(cx: &mut Cx) -> Step {
    force_rport(cx);
    let agent = kx::gete_ua(cx);
    let scanner = ["friendly-scanner", "sipvicious"];
    if scanner.iter().any(|name| agent.windows(name.len()).any(|part| part == name.as_bytes())) {
        return Err(NativeExit::Drop.into_native_error());
    }
    if maxfwd::process_maxfwd(cx, 10) < 0 {
        sl::sl_send_reply(cx, 483, b"Too Many Hops");
        return exit();
    }
    if is_options(cx) && is_myself_ruri(cx) && corex::has_ruri_user(cx) < 0 {
        sl::sl_send_reply(cx, 200, b"Keepalive");
        return exit();
    }
    if sanity::sanity_check(cx, 17895, 7) < 0 {
        return exit();
    }
    Ok(())
}

fn route_within_dialog(cx: &mut Cx, script: &Script<'_>) -> Step {
    if siputils::has_totag(cx) < 0 {
        return Ok(());
    }
    if rr::loose_route(cx) > 0 {
        if is_bye(cx) {
            setflag(cx, FLAG_ACCOUNT);
            setflag(cx, FLAG_ACCOUNT_FAILED);
        } else if is_notify(cx) {
            rr::record_route(cx);
        }
        relay(cx, script)?;
    }
    if is_ack(cx) {
        if tm::t_check_trans(cx, script) > 0 {
            relay(cx, script)?;
        }
        return exit();
    }
    sl::sl_send_reply(cx, 404, b"Not here");
    exit()
}

/// Sends the request on, and ends the route.
fn relay(cx: &mut Cx, script: &Script<'_>) -> Step {
    let set = |error: ScriptError| -> Box<NativeError> { error.into() };
    if is_method_in(cx, b"IBSU") && tm::t_is_set(cx, "branch_route") == Ok(-1) {
        tm::t_on_branch(cx, script, CallbackName::new("ksr_branch_manage")).map_err(set)?;
    }
    if is_method_in(cx, b"ISU") && tm::t_is_set(cx, "onreply_route") == Ok(-1) {
        tm::t_on_reply(cx, script, CallbackName::new("ksr_onreply_manage")).map_err(set)?;
    }
    if is_invite(cx) && tm::t_is_set(cx, "failure_route") == Ok(-1) {
        tm::t_on_failure(cx, script, CallbackName::new("ksr_failure_manage")).map_err(set)?;
    }
    if tm::t_relay(cx, script) < 0 {
        sl::sl_reply_error(cx);
    }
    exit()
}

fn reply_route(cx: &mut Cx) -> Step {
    if sanity::sanity_check(cx, 17604, 6) < 0 {
        return Err(NativeExit::Drop.into_native_error());
    }
    Ok(())
}

fn branch_manage(cx: &mut Cx) -> Step {
    tracing::debug!(target: "script", "new branch to {}", cx.msg.ruri().escape_ascii());
    Ok(())
}

fn onreply_manage(cx: &mut Cx) -> Step {
    tracing::debug!(target: "script", "reply {}", cx.msg.message.status().unwrap_or_default());
    Ok(())
}

fn failure_manage(cx: &mut Cx) -> Step {
    if tm::t_is_canceled(cx) < 0 {
        tracing::debug!(target: "script", "failed with {}", tm::t_get_status_code(cx));
    }
    Ok(())
}
