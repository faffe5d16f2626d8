function on_order(count)
    return app.stock.take(count)
end
