-- Tenant TENANT: what an order costs, and a text to whoever ordered.
local tenant = TENANT
local prices = { tea = 12, coffee = 15, cake = 20 }
local orders = {}

local function price_of(item, count)
    local price = prices[item]
    if not price then
        error("tenant " .. tenant .. " does not sell " .. item)
    end
    return price * count + tenant % 7
end

function on_order(customer, item, count)
    local sum = price_of(item, count)
    orders[#orders + 1] = { customer = customer, item = item, count = count, sum = sum }
    app.mail.send(customer, count .. " " .. item .. " for " .. sum)
    return sum
end
