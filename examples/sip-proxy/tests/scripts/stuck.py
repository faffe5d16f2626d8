"""Answers with its version, marks what it relays with it, and gets stuck for some users."""

import hashlib

import KSR


def ksr_request_route():
    user = KSR.kx.get_ruser()
    if user == "loop":
        KSR.info("looping\n")
        while True:
            pass
    if user == "wait":
        KSR.info("waiting\n")
        # A library's own loop in C, which looks for nothing; some seconds.
        hashlib.pbkdf2_hmac("sha256", b"password", b"salt", 12_000_000)
    if KSR.is_OPTIONS():
        KSR.sl.sl_send_reply(200, "VERSION")
        return
    KSR.hdr.append("X-Version: VERSION\r\n")
    KSR.tm.t_relay()
