// The basic route: a registrar and proxy for one domain. The same steps are in basic.lua, basic.rhai and basic.py.

const FLAG_ACCOUNT = 1;
const FLAG_ACCOUNT_FAILED = 3;

// Callback: every request.
function ksr_request_route() {
    check_request();

    if (KSR.is_CANCEL()) {
        if (KSR.tm.t_check_trans() > 0) relay();
        return;
    }
    if (!KSR.is_ACK()) {
        // A retransmission is answered from its transaction, or ignored while its first copy is being routed.
        if (KSR.tmx.t_precheck_trans() > 0) {
            KSR.tm.t_check_trans();
            return;
        }
        if (KSR.tm.t_check_trans() === 0) return;
    }

    route_within_dialog();

    // From here on only requests that begin something.
    KSR.hdr.remove("Route");
    if (KSR.is_method_in("IS")) KSR.rr.record_route();
    if (KSR.is_INVITE()) KSR.setflag(FLAG_ACCOUNT);

    if (!KSR.is_myself_ruri()) relay();
    if (KSR.is_REGISTER()) {
        if (KSR.registrar.save("location", 0) < 0) KSR.sl.sl_reply_error();
        return;
    }
    if (KSR.corex.has_ruri_user() < 0) {
        KSR.sl.sl_send_reply(484, "Address Incomplete");
        return;
    }
    const found = KSR.registrar.lookup("location");
    if (found === -2) {
        KSR.sl.send_reply(405, "Method Not Allowed");
    } else if (found < 0) {
        KSR.sl.send_reply(404, "Not Found");
    } else {
        relay();
    }
}

// What every request must pass.
function check_request() {
    KSR.force_rport();
    const agent = KSR.kx.gete_ua();
    if (agent.includes("friendly-scanner") || agent.includes("sipvicious")) KSR.x.drop();

    if (KSR.maxfwd.process_maxfwd(10) < 0) {
        KSR.sl.sl_send_reply(483, "Too Many Hops");
        KSR.x.exit();
    }
    if (KSR.is_OPTIONS() && KSR.is_myself_ruri() && KSR.corex.has_ruri_user() < 0) {
        KSR.sl.sl_send_reply(200, "Keepalive");
        KSR.x.exit();
    }
    // It sends the error reply itself.
    if (KSR.sanity.sanity_check(17895, 7) < 0) KSR.x.exit();
}

// Requests of a dialog follow the route that was recorded when it began.
function route_within_dialog() {
    if (KSR.siputils.has_totag() < 0) return;
    if (KSR.rr.loose_route() > 0) {
        if (KSR.is_BYE()) {
            KSR.setflag(FLAG_ACCOUNT);
            KSR.setflag(FLAG_ACCOUNT_FAILED);
        } else if (KSR.is_NOTIFY()) {
            KSR.rr.record_route();
        }
        relay();
    }
    if (KSR.is_ACK()) {
        // Without a route it can only be the end of a transaction of ours.
        if (KSR.tm.t_check_trans() > 0) relay();
        KSR.x.exit();
    }
    KSR.sl.sl_send_reply(404, "Not here");
    KSR.x.exit();
}

// Sends the request on, and ends the route.
function relay() {
    if (KSR.is_method_in("IBSU") && KSR.tm.t_is_set("branch_route") < 0) {
        KSR.tm.t_on_branch("ksr_branch_manage");
    }
    if (KSR.is_method_in("ISU") && KSR.tm.t_is_set("onreply_route") < 0) {
        KSR.tm.t_on_reply("ksr_onreply_manage");
    }
    if (KSR.is_INVITE() && KSR.tm.t_is_set("failure_route") < 0) {
        KSR.tm.t_on_failure("ksr_failure_manage");
    }
    if (KSR.tm.t_relay() < 0) KSR.sl.sl_reply_error();
    KSR.x.exit();
}

// Callback: every reply, before its transaction sees it.
function ksr_reply_route() {
    if (KSR.sanity.sanity_check(17604, 6) < 0) KSR.x.drop();
}

// Callback: each branch of a request, before it is sent.
function ksr_branch_manage() {
    KSR.dbg("new branch to " + KSR.kx.get_ruri());
}

// Callback: each reply of a transaction.
function ksr_onreply_manage() {
    KSR.dbg("reply " + KSR.kx.get_status());
}

// Callback: all branches have failed.
function ksr_failure_manage() {
    if (KSR.tm.t_is_canceled() > 0) return;
    KSR.dbg("failed with " + KSR.tm.t_get_status_code());
}
