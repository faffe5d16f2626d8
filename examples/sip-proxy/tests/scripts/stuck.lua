-- Answers with its version, marks what it relays with it, and gets stuck for some users.
function ksr_request_route()
	local user = KSR.kx.get_ruser()
	if user == "loop" then
		KSR.info("looping\n")
		while true do end
	end
	if user == "wait" then
		KSR.info("waiting\n")
		os.execute("sleep 6")
	end
	if KSR.is_OPTIONS() then
		KSR.sl.sl_send_reply(200, "VERSION")
		return
	end
	KSR.hdr.append("X-Version: VERSION\r\n")
	KSR.tm.t_relay()
end
