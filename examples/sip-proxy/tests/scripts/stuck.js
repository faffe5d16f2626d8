// Answers with its version, marks what it relays with it, and gets stuck for some users.
function ksr_request_route() {
	const user = KSR.kx.get_ruser();
	if (user === "loop") {
		KSR.info("looping\n");
		for (;;) { }
	}
	if (KSR.is_OPTIONS()) {
		KSR.sl.sl_send_reply(200, "VERSION");
		return;
	}
	KSR.hdr.append("X-Version: VERSION\r\n");
	KSR.tm.t_relay();
}
