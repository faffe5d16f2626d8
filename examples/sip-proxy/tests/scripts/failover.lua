-- When the callee is busy, the call goes on to the address in the header X-Next.
function ksr_request_route()
	if KSR.is_ACK() then
		KSR.tm.t_check_trans()
		return
	end
	KSR.tm.t_on_failure("failover")
	KSR.tm.t_relay()
end

function failover()
	if KSR.tm.t_get_status_code() == 486 then
		KSR.seturi("sip:next@" .. KSR.hdr.get("X-Next"))
		KSR.tm.t_relay()
	end
end
