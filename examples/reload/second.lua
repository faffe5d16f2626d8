function on_call(name) return "good evening, " .. name end
