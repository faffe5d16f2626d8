// When the callee is busy, the call goes on to the address in the header X-Next.
function ksr_request_route() {
    if (KSR.is_ACK()) {
        KSR.tm.t_check_trans();
        return;
    }
    KSR.tm.t_on_failure("failover");
    KSR.tm.t_relay();
}

function failover() {
    if (KSR.tm.t_get_status_code() === 486) {
        KSR.seturi("sip:next@" + KSR.hdr.get("X-Next"));
        KSR.tm.t_relay();
    }
}
