-- The host calls this for each order, on whichever thread is free.
function on_order(count)
    app.order.charge(count * app.shop.price(app.order.item()))
end
