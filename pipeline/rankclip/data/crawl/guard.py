"""The guarded opener: the only way in which this project fetches what a caption file names.

It stands in for urllib's global opener, which img2dataset calls. Only http and https; every host, also that
of a redirect, is resolved and checked before a connection is made, and the connection goes to the checked
address; time, bytes and redirects are bounded. Every failure is a `FetchError` whose text carries its reason.
"""

from __future__ import annotations

import io
import ssl
import time
from collections.abc import Mapping
from email.message import Message
from typing import NoReturn
from urllib.parse import urljoin
from urllib.request import BaseHandler, OpenerDirector, Request
from urllib.response import addinfourl

import urllib3
from urllib3.exceptions import HTTPError, LocationParseError
from urllib3.util import Timeout, Url, parse_url

import rankclip
from rankclip.data.crawl.addresses import Addresses, Endpoint
from rankclip.data.crawl.connections import Watch, give_back, pools, retry_after
from rankclip.data.crawl.fetch_error import FetchError, classified, late
from rankclip.data.crawl.spec import DownloadSpec
from rankclip.data.reasons import Reason, of_status

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_PASSING = frozenset({408, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524})
_PIECE = 2**16
_TRIED_ADDRESSES = 3
_DEFAULT_PORT = {"http": 80, "https": 443}


def opener(
    spec: DownloadSpec, allowed: Mapping[str, tuple[str, int]], tls: ssl.SSLContext | None = None
) -> OpenerDirector:
    """An opener for `urllib.request.install_opener`.

    A bare director: `build_opener` would add handlers for file:, ftp: and data: URLs, for proxies of the
    environment and for redirects without a check.

    Args:
        allowed: host -> (address, port), for hosts that the study serves itself on an address not public.
        tls: the authorities trusted; the system's by default.
    """
    director = OpenerDirector()
    director.add_handler(GuardedHandler(spec, allowed, tls or ssl.create_default_context()))
    return director


class GuardedHandler(BaseHandler):
    """Answers `urlopen` with a whole, checked image body, or raises `FetchError`."""

    def __init__(
        self, spec: DownloadSpec, allowed: Mapping[str, tuple[str, int]], tls: ssl.SSLContext
    ) -> None:
        self._spec = spec
        self._addresses = Addresses(allowed)
        self._watch = Watch()
        self._pools = pools(self._watch, spec.threads, tls)
        self._headers = {
            "User-Agent": f"{spec.crawler_name}/{rankclip.__version__} (+research crawler)",
            "Accept": "image/*,*/*;q=0.8",
        }

    def http_open(self, request: Request) -> addinfourl:
        """Fetch an http or https URL, trying again after passing faults."""
        deadline = time.monotonic() + self._spec.wall_time_s
        for attempt in range(self._spec.retries + 1):
            try:
                with self._watch.until(deadline):
                    return self._follow(request.full_url, deadline)
            except FetchError as failure:
                wait_s = self._spec.backoff_s * 2**attempt if failure.wait_s is None else failure.wait_s
                left_s = deadline - time.monotonic()
                if not failure.passing or attempt == self._spec.retries or wait_s >= left_s:
                    raise
            time.sleep(wait_s)
        raise AssertionError("the last attempt either returns or raises")

    https_open = http_open

    def unknown_open(self, request: Request) -> NoReturn:
        """Refuse every other scheme."""
        raise FetchError(Reason.BAD_SCHEME, request.full_url)

    def _follow(self, address: str, deadline: float) -> addinfourl:
        for _ in range(self._spec.max_redirects + 1):
            url = _parse(address)
            response = self._head(url, deadline)
            if response.status not in _REDIRECTS or "Location" not in response.headers:
                return self._answer(address, response, deadline)
            give_back(response)
            self._watch.hold(None)
            address = _moved(address, response.headers["Location"])
        raise FetchError(Reason.TOO_MANY_REDIRECTS, f"more than {self._spec.max_redirects}")

    def _head(self, url: Url, deadline: float) -> urllib3.BaseHTTPResponse:
        """The answer's head, from the first endpoint of the host that can be connected to."""
        host = (url.host or "").strip("[]")
        scheme = url.scheme or ""
        endpoints = self._addresses.endpoints(
            host, url.port or _DEFAULT_PORT[scheme], min(self._spec.timeout_s, deadline - time.monotonic())
        )
        *others, last = endpoints[:_TRIED_ADDRESSES]
        for endpoint in others:
            try:
                return self._connect(url, endpoint, deadline)
            except FetchError as failure:
                if failure.reason is not Reason.CONNECT:
                    raise
        return self._connect(url, last, deadline)

    def _connect(self, url: Url, endpoint: Endpoint, deadline: float) -> urllib3.BaseHTTPResponse:
        # the pool belongs to the checked address; the name stays in Host, SNI and the certificate's check
        named = {"server_hostname": (url.host or "").strip("[]")} if url.scheme == "https" else None
        pool = self._pools.connection_from_host(endpoint.address, endpoint.port, url.scheme, named)
        wait_s = max(min(self._spec.timeout_s, deadline - time.monotonic()), 0.001)
        try:
            return pool.urlopen(
                "GET",
                url.request_uri,
                headers={**self._headers, "Host": url.netloc or ""},
                redirect=False,
                retries=False,
                assert_same_host=False,
                preload_content=False,
                timeout=Timeout(connect=wait_s, read=wait_s),
            )
        except (HTTPError, OSError, ValueError) as error:
            raise self._failure(error, deadline) from error

    def _answer(self, address: str, response: urllib3.BaseHTTPResponse, deadline: float) -> addinfourl:
        """The whole body, or the failure that the status stands for."""
        status = response.status
        if not 200 <= status < 300:
            wait_s = retry_after(response)
            give_back(response)
            raise FetchError(of_status(status), f"HTTP {status}", passing=status in _PASSING, wait_s=wait_s)
        try:
            body = self._body(response, deadline)
        except (HTTPError, OSError, ValueError) as error:
            raise self._failure(error, deadline) from error
        finally:
            if not response.closed:
                response.close()
        if not is_image(body):
            kind = response.headers.get("Content-Type", "no content type")
            raise FetchError(Reason.NOT_AN_IMAGE, kind if body else "empty body")
        headers = Message()
        for name, value in response.headers.iteritems():
            headers[name] = value
        return addinfourl(io.BytesIO(body), headers, address, status)

    def _body(self, response: urllib3.BaseHTTPResponse, deadline: float) -> bytes:
        limit = self._spec.max_bytes
        announced = response.headers.get("Content-Length", "")
        if announced.isdecimal() and int(announced) > limit:
            raise FetchError(Reason.TOO_LARGE, f"more than {limit} bytes")
        body = bytearray()
        # read1 returns what has come; read would wait for a full piece from a server that drips
        while piece := response.read1(_PIECE, decode_content=True):
            body += piece
            if len(body) > limit:
                raise FetchError(Reason.TOO_LARGE, f"more than {limit} bytes")
            if time.monotonic() >= deadline:
                break
        # a body without a length also ends when the watch shuts its socket down: it is a part, not the whole
        if time.monotonic() >= deadline:
            raise late()
        return bytes(body)

    def _failure(self, error: Exception, deadline: float) -> FetchError:
        return late() if time.monotonic() >= deadline else classified(error)


def is_image(body: bytes) -> bool:
    """Whether `body` begins as JPEG, PNG, GIF, WebP, BMP, TIFF or AVIF/HEIC does."""
    begins = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"BM", b"II*\0", b"MM\0*")
    boxed = (body[:4] == b"RIFF" and body[8:12] == b"WEBP") or body[4:8] == b"ftyp"
    return body.startswith(begins) or boxed


def _moved(address: str, location: str) -> str:
    try:
        return urljoin(address, location.strip())
    except ValueError:
        raise FetchError(Reason.OTHER, f"unusable redirect {location}") from None


def _parse(address: str) -> Url:
    try:
        url = parse_url(address)
    except LocationParseError:
        raise FetchError(Reason.OTHER, f"unusable URL {address}") from None
    if url.scheme not in _DEFAULT_PORT:
        raise FetchError(Reason.BAD_SCHEME, address)
    if not url.host:
        raise FetchError(Reason.OTHER, f"URL without a host {address}")
    return url
