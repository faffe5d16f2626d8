function on_order(order) {
    if (order.customer === null) {
        return { refused: `order ${order.id} has no customer` };
    }
    order.items.push({ name: "delivery", price: 3 });
    return { offered: { total: app.shop.total(order) } };
}
