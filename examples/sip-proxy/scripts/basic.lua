-- The basic route: a registrar and proxy for one domain. The same steps are in basic.rhai, basic.py and basic.js.

local FLAG_ACCOUNT = 1
local FLAG_ACCOUNT_FAILED = 3

-- Callback: every request.
function ksr_request_route()
	check_request()

	if KSR.is_CANCEL() then
		if KSR.tm.t_check_trans() > 0 then relay() end
		return
	end
	if not KSR.is_ACK() then
		-- A retransmission is answered from its transaction, or ignored while its first copy is being routed.
		if KSR.tmx.t_precheck_trans() > 0 then
			KSR.tm.t_check_trans()
			return
		end
		if KSR.tm.t_check_trans() == 0 then return end
	end

	route_within_dialog()

	-- From here on only requests that begin something.
	KSR.hdr.remove("Route")
	if KSR.is_method_in("IS") then KSR.rr.record_route() end
	if KSR.is_INVITE() then KSR.setflag(FLAG_ACCOUNT) end

	if not KSR.is_myself_ruri() then relay() end
	if KSR.is_REGISTER() then
		if KSR.registrar.save("location", 0) < 0 then KSR.sl.sl_reply_error() end
		return
	end
	if KSR.corex.has_ruri_user() < 0 then
		KSR.sl.sl_send_reply(484, "Address Incomplete")
		return
	end
	local found = KSR.registrar.lookup("location")
	if found == -2 then
		KSR.sl.send_reply(405, "Method Not Allowed")
	elseif found < 0 then
		KSR.sl.send_reply(404, "Not Found")
	else
		relay()
	end
end

-- What every request must pass.
function check_request()
	KSR.force_rport()
	local agent = KSR.kx.gete_ua()
	if agent:find("friendly-scanner", 1, true) or agent:find("sipvicious", 1, true) then KSR.x.drop() end

	if KSR.maxfwd.process_maxfwd(10) < 0 then
		KSR.sl.sl_send_reply(483, "Too Many Hops")
		KSR.x.exit()
	end
	if KSR.is_OPTIONS() and KSR.is_myself_ruri() and KSR.corex.has_ruri_user() < 0 then
		KSR.sl.sl_send_reply(200, "Keepalive")
		KSR.x.exit()
	end
	-- It sends the error reply itself.
	if KSR.sanity.sanity_check(17895, 7) < 0 then KSR.x.exit() end
end

-- Requests of a dialog follow the route that was recorded when it began.
function route_within_dialog()
	if KSR.siputils.has_totag() < 0 then return end
	if KSR.rr.loose_route() > 0 then
		if KSR.is_BYE() then
			KSR.setflag(FLAG_ACCOUNT)
			KSR.setflag(FLAG_ACCOUNT_FAILED)
		elseif KSR.is_NOTIFY() then
			KSR.rr.record_route()
		end
		relay()
	end
	if KSR.is_ACK() then
		-- Without a route it can only be the end of a transaction of ours.
		if KSR.tm.t_check_trans() > 0 then relay() end
		KSR.x.exit()
	end
	KSR.sl.sl_send_reply(404, "Not here")
	KSR.x.exit()
end

-- Sends the request on, and ends the route.
function relay()
	if KSR.is_method_in("IBSU") and KSR.tm.t_is_set("branch_route") < 0 then
		KSR.tm.t_on_branch("ksr_branch_manage")
	end
	if KSR.is_method_in("ISU") and KSR.tm.t_is_set("onreply_route") < 0 then
		KSR.tm.t_on_reply("ksr_onreply_manage")
	end
	if KSR.is_INVITE() and KSR.tm.t_is_set("failure_route") < 0 then
		KSR.tm.t_on_failure("ksr_failure_manage")
	end
	if KSR.tm.t_relay() < 0 then KSR.sl.sl_reply_error() end
	KSR.x.exit()
end

-- Callback: every reply, before its transaction sees it.
function ksr_reply_route()
	if KSR.sanity.sanity_check(17604, 6) < 0 then KSR.x.drop() end
end

-- Callback: each branch of a request, before it is sent.
function ksr_branch_manage()
	KSR.dbg("new branch to " .. KSR.kx.get_ruri())
end

-- Callback: each reply of a transaction.
function ksr_onreply_manage()
	KSR.dbg("reply " .. KSR.kx.get_status())
end

-- Callback: all branches have failed.
function ksr_failure_manage()
	if KSR.tm.t_is_canceled() > 0 then return end
	KSR.dbg("failed with " .. KSR.tm.t_get_status_code())
end
