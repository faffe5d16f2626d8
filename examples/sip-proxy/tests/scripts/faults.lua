-- One fault for each user name in the R-URI; everybody else is answered 200.
local keep = {}
local function deep(n) return 1 + deep(n + 1) end

local faults = {
	loop = function() while true do end end,
	loop_caught = function() while true do pcall(function() while true do end end) end end,
	deep = function() return deep(1) end,
	alloc = function() while true do keep[#keep + 1] = string.rep("x", 1000000) .. #keep end end,
	big_string = function() local s = "x" while true do s = s .. s end end,
	throw = function() error("boom") end,
	throw_table = function() error({ code = 7 }) end,
	throw_nothing = function() error() end,
	unknown_function = function() KSR.sl["sl_sned" .. "_reply"](200, "OK") end,
	unknown_module = function() KSR.nosuch.func(1) end,
	disabled_module = function() KSR.textops.search("x") end,
	wrong_type = function() KSR.sl.sl_send_reply({}, "OK") end,
	too_few = function() KSR.sl.sl_send_reply(200) end,
	too_many = function() KSR.sl.sl_send_reply(200, "OK", "more") end,
	nil_for_text = function() KSR.sl.sl_send_reply(200, nil) end,
	-- Made up at run time: a name that is spelt out is refused at load.
	callback_typo = function() KSR.tm.t_on_failure("ksr_failure_" .. "mange") end,
	regex = function() for n = 1, 1000 do string.find(("a"):rep(n), (".-"):rep(6) .. "b") end end,
	x_exit = function() KSR.x.exit() end,
	os_exit = function() os.exit(0) end,
	hanging = function()
		local co = coroutine.create(function() coroutine.yield(1) end)
		coroutine.resume(co)
		keep.co = co
		error("left hanging")
	end,
	redefine = function() KSR = { sl = {} } end,
	redefine_module = function() KSR.sl = nil end,
	redefine_function = function() KSR.sl.sl_send_reply = nil end,
	redefine_quietly = function()
		KSR.sl.sl_send_reply(200, "alive")
		KSR = nil
		return "answered"
	end,
	close_stdout = function() io.stdout:close() error("closed") end,
}

function ksr_request_route()
	local fault = faults[KSR.kx.get_ruser() or ""]
	if fault and fault() == "answered" then return end
	KSR.sl.sl_send_reply(200, "alive")
end

function ksr_failure_manage() end
