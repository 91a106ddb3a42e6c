"""Answers whose body or meaning is the trouble: other files, bombs, wishes of the owner."""

from __future__ import annotations

import io
import struct
import zlib

from PIL import Image

from rankclip.data.reasons import Reason
from tests.unit.data.crawl.hostile.kinds import IMAGE, Kind, after, answer, raw
from tests.unit.data.crawl.hostile.kinds_framing import OK, flood
from tests.unit.data.crawl.hostile.server import Script, Talk


def _png(width: int, height: int) -> bytes:
    """A PNG whose header says a size that it has not."""
    file = io.BytesIO()
    Image.new("L", (1, 1)).save(file, "PNG")
    content = file.getvalue()
    header = b"IHDR" + struct.pack(">II", width, height) + content[24:29]
    return content[:12] + header + struct.pack(">I", zlib.crc32(header)) + content[33:]


def _squeezed(body: bytes, form: int) -> bytes:
    squeeze = zlib.compressobj(9, zlib.DEFLATED, form)
    return squeeze.compress(body) + squeeze.flush()


def _cookie(talk: Talk) -> None:
    """Sets a cookie, and takes offence at anyone who brings one."""
    talk.reply(500 if "cookie" in talk.headers else 200, IMAGE, Set_Cookie="id=1; Path=/")


def served(body: bytes, kind: str = "image/jpeg") -> Script:
    """A script that serves `body` and says that it is an image."""
    return answer(200, body, Content_Type=kind)


def coded(body: bytes, coding: str) -> Script:
    """A script that serves `body` and says how it is packed."""
    return answer(200, body, Content_Type="image/jpeg", Content_Encoding=coding)


GZIP, DEFLATE, ZLIB = 31, -15, 15
BOMB = _squeezed(IMAGE + bytes(2**26), GZIP)
LATER = "Fri, 01 Jan 2100 00:00:00 GMT"
LONG_AGO = "Sat, 01 Jan 2000 00:00:00 GMT"

NOT_AN_IMAGE = {
    "body_html": served(b"<html>" * 100),
    "body_html_endless": flood(OK + b"\r\n<html>", b"<p>" * 999),
    "body_svg": served(b"<svg xmlns='http://www.w3.org/2000/svg'/>" * 9, "image/svg+xml"),
    "body_pdf": served(b"%PDF-1.7" * 99, "image/png"),
    "body_film": served(b"\0\0\0\x18ftypisom" * 99),
    "body_empty": served(b""),
    "body_damaged": served(IMAGE[:3] + bytes(500)),
    "deflate_zeros": coded(_squeezed(bytes(2**26), ZLIB), "deflate"),
    "gzip_twice": coded(_squeezed(BOMB, GZIP), "gzip, gzip"),
    "brotli": coded(b"\x0b\x02\x80hello\x03" * 99, "br"),
}
TOO_LARGE = {
    "gzip_bomb": coded(BOMB, "gzip"),
    "deflate_bomb": coded(_squeezed(IMAGE + bytes(2**26), ZLIB), "deflate"),
}
TOO_LARGE_PIXELS = {
    "body_large_png": served(_png(60_000, 60_000), "image/png"),
    "body_huge_png": served(_png(2**31 - 1, 2**31 - 1), "image/png"),
}
ROBOTS = {
    "robots": answer(200, IMAGE, X_Robots_Tag="NoIndex, NoAI"),
    "robots_us": raw(OK, b"X-Robots-Tag: all\r\nx-robots-tag: rankclip: noai\r\n\r\n", IMAGE),
    "robots_hidden": raw(OK, b"no colon\r\nX-Robots-Tag: noai\r\n\r\n", IMAGE),
}
FINE = {
    "body_called_text": served(IMAGE, "text/html; charset=klingon"),
    "gzip": coded(_squeezed(IMAGE, GZIP), "gzip"),
    "deflate": coded(_squeezed(IMAGE, DEFLATE), "deflate"),
    "gzip_lie": coded(IMAGE, "gzip"),
    "robots_other": answer(200, IMAGE, X_Robots_Tag="otherbot: noai"),
    "cookie": _cookie,
    "busy_once": after(answer(429, b"wait", Retry_After="1")),
    "busy_until_past": after(answer(503, Retry_After=LONG_AGO)),
    "busy_nonsense": after(answer(429, Retry_After="-1e999 soon")),
    "flaky": after(answer(500)),
}

KINDS = (
    *(Kind(name, Reason.NOT_AN_IMAGE, script) for name, script in NOT_AN_IMAGE.items()),
    *(Kind(name, Reason.TOO_LARGE, script) for name, script in TOO_LARGE.items()),
    *(Kind(name, Reason.TOO_LARGE_PIXELS, script) for name, script in TOO_LARGE_PIXELS.items()),
    *(Kind(name, Reason.ROBOTS, script) for name, script in ROBOTS.items()),
    *(Kind(name, Reason.OK, script) for name, script in FINE.items()),
    Kind("gzip_broken", Reason.MALFORMED_ANSWER, coded(b"\x1f\x8b\x08" + bytes(range(200)), "gzip")),
    Kind("busy_for_long", Reason.HTTP_429, answer(429, b"wait", Retry_After="3600")),
    Kind("busy_until_date", Reason.HTTP_503, answer(503, Retry_After=LATER)),
    Kind("busy_always", Reason.HTTP_429, answer(429)),
)
