"""The closed vocabulary of reasons: every input row of a study ends in exactly one of them."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import NamedTuple, Self

MAX_PIXELS = 178_956_970
"""Width times height above which every image is `too_large_pixels`: Pillow opens none that is larger."""

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
"""Of the buffer in memory, by which Pillow names it."""

_TAG = re.compile(r"^\[rankclip:([a-z0-9_]+)\] ?(.*)$", re.DOTALL)


class Reason(StrEnum):
    """Why a row is kept or not. Names are stable: they stand in ledgers, metrics and reports."""

    _value_: str
    stage: str
    """The stages that give the reason, separated by a comma and a space; empty for `ok`."""
    meaning: str
    """What the reason says of a row."""

    def __new__(cls, name: str, stage: str = "", meaning: str = "") -> Self:
        """A member written as name, stage and meaning, and equal to its name."""
        member = str.__new__(cls, name)
        member._value_, member.stage, member.meaning = name, stage, meaning
        return member

    OK = "ok", "", "the row is part of the study"

    MALFORMED_ROW = (
        "malformed_row",
        "ingest, index",
        "the row is not as the list is laid out, or holds a NUL, a lone carriage return or an unusable URL; "
        "of tars, a member of the sample cannot be read",
    )
    EMPTY_CAPTION = "empty_caption", "ingest, index", "the caption holds nothing but white space"
    CAPTION_TOO_LONG = (
        "caption_too_long",
        "ingest",
        "the caption has more characters than `ingest.max_caption_chars`",
    )
    BAD_ENCODING = "bad_encoding", "ingest, index", "the text is not valid UTF-8"
    BAD_SCHEME = "bad_scheme", "ingest, download", "the URL, or a redirect, is neither http nor https"
    NO_URL = "no_url", "ingest", "the URL is empty or names no host"
    DUPLICATE_URL = "duplicate_url", "ingest", "an earlier row has the same URL"
    DUPLICATE_KEY = "duplicate_key", "index", "an earlier sample of the tars has the same key"

    DNS = "dns", "download", "the host has no address, or the resolver did not answer"
    CONNECT = "connect", "download", "no connection to any address of the host"
    TLS = "tls", "download", "the certificate or the handshake failed"
    TIMEOUT = (
        "timeout",
        "download",
        "no complete answer within `download.timeout_s` or `download.wall_time_s`",
    )
    TOO_MANY_REDIRECTS = "too_many_redirects", "download", "more redirects than `download.max_redirects`"
    BLOCKED_ADDRESS = (
        "blocked_address",
        "download",
        "the host is, or resolves to, an address that is not public; it was not contacted",
    )
    TOO_LARGE = (
        "too_large",
        "download, index",
        "the body has more bytes than `download.max_bytes`, or a member of a tar more than are read",
    )
    ROBOTS = "robots", "download", "the answer's X-Robots-Tag forbids the use"
    NOT_AN_IMAGE = (
        "not_an_image",
        "download, index",
        "the body does not begin as any image format does (HTML under an image name, nothing)",
    )
    INTERRUPTED = "interrupted", "download", "the connection broke before the whole answer had arrived"
    MALFORMED_ANSWER = (
        "malformed_answer",
        "download",
        "the answer is not HTTP (garbage as status, header or encoding), or its header is beyond all bounds",
    )
    OTHER = "other", "download", "anything else; the column `detail` holds the text"

    HTTP_400 = "http_400", "download", "bad request"
    HTTP_401 = "http_401", "download", "log-in required"
    HTTP_402 = "http_402", "download", "payment required"
    HTTP_403 = "http_403", "download", "forbidden"
    HTTP_404 = "http_404", "download", "not found"
    HTTP_406 = "http_406", "download", "not acceptable"
    HTTP_410 = "http_410", "download", "gone"
    HTTP_429 = "http_429", "download", "too many requests, also after waiting as told"
    HTTP_451 = "http_451", "download", "withheld for legal reasons"
    HTTP_4XX = "http_4xx", "download", "any other client error"
    HTTP_500 = "http_500", "download", "internal server error"
    HTTP_502 = "http_502", "download", "bad gateway"
    HTTP_503 = "http_503", "download", "service unavailable"
    HTTP_504 = "http_504", "download", "gateway time-out"
    HTTP_5XX = "http_5xx", "download", "any other server error"
    HTTP_OTHER = "http_other", "download", "a status that is neither success, redirect nor error"

    DECODE = "decode", "curate, index", "the image does not decode (damaged, truncated, unknown format)"
    TOO_LARGE_PIXELS = "too_large_pixels", "download, curate, index", "more pixels than the study allows"
    MISSING = (
        "missing",
        "curate, index",
        "counted as stored, but not found where it should be; of tars, the sample has no image",
    )
    TOO_SMALL = "too_small", "curate", "a side has fewer pixels than `curate.min_side`"
    ASPECT = "aspect", "curate", "longer and thinner than `curate.max_aspect`"
    FILTERED_BY_RULE = (
        "filtered_by_rule",
        "curate",
        "a rule for captions refuses the row: their length, or the blocklist; the column `detail` says which",
    )
    LEAK = "leak", "curate", "the image is in a benchmark, or looks like one that is"
    DUPLICATE_NEAR = "duplicate_near", "curate", "the image looks like that of an earlier row that was kept"
    DUPLICATE_EXACT = "duplicate_exact", "curate", "the image has the bytes of an earlier row's that was kept"


class Documented(NamedTuple):
    """A line of the table of reasons."""

    reason: str
    stage: str
    meaning: str


def documented() -> tuple[Documented, ...]:
    """All reasons in the order of the stages, for the documentation and the command line."""
    return tuple(Documented(reason.value, reason.stage, reason.meaning) for reason in Reason)


_NAMED = {str(reason): reason for reason in Reason}


def of_status(status: int) -> Reason:
    """The reason of an HTTP status that is neither 2xx nor followed."""
    known = _NAMED.get(f"http_{status}")
    return known or {4: Reason.HTTP_4XX, 5: Reason.HTTP_5XX}.get(status // 100, Reason.HTTP_OTHER)


def printable(text: str, limit: int = 200) -> str:
    """`text` fit for a table: unprintable characters escaped, at most `limit` characters."""
    if len(text) <= limit and text.isprintable():
        return text
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[:limit])
    return shown if len(shown) <= limit and len(text) <= limit else shown[: limit - 3] + "..."


def told(error: Exception) -> str:
    """What a decoder says is wrong with an image, in one printable line that is the same in equal runs."""
    return printable(_ADDRESS.sub("", f"{type(error).__name__}: {error}"))


def tag(reason: Reason, detail: str) -> str:
    """One text that carries a reason through a channel that keeps only text; see `untag`."""
    return f"[rankclip:{reason}] {printable(detail)}"


def untag(text: str) -> tuple[Reason, str]:
    """Reason and detail of a text made by `tag`; any other text is `other` with itself as the detail."""
    found = _TAG.match(text)
    if found is None or found[1] not in _NAMED:
        return Reason.OTHER, printable(text)
    return _NAMED[found[1]], printable(found[2])
