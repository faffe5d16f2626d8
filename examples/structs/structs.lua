function on_order(order)
    if not order.customer then
        return { refused = "order " .. order.id .. " has no customer" }
    end
    table.insert(order.items, { name = "delivery", price = 3 })
    return { offered = { total = app.shop.total(order) } }
end
