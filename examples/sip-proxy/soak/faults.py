"""The basic route with a fault for some users of the R-URI; loaded after basic.py."""

import KSR


def deep(n):
    return 1 + deep(n + 1)


def loop():
    while True:
        try:
            while True:
                pass
        except:  # noqa: E722
            pass


def throw():
    raise RuntimeError("boom")


FAULTS = {
    "loop": loop,
    "throw": throw,
    "unknown": lambda: getattr(KSR.sl, "sl_sned_reply")(200, "OK"),
    "deep": lambda: deep(1),
}

route = ksr_request_route  # noqa: F821


def ksr_request_route():
    fault = FAULTS.get(KSR.kx.get_ruser())
    if fault and not KSR.is_ACK():
        fault()
    route()
