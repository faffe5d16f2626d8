"""The basic route: a registrar and proxy for one domain. The same steps are in basic.lua, basic.rhai and basic.js."""

import KSR

FLAG_ACCOUNT = 1
FLAG_ACCOUNT_FAILED = 3


def ksr_request_route():
    """Callback: every request."""
    check_request()

    if KSR.is_CANCEL():
        if KSR.tm.t_check_trans() > 0:
            relay()
        return
    if not KSR.is_ACK():
        # A retransmission is answered from its transaction, or ignored while its first copy is being routed.
        if KSR.tmx.t_precheck_trans() > 0:
            KSR.tm.t_check_trans()
            return
        if KSR.tm.t_check_trans() == 0:
            return

    route_within_dialog()

    # From here on only requests that begin something.
    KSR.hdr.remove("Route")
    if KSR.is_method_in("IS"):
        KSR.rr.record_route()
    if KSR.is_INVITE():
        KSR.setflag(FLAG_ACCOUNT)

    if not KSR.is_myself_ruri():
        relay()
    if KSR.is_REGISTER():
        if KSR.registrar.save("location", 0) < 0:
            KSR.sl.sl_reply_error()
        return
    if KSR.corex.has_ruri_user() < 0:
        KSR.sl.sl_send_reply(484, "Address Incomplete")
        return
    found = KSR.registrar.lookup("location")
    if found == -2:
        KSR.sl.send_reply(405, "Method Not Allowed")
    elif found < 0:
        KSR.sl.send_reply(404, "Not Found")
    else:
        relay()


def check_request():
    """What every request must pass."""
    KSR.force_rport()
    agent = KSR.kx.gete_ua()
    if "friendly-scanner" in agent or "sipvicious" in agent:
        KSR.x.drop()

    if KSR.maxfwd.process_maxfwd(10) < 0:
        KSR.sl.sl_send_reply(483, "Too Many Hops")
        KSR.x.exit()
    if KSR.is_OPTIONS() and KSR.is_myself_ruri() and KSR.corex.has_ruri_user() < 0:
        KSR.sl.sl_send_reply(200, "Keepalive")
        KSR.x.exit()
    # It sends the error reply itself.
    if KSR.sanity.sanity_check(17895, 7) < 0:
        KSR.x.exit()


def route_within_dialog():
    """Requests of a dialog follow the route that was recorded when it began."""
    if KSR.siputils.has_totag() < 0:
        return
    if KSR.rr.loose_route() > 0:
        if KSR.is_BYE():
            KSR.setflag(FLAG_ACCOUNT)
            KSR.setflag(FLAG_ACCOUNT_FAILED)
        elif KSR.is_NOTIFY():
            KSR.rr.record_route()
        relay()
    if KSR.is_ACK():
        # Without a route it can only be the end of a transaction of ours.
        if KSR.tm.t_check_trans() > 0:
            relay()
        KSR.x.exit()
    KSR.sl.sl_send_reply(404, "Not here")
    KSR.x.exit()


def relay():
    """Sends the request on, and ends the route."""
    if KSR.is_method_in("IBSU") and KSR.tm.t_is_set("branch_route") < 0:
        KSR.tm.t_on_branch("ksr_branch_manage")
    if KSR.is_method_in("ISU") and KSR.tm.t_is_set("onreply_route") < 0:
        KSR.tm.t_on_reply("ksr_onreply_manage")
    if KSR.is_INVITE() and KSR.tm.t_is_set("failure_route") < 0:
        KSR.tm.t_on_failure("ksr_failure_manage")
    if KSR.tm.t_relay() < 0:
        KSR.sl.sl_reply_error()
    KSR.x.exit()


def ksr_reply_route():
    """Callback: every reply, before its transaction sees it."""
    if KSR.sanity.sanity_check(17604, 6) < 0:
        KSR.x.drop()


def ksr_branch_manage():
    """Callback: each branch of a request, before it is sent."""
    KSR.dbg("new branch to " + KSR.kx.get_ruri())


def ksr_onreply_manage():
    """Callback: each reply of a transaction."""
    KSR.dbg("reply %d" % KSR.kx.get_status())


def ksr_failure_manage():
    """Callback: all branches have failed."""
    if KSR.tm.t_is_canceled() > 0:
        return
    KSR.dbg("failed with %d" % KSR.tm.t_get_status_code())
