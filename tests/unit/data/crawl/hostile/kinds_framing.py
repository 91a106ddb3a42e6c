"""Answers that are not quite HTTP: status lines, headers, lengths and chunks."""

from __future__ import annotations

from rankclip.data.reasons import Reason
from tests.unit.data.crawl.hostile.kinds import IMAGE, Kind, answer, found, raw
from tests.unit.data.crawl.hostile.server import Script, Talk

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
SIZED = f"Content-Length: {len(IMAGE)}\r\n\r\n".encode()


def framed(size: str, chunk: bytes = IMAGE) -> bytes:
    """A chunk, which may lie about its size."""
    return f"{size}\r\n".encode() + chunk + b"\r\n"


def flood(head: bytes, drop: bytes) -> Script:
    """A script that says `head` and then `drop` as often and as fast as it is taken."""

    def script(talk: Talk) -> None:
        talk.over = True
        talk.say(head)
        talk.flood(drop)

    return script


def _kept(talk: Talk) -> None:
    """Promises to keep the connection and does not."""
    talk.over = True
    found(talk)


BEGUN = CHUNKED + framed("ff", IMAGE[:255])

STATUSES = {
    204: Reason.NOT_AN_IMAGE,
    304: Reason.HTTP_OTHER,
    400: Reason.HTTP_400,
    401: Reason.HTTP_401,
    402: Reason.HTTP_402,
    403: Reason.HTTP_403,
    404: Reason.HTTP_404,
    407: Reason.HTTP_4XX,
    410: Reason.HTTP_410,
    418: Reason.HTTP_4XX,
    451: Reason.HTTP_451,
    500: Reason.HTTP_500,
    502: Reason.HTTP_502,
    511: Reason.HTTP_5XX,
    600: Reason.HTTP_OTHER,
    999: Reason.HTTP_OTHER,
}
MALFORMED = {
    "status_99": answer(99),
    "status_1000": answer(1000),
    "status_words": raw("HTTP/1.1 abc OK\r\n\r\n"),
    "line_nonsense": raw("no status at all\r\n\r\n"),
    "line_none": raw(IMAGE),  # HTTP/0.9: the body and nothing else
    "line_radio": raw("ICY 200 OK\r\n\r\n"),
    "line_version": raw("HTTP/7.0 200 OK\r\n\r\n"),
    "line_tls": raw(b"\x15\x03\x03\x00\x02\x02\x46"),
    "header_endless": flood(OK, b"X-Filler: 1234567890\r\n"),
    "header_line_endless": flood(OK + b"X-Filler: ", b"x" * 1000),
    "headers_many": raw(OK, b"X-Filler: 1\r\n" * 200, b"\r\n", IMAGE),
    "interim_flood": flood(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "length_two": raw(OK, b"Content-Length: 5\r\nContent-Length: 7\r\n\r\n", IMAGE),
    "chunks_tiny": flood(BEGUN, b"1;" + b"x" * 4000 + b"\r\nx\r\n"),
    "trailer_endless": flood(CHUNKED + framed(f"{len(IMAGE):x}") + b"0\r\n", b"X: y\r\n" * 99),
}
INTERRUPTED = {
    "closes_at_once": raw(b""),
    "closes_in_header": raw(OK, b"Content-Type: image/jpeg\r\nCont"),
    "closes_in_body": raw(OK, f"Content-Length: {len(IMAGE) + 9}\r\n\r\n", IMAGE),
    "closes_in_chunk": raw(CHUNKED, framed("ffffff")),
    "chunk_nonsense": raw(CHUNKED, framed("chunk")),
    "chunk_negative": raw(CHUNKED, framed("-5")),
}
FINE = {
    "closes_though_kept": _kept,
    "header_without_colon": raw(OK, b"what is this\r\n", SIZED, IMAGE),
    "header_bytes": raw(OK, b"X-\xff\xfe: \x01\x80\r\nX-Nul: \x00\r\n folded\r\n\r\n", IMAGE),
    "interim_hints": raw("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", OK, b"\r\n", IMAGE),
    "length_negative": raw(OK, b"Content-Length: -5\r\n\r\n", IMAGE),
    "length_words": raw(OK, b"Content-Length: many\r\n\r\n", IMAGE),
}
TOO_LARGE = {
    "length_huge": raw(OK, f"Content-Length: {10**30}\r\n\r\n", IMAGE),
    "chunks_endless": flood(BEGUN, framed("1000", bytes(4096))),
    "body_endless": flood(OK + b"\r\n" + IMAGE, bytes(65536)),
}

KINDS = (
    *(Kind(f"status_{status}", reason, answer(status)) for status, reason in STATUSES.items()),
    *(Kind(name, Reason.MALFORMED_ANSWER, script) for name, script in MALFORMED.items()),
    *(Kind(name, Reason.INTERRUPTED, script) for name, script in INTERRUPTED.items()),
    *(Kind(name, Reason.OK, script) for name, script in FINE.items()),
    *(Kind(name, Reason.TOO_LARGE, script) for name, script in TOO_LARGE.items()),
    # of its twenty bytes no image can be made
    Kind("length_short", Reason.NOT_AN_IMAGE, answer(200, IMAGE, Content_Length="20", Connection="close")),
)
