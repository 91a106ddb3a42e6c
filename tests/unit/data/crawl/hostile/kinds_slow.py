"""Servers that take a crawler's time, and those whose TLS is not in order."""

from __future__ import annotations

import socket
import struct
import time

from rankclip.data.reasons import Reason
from tests.unit.data.crawl.hostile.kinds import IMAGE, Kind, found
from tests.unit.data.crawl.hostile.server import Script, Talk

TIMEOUT, TLS = Reason.TIMEOUT, Reason.TLS
OK = b"HTTP/1.1 200 OK\r\n"


def dripped(head: bytes, drop: bytes) -> Script:
    def script(talk: Talk) -> None:
        talk.over = True
        talk.say(head)
        talk.drip(drop)

    return script


def _silence(talk: Talk) -> None:
    talk.over = True
    talk.stop.wait(60)


def _late(talk: Talk) -> None:
    time.sleep(0.3)
    found(talk)


def _reset(talk: Talk) -> None:
    talk.over = True
    talk.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _refuses(talk: Talk) -> None:
    talk.say("HTTP/1.1 400 Bad Request\r\n\r\n")


def _hangs_up(_: Talk) -> None:
    pass


DOORS: dict[str, Script] = {
    "no_tls": _refuses,
    "tls_closes": _hangs_up,
    "tls_silence": _silence,
    "tls_drip": dripped(b"", b"\x16\x03\x03\x40\x00\x02"),
}
"""What is said to a client's TLS handshake, by the name of the door."""

MOVED = b"HTTP/1.1 301 Moved\r\nLocation: /found/1\r\nContent-Length: 99999\r\n\r\n"
SECURE = "https://{host}/found/{n}.jpg"

KINDS = (
    Kind("silence", TIMEOUT, _silence),
    Kind("header_drip", TIMEOUT, dripped(OK + b"X: ", b"y")),
    Kind("status_drip", TIMEOUT, dripped(b"", b"H")),
    Kind("body_drip", TIMEOUT, dripped(OK + b"Content-Length: 99999\r\n\r\n" + IMAGE[:99], b"x")),
    Kind("body_drip_unsized", TIMEOUT, dripped(OK + b"\r\n" + IMAGE[:99], b"x")),
    Kind("chunk_drip", TIMEOUT, dripped(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"0")),
    Kind("body_stops", TIMEOUT, dripped(OK + b"Content-Length: 99999\r\n\r\n" + IMAGE[:99], b"")),
    Kind("missing_drip", Reason.HTTP_404, dripped(b"HTTP/1.1 404 No\r\nContent-Length: 99999\r\n\r\n", b"x")),
    Kind("moved_drip", Reason.OK, dripped(MOVED, b"x")),
    Kind("late", Reason.OK, _late),
    Kind("reset", Reason.INTERRUPTED, _reset),
    Kind("connect_refused", Reason.CONNECT, door="closed"),
    Kind("connect_hangs", Reason.CONNECT, door="silent"),
    Kind("secure", Reason.OK, url=SECURE, door="secure"),
    Kind("secure_untrusted", TLS, url=SECURE, door="untrusted"),
    Kind("secure_expired", TLS, url=SECURE, door="expired"),
    Kind("secure_other_name", TLS, url=SECURE, door="secure"),
    Kind("secure_plain", TLS, url=SECURE, door="no_tls"),
    Kind("secure_closes", TLS, url=SECURE, door="tls_closes"),
    Kind("secure_silence", TIMEOUT, url=SECURE, door="tls_silence"),
    Kind("secure_drip", TIMEOUT, url=SECURE, door="tls_drip"),
)
