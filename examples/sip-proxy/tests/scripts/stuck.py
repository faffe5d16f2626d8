"""Answers with its version, marks what it relays with it, and gets stuck for some users."""

import time

import KSR


def ksr_request_route():
    user = KSR.kx.get_ruser()
    if user == "loop":
        KSR.info("looping\n")
        while True:
            pass
    if user == "wait":
        KSR.info("waiting\n")
        time.sleep(6)
    if KSR.is_OPTIONS():
        KSR.sl.sl_send_reply(200, "VERSION")
        return
    KSR.hdr.append("X-Version: VERSION\r\n")
    KSR.tm.t_relay()
