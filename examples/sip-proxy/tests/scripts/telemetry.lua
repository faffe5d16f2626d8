-- Answers by the user part of the R-URI: what the tests of the operator's view need.

function ksr_request_route()
	local user = KSR.pv.gete("$rU")
	if user == "fail" then error("on purpose") end
	if user == "loop" then while true do end end
	if user == "relay_then_fail" then
		KSR.tm.t_newtran()
		error("after a transaction was made")
	end
	KSR.sl.sl_send_reply(200, "OK")
end
