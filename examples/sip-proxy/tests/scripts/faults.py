"""One fault for each user name in the R-URI; everybody else is answered 200."""

import os
import re
import sys

import KSR

keep = []


def deep(n):
    return 1 + deep(n + 1)


def loop():
    while True:
        pass


def loop_caught():
    while True:
        try:
            while True:
                pass
        except:  # noqa: E722
            pass


def alloc():
    while True:
        keep.append("x" * 1000000 + str(len(keep)))


def big_string():
    text = "x"
    while True:
        text = text + text


def throw():
    raise RuntimeError("boom")


def hanging():
    def numbers():
        yield 1
        yield 2

    generator = numbers()
    next(generator)
    keep.append(generator)
    raise RuntimeError("left hanging")


def regex():
    for n in range(10, 60):
        re.match("(a+)+$", "a" * n + "b")


def redefine():
    global KSR
    KSR = None


def redefine_module():
    KSR.sl = None


def redefine_function():
    del KSR.sl.sl_send_reply


def redefine_quietly():
    global KSR
    KSR.sl.sl_send_reply(200, "alive")
    KSR = None
    return "answered"


def close_stdout():
    sys.stdout.close()
    raise RuntimeError("closed")


FAULTS = {
    "loop": loop,
    "loop_caught": loop_caught,
    "deep": lambda: deep(1),
    "alloc": alloc,
    "big_string": big_string,
    "throw": throw,
    "throw_table": lambda: {}["nothing"],
    "throw_nothing": lambda: 1 / 0,
    "unknown_function": lambda: getattr(KSR.sl, "sl_sned_reply")(200, "OK"),
    "unknown_module": lambda: KSR.nosuch.func(1),
    "disabled_module": lambda: KSR.textops.search("x"),
    "wrong_type": lambda: KSR.sl.sl_send_reply({}, "OK"),
    "too_few": lambda: KSR.sl.sl_send_reply(200),
    "too_many": lambda: KSR.sl.sl_send_reply(200, "OK", "more"),
    "nil_for_text": lambda: KSR.sl.sl_send_reply(200, None),
    # Made up at run time: a name that is spelt out is refused at load.
    "callback_typo": lambda: KSR.tm.t_on_failure("ksr_failure_" + "mange"),
    "regex": regex,
    "x_exit": lambda: KSR.x.exit(),
    "exit": lambda: exit(),
    "sys_exit": lambda: sys.exit(0),
    "os__exit": lambda: os._exit(0),
    "os_abort": lambda: os.abort(),
    "hanging": hanging,
    "redefine": redefine,
    "redefine_module": redefine_module,
    "redefine_function": redefine_function,
    "redefine_quietly": redefine_quietly,
    "close_stdout": close_stdout,
}


def ksr_request_route():
    fault = FAULTS.get(KSR.kx.get_ruser())
    if fault and fault() == "answered":
        return
    KSR.sl.sl_send_reply(200, "alive")


def ksr_failure_manage():
    pass
