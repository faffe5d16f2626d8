import time

from prices import prices


def order(item):
    return app.mail.send("shop", f"{item} for {prices[item]}")


def clock(item):
    return "it is later than 1970" if time.time() > 0 else "it is early"
