"""The guarded opener: the only way in which this project fetches what a caption file names.

It stands in for urllib's global opener, which img2dataset calls. Only http and https; every host, also that
of a redirect, is resolved and checked before a connection is made, and the connection goes to the checked
address; time, bytes, redirects and requests to one host are bounded. Every failure is a `FetchError` whose
text carries its reason.
"""

from __future__ import annotations

import io
import ssl
import time
from collections.abc import Mapping
from typing import NoReturn
from urllib.request import BaseHandler, OpenerDirector, Request

import urllib3
from urllib3 import HTTPHeaderDict
from urllib3.exceptions import HTTPError
from urllib3.util import Timeout

import rankclip
from rankclip.data.crawl.client import bodies, targets
from rankclip.data.crawl.client.addresses import Addresses, Endpoint
from rankclip.data.crawl.client.clock import Clock, retry_after
from rankclip.data.crawl.client.connections import Watch, give_back, pools
from rankclip.data.crawl.client.fetch_error import FetchError, classified, late
from rankclip.data.crawl.client.hosts import Hosts
from rankclip.data.crawl.client.targets import Target
from rankclip.data.crawl.spec import DownloadSpec
from rankclip.data.reasons import Reason, of_status

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_PASSING = frozenset({408, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524})
_TRIED_ADDRESSES = 3


def opener(
    spec: DownloadSpec,
    allowed: Mapping[str, tuple[str, int]],
    tls: ssl.SSLContext | None = None,
    *,
    processes: int = 1,
) -> OpenerDirector:
    """An opener for `urllib.request.install_opener`, for all threads of a process.

    A bare director: `build_opener` would add handlers for file:, ftp: and data: URLs, for proxies of the
    environment and for redirects without a check.

    Args:
        allowed: host -> (address, port), for hosts that the study serves itself on an address not public.
        tls: the authorities trusted; the system's by default.
        processes: how many processes of this crawl there are, on all machines.
    """
    director = OpenerDirector()
    places = max(1, spec.per_host // processes)
    director.add_handler(GuardedHandler(spec, allowed, tls or ssl.create_default_context(), places))
    return director


def user_agent(spec: DownloadSpec) -> str:
    """The honest name of the crawler, with its contact where there is one."""
    contact = f"+{spec.contact}" if spec.contact else "research crawler"
    return f"{spec.crawler_name}/{rankclip.__version__} ({contact})"


class Fetched(io.BytesIO):
    """An image, and the header it came with; all that img2dataset asks of urllib's response."""

    def __init__(self, body: bytes, headers: HTTPHeaderDict) -> None:
        super().__init__(body)
        self.headers = headers


class GuardedHandler(BaseHandler):
    """Answers `urlopen` with a whole, checked image body, or raises `FetchError`."""

    def __init__(
        self, spec: DownloadSpec, allowed: Mapping[str, tuple[str, int]], tls: ssl.SSLContext, places: int
    ) -> None:
        self._spec = spec
        self._addresses = Addresses(allowed, spec.private_hosts)
        self._hosts = Hosts(places, spec.threads, spec.backoff_s, own={host.lower() for host in allowed})
        self._watch = Watch()
        kept = spec.threads if allowed else places
        self._pools = pools(self._watch, kept, tls)
        self._headers = {"User-Agent": user_agent(spec), "Accept": "image/*,*/*;q=0.8"}

    def http_open(self, request: Request) -> Fetched:
        """Fetch an http or https URL, trying again after passing faults."""
        clock = Clock(self._spec.wall_time_s)
        attempt = 0
        while True:
            try:
                return self._follow(request.full_url, clock)
            except FetchError as failure:
                retries = min(self._spec.retries, 1) if failure.slow else self._spec.retries
                wait_s = self._spec.backoff_s * 2**attempt if failure.wait_s is None else failure.wait_s
                if not failure.passing or attempt >= retries or wait_s >= clock.left_s():
                    raise
                if not self._hosts.rest(wait_s):
                    raise
            attempt += 1

    https_open = http_open

    def unknown_open(self, request: Request) -> NoReturn:
        """Refuse every other scheme."""
        raise FetchError(Reason.BAD_SCHEME, request.full_url)

    def _follow(self, address: str, clock: Clock) -> Fetched:
        for _ in range(self._spec.max_redirects + 1):
            target = targets.parse(address)
            with self._hosts.visit(target.host, clock), self._watch.until(clock.deadline):
                response = self._head(target, clock)
                if response.status not in _REDIRECTS or "Location" not in response.headers:
                    return self._answer(response, clock)
                give_back(response, self._watch)
            address = targets.moved(address, response.headers["Location"])
        raise FetchError(Reason.TOO_MANY_REDIRECTS, f"more than {self._spec.max_redirects}")

    def _head(self, target: Target, clock: Clock) -> urllib3.BaseHTTPResponse:
        """The answer's head, from the first endpoint of the host that can be connected to."""
        wait_s = min(self._spec.timeout_s, clock.left_s())
        endpoints = self._addresses.endpoints(target.host, target.port, wait_s)
        *others, last = endpoints[:_TRIED_ADDRESSES]
        for endpoint in others:
            try:
                return self._connect(target, endpoint, clock)
            except FetchError as failure:
                if failure.reason is not Reason.CONNECT:
                    raise
        return self._connect(target, last, clock)

    def _connect(self, target: Target, endpoint: Endpoint, clock: Clock) -> urllib3.BaseHTTPResponse:
        # the pool belongs to the checked address; the name stays in Host, SNI and the certificate's check
        named = {"server_hostname": target.host} if target.scheme == "https" else None
        pool = self._pools.connection_from_host(endpoint.address, endpoint.port, target.scheme, named)
        wait_s = max(min(self._spec.timeout_s, clock.left_s()), 0.001)
        try:
            return pool.urlopen(
                "GET",
                target.path,
                headers={**self._headers, "Host": target.authority},
                redirect=False,
                retries=False,
                assert_same_host=False,
                preload_content=False,
                timeout=Timeout(connect=wait_s, read=wait_s),
            )
        except (HTTPError, OSError, ValueError) as error:
            raise self._failure(error, clock, unheard=True) from error

    def _answer(self, response: urllib3.BaseHTTPResponse, clock: Clock) -> Fetched:
        """The whole body, or the failure that the status stands for."""
        status = response.status
        if not 200 <= status < 300:
            wait_s = retry_after(response.headers, time.time())
            give_back(response, self._watch)
            raise FetchError(of_status(status), f"HTTP {status}", passing=status in _PASSING, wait_s=wait_s)
        try:
            body = bodies.read(response, self._spec.max_bytes, clock, self._watch)
        except FetchError as failure:
            if failure.reason is Reason.NOT_AN_IMAGE:
                give_back(response, self._watch)
            raise
        except (HTTPError, OSError, ValueError) as error:
            raise self._failure(error, clock) from error
        finally:
            if not response.closed:
                response.close()
        if self._spec.resize != "none":
            bodies.check_pixels(body, self._spec.max_pixels)
        return Fetched(body, response.headers)

    def _failure(self, error: Exception, clock: Clock, *, unheard: bool = False) -> FetchError:
        failure = classified(error)
        if clock.left_s() <= 0 and failure.reason is not Reason.CONNECT:
            failure = late()
        failure.unheard |= unheard and failure.reason is Reason.TIMEOUT
        return failure
