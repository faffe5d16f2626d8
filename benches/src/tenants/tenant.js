// Tenant TENANT: what an order costs, and a text to whoever ordered.
const tenant = TENANT;
const prices = { tea: 12, coffee: 15, cake: 20 };
const orders = [];

function priceOf(item, count) {
    if (!(item in prices)) {
        throw new Error(`tenant ${tenant} does not sell ${item}`);
    }
    return prices[item] * count + tenant % 7;
}

function on_order(customer, item, count) {
    const sum = priceOf(item, count);
    orders.push({ customer, item, count, sum });
    app.mail.send(customer, `${count} ${item} for ${sum}`);
    return sum;
}
