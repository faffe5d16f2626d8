-- The basic route with a fault for some users of the R-URI; loaded after basic.lua.
local function deep(n) return 1 + deep(n + 1) end

local faults = {
	loop = function() while true do pcall(function() while true do end end) end end,
	throw = function() error("boom") end,
	unknown = function() KSR.sl["sl_sned" .. "_reply"](200, "OK") end,
	deep = function() return deep(1) end,
}

local route = ksr_request_route

function ksr_request_route()
	local fault = faults[KSR.kx.get_ruser() or ""]
	if fault and not KSR.is_ACK() then fault() end
	route()
end
