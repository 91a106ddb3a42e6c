"""The closed vocabulary of reasons: every input row of a study ends in exactly one of them."""

from __future__ import annotations

import re
from enum import StrEnum

_TAG = re.compile(r"^\[rankclip:([a-z0-9_]+)\] ?(.*)$", re.DOTALL)


class Reason(StrEnum):
    """Why a row is kept or not. Names are stable: they stand in ledgers, metrics and reports."""

    OK = "ok"
    """The row is part of the study."""

    MALFORMED_ROW = "malformed_row"
    """ingest: not exactly `caption<TAB>url`, or a NUL, a lone carriage return or an unusable URL in it."""
    EMPTY_CAPTION = "empty_caption"
    """ingest: the caption holds nothing but white space."""
    CAPTION_TOO_LONG = "caption_too_long"
    """ingest: the caption has more characters than `ingest.max_caption_chars`."""
    BAD_ENCODING = "bad_encoding"
    """ingest: the line is not valid UTF-8."""
    BAD_SCHEME = "bad_scheme"
    """ingest: the URL is neither http nor https; download: a redirect left them."""
    NO_URL = "no_url"
    """ingest: the URL is empty or names no host."""
    DUPLICATE_URL = "duplicate_url"
    """ingest: an earlier row has the same URL."""

    DNS = "dns"
    """download: the host has no address, or the resolver did not answer."""
    CONNECT = "connect"
    """download: no connection to any address of the host."""
    TLS = "tls"
    """download: the certificate or the handshake failed."""
    TIMEOUT = "timeout"
    """download: no complete answer within `download.timeout_s` or `download.wall_time_s`."""
    TOO_MANY_REDIRECTS = "too_many_redirects"
    """download: more redirects than `download.max_redirects`."""
    BLOCKED_ADDRESS = "blocked_address"
    """download: the host is, or resolves to, an address that is not public; it was not contacted."""
    TOO_LARGE = "too_large"
    """download: the body has more bytes than `download.max_bytes`."""
    ROBOTS = "robots"
    """download: the answer's X-Robots-Tag forbids the use."""
    NOT_AN_IMAGE = "not_an_image"
    """download: the body does not begin as any image format does (HTML under an image name, nothing)."""
    INTERRUPTED = "interrupted"
    """download: the connection broke before the whole answer had arrived."""
    OTHER = "other"
    """download: anything else; the detail column holds the text."""

    HTTP_400 = "http_400"
    """download: bad request."""
    HTTP_401 = "http_401"
    """download: log-in required."""
    HTTP_402 = "http_402"
    """download: payment required."""
    HTTP_403 = "http_403"
    """download: forbidden."""
    HTTP_404 = "http_404"
    """download: not found."""
    HTTP_406 = "http_406"
    """download: not acceptable."""
    HTTP_410 = "http_410"
    """download: gone."""
    HTTP_429 = "http_429"
    """download: too many requests, also after waiting as told."""
    HTTP_451 = "http_451"
    """download: withheld for legal reasons."""
    HTTP_4XX = "http_4xx"
    """download: any other client error."""
    HTTP_500 = "http_500"
    """download: internal server error."""
    HTTP_502 = "http_502"
    """download: bad gateway."""
    HTTP_503 = "http_503"
    """download: service unavailable."""
    HTTP_504 = "http_504"
    """download: gateway time-out."""
    HTTP_5XX = "http_5xx"
    """download: any other server error."""
    HTTP_OTHER = "http_other"
    """download: a status that is neither success, redirect nor error."""

    DECODE = "decode"
    """curate: the image does not decode (damaged, truncated, unknown format)."""
    TOO_SMALL = "too_small"
    """curate: fewer pixels than the study asks for."""
    TOO_LARGE_PIXELS = "too_large_pixels"
    """curate: more pixels than the study allows."""
    ASPECT = "aspect"
    """curate: too long and thin."""
    DUPLICATE_EXACT = "duplicate_exact"
    """curate: an earlier row has the same image bytes."""
    MISSING = "missing"
    """curate: counted as stored, but not found where it should be."""


_NAMED = {str(reason): reason for reason in Reason}


def of_status(status: int) -> Reason:
    """The reason of an HTTP status that is neither 2xx nor followed."""
    known = _NAMED.get(f"http_{status}")
    return known or {4: Reason.HTTP_4XX, 5: Reason.HTTP_5XX}.get(status // 100, Reason.HTTP_OTHER)


def printable(text: str, limit: int = 200) -> str:
    """`text` fit for a table: unprintable characters escaped, at most `limit` characters."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[:limit])
    return shown if len(shown) <= limit and len(text) <= limit else shown[: limit - 3] + "..."


def tag(reason: Reason, detail: str) -> str:
    """One text that carries a reason through a channel that keeps only text; see `untag`."""
    return f"[rankclip:{reason}] {printable(detail)}"


def untag(text: str) -> tuple[Reason, str]:
    """Reason and detail of a text made by `tag`; any other text is `other` with itself as the detail."""
    found = _TAG.match(text)
    if found is None or found[1] not in _NAMED:
        return Reason.OTHER, printable(text)
    return _NAMED[found[1]], printable(found[2])
