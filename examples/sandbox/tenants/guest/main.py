import time


def order(item):
    return f"{item}, please"


# What follows is none of its business, and nothing in the process could keep Python from the last two.
def mail(item):
    return app.mail.send("everybody", f"buy {item}")


def clock(item):
    return f"it is {time.time()}"


def steal(item):
    with open("../shop/prices.py") as prices:
        return prices.read()
