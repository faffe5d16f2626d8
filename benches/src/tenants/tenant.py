# Tenant TENANT: what an order costs, and a text to whoever ordered.
tenant = TENANT
prices = {"tea": 12, "coffee": 15, "cake": 20}
orders = []


def price_of(item, count):
    if item not in prices:
        raise KeyError(f"tenant {tenant} does not sell {item}")
    return prices[item] * count + tenant % 7


def on_order(customer, item, count):
    total = price_of(item, count)
    orders.append({"customer": customer, "item": item, "count": count, "sum": total})
    app.mail.send(customer, f"{count} {item} for {total}")
    return total
