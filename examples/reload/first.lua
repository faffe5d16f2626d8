function on_call(name) return "hello, " .. name end
