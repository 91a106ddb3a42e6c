"""What a URL asks for: which host and port, and which words; with the refusals that need no network."""

from __future__ import annotations

import string
from typing import NamedTuple
from urllib.parse import quote, urljoin

from urllib3.exceptions import LocationParseError
from urllib3.util import parse_url

from rankclip.data.crawl.client.fetch_error import FetchError
from rankclip.data.reasons import Reason

_DEFAULT_PORT = {"http": 80, "https": 443}

_FORBIDDEN_PORTS = frozenset(
    (
        *(1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103),
        *(104, 109, 110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465, 512, 513),
        *(514, 515, 526, 530, 531, 532, 540, 548, 554, 556, 563, 587, 601, 636, 989, 990, 993, 995, 1719),
        *(1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6379, 6566, 6665, 6666, 6667, 6668, 6669),
        *(6679, 6697, 10080),
    )
)
"""Ports that browsers refuse (fetch.spec.whatwg.org, "bad port"), and Redis: a request there is an attack."""


class Target(NamedTuple):
    """A URL taken apart."""

    scheme: str
    host: str
    """In lower case, without brackets and without a dot at its end."""
    port: int
    authority: str
    """Host and port as the Host header says them; never a user name or password."""
    path: str


def parse(address: str) -> Target:
    """The target of an http or https URL.

    Raises:
        FetchError: `bad_scheme`; `blocked_address` for a port that is not for the web; `other` for no URL.
    """
    try:
        url = parse_url(address)
    except (LocationParseError, ValueError):
        raise FetchError(Reason.OTHER, f"unusable URL {address}") from None
    if url.scheme not in _DEFAULT_PORT:
        raise FetchError(Reason.BAD_SCHEME, address)
    host = (url.host or "").strip("[]").rstrip(".").lower()
    if not host:
        raise FetchError(Reason.OTHER, f"URL without a host {address}")
    port = _DEFAULT_PORT[url.scheme] if url.port is None else url.port
    if port in _FORBIDDEN_PORTS or not port:
        raise FetchError(Reason.BLOCKED_ADDRESS, f"port {port} of {host} is not for the web")
    return Target(url.scheme, host, port, url.netloc or "", url.request_uri)


def moved(address: str, location: str) -> str:
    """Where a redirect of `address` leads.

    Raises:
        FetchError: `other` where nobody can tell.
    """
    try:
        # http.client took the bytes for Latin-1; they are those of the URL, mostly UTF-8
        return urljoin(address, quote(location.strip(), encoding="iso-8859-1", safe=string.punctuation))
    except ValueError:
        raise FetchError(Reason.OTHER, f"unusable redirect {location}") from None
