// Answers the user "answer" itself; sends any other call where nothing can be sent, then to the address in the header X-Next.
function ksr_request_route() {
    if (KSR.is_ACK()) {
        if (KSR.tm.t_check_trans() > 0) {
            KSR.tm.t_relay();
        }
        return;
    }
    if (KSR.pv.get("$rU") === "answer") {
        KSR.tm.t_newtran();
        KSR.tm.t_reply(200, "OK");
        return;
    }
    KSR.seturi("sip:gone@127.255.255.255:5070");
    if (KSR.tm.t_relay() < 0) {
        KSR.seturi("sip:next@" + KSR.hdr.get("X-Next"));
        KSR.tm.t_relay();
    }
}
