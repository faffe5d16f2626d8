-- A handler returns what is answered as JSON; nothing is an answer without a body.
local VERSION = 1

function greet()
    local name = app.request.param("name")
    if app.request.query("shout") then name = name:upper() end
    return { hello = name, agent = app.request.header("user-agent") }
end

function order()
    local order = app.request.order() -- a body that is no order is answered by 400
    if order.count > 100 then app.response.refuse(422, "we do not have so many") end
    app.response.status(201)
    app.response.header("location", "/orders/" .. order.item)
    return { item = order.item, total = order.count * 3 }
end

function echo()
    return app.request.json()
end

function stock()
    local answer = app.http.get(app.setting("stock"), { item = app.request.param("item") })
    return { status = answer.status, text = answer.body }
end

function version()
    return { version = VERSION }
end

function fail()
    local title = app.request.query("title") or "none"
    error("no page is called " .. title) -- @fail
end

function forever()
    while true do end
end
