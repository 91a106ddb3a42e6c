"""Which addresses a host has, and whether a crawler may contact them.

A host is resolved once; what was checked is what is connected to, so that a resolver that answers
differently the second time (DNS rebinding) gains nothing.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import CancelledError, Future
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import NamedTuple

from rankclip.data.crawl.client.fetch_error import FetchError
from rankclip.data.reasons import Reason

_SPECIAL = tuple(
    map(
        ip_network,
        (
            "168.63.129.16/32",  # Azure's service for its own machines, on an address that counts as public
            "192.0.0.0/24",  # special purposes, Oracle's metadata service; older Pythons take most for public
            "192.88.99.0/24",  # 6to4 relays
            "64:ff9b:1::/48",  # local translation
            "2001::/23",  # special purposes
            "3fff::/20",  # documentation
            "5f00::/16",  # segment routing
            "fec0::/10",  # site-local
        ),
    )
)
"""Not for the public, beyond what `ipaddress` knows (RFC 6890 and the registries it made)."""

_METADATA = tuple(
    map(
        ip_network,
        (
            "169.254.0.0/16",  # link-local: Amazon, Azure, Google, Oracle, DigitalOcean and others
            "fe80::/10",
            "fd00:ec2::/32",  # Amazon
            "fd20:ce::254/128",  # Google
            "fd00:c1::a9fe:a9fe/128",  # Oracle
            "fd00:42::42/128",  # Scaleway
            "100.100.100.200/32",  # Alibaba
            "168.63.129.16/32",  # Azure
            "192.0.0.0/24",  # Oracle
        ),
    )
)
"""Where clouds keep the secrets of their machines; no study has images there."""

_NAT64 = ip_network("64:ff9b::/96")

_KEPT_S = 300.0
"""Age in seconds at which a resolver's answer is asked for again."""

_KEPT_HOSTS = 10_000
"""Answers that are kept; at 2 kB each, 20 MB."""

_AT_ONCE = 256
"""Look-ups in flight at once, those included that nobody waits for any more."""


class Endpoint(NamedTuple):
    """Where to connect: an address that was checked, and a port."""

    address: str
    port: int


class Addresses:
    """A resolver with a cache and a guard; safe to share between threads."""

    def __init__(self, allowed: Mapping[str, tuple[str, int]], private: Iterable[str] = ()) -> None:
        """
        Args:
            allowed: host -> (address, port) of hosts that the study serves itself.
            private: names or addresses that may be at addresses not public, but for those of metadata.
        """
        self._allowed = {host.lower(): Endpoint(*endpoint) for host, endpoint in allowed.items()}
        self._private = {host.lower() for host in private}
        self._lock = threading.Lock()
        self._room = threading.Semaphore(_AT_ONCE)
        self._found: dict[str, tuple[float, Future[list[str]]]] = {}

    def endpoints(self, host: str, port: int, wait_s: float) -> list[Endpoint]:
        """The endpoints at which `host`, a name in lower case, may be contacted, best first.

        A host of the study's map has exactly the endpoint given there, whatever port the URL names.

        Raises:
            FetchError: `dns`, or `blocked_address` when one of the addresses is not public.
        """
        if host in self._allowed:
            return [self._allowed[host]]
        addresses = self._resolve(host, wait_s)
        blocked = next((address for address in addresses if not is_public(address)), None)
        if blocked is not None and host in self._private:
            blocked = next((address for address in addresses if is_metadata(address)), None)
        if blocked is not None:
            raise FetchError(Reason.BLOCKED_ADDRESS, f"{host} is at {blocked}, which is not a public address")
        return [Endpoint(address, port) for address in addresses]

    def _resolve(self, host: str, wait_s: float) -> list[str]:
        future = self._lookup(host)
        try:
            return future.result(timeout=max(wait_s, 0))
        except (TimeoutError, CancelledError):
            if future.cancel():  # its turn had not come
                self._forget(host, future)
            detail, passing, slow = "no answer from the resolver", True, True
        except (OSError, UnicodeError) as error:
            passing, slow = isinstance(error, socket.gaierror) and error.errno == socket.EAI_AGAIN, False
            if passing:
                self._forget(host, future)
            detail = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise FetchError(Reason.DNS, f"{host}: {detail}", passing=passing, slow=slow, unheard=True)

    def _lookup(self, host: str) -> Future[list[str]]:
        """One look-up a host, however many threads ask for it at once."""
        now = time.monotonic()
        with self._lock:
            at, future = self._found.get(host, (0.0, None))
            if future is not None and now - at < _KEPT_S:
                return future
            self._found.pop(host, None)
            while len(self._found) >= _KEPT_HOSTS:
                del self._found[next(iter(self._found))]
            future = Future()
            self._found[host] = (now, future)
        # getaddrinfo knows no time-out; a thread of its own can be left behind
        threading.Thread(target=self._fulfil, args=(future, host), name="resolver", daemon=True).start()
        return future

    def _fulfil(self, future: Future[list[str]], host: str) -> None:
        with self._room:
            if not future.set_running_or_notify_cancel():
                return
            try:
                found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
                future.set_result(list(dict.fromkeys(str(entry[4][0]) for entry in found)))
            except Exception as error:  # whatever the resolver raises belongs to those who wait
                future.set_exception(error)

    def _forget(self, host: str, future: Future[list[str]]) -> None:
        """Drop a look-up that may succeed later, so that a retry asks again."""
        with self._lock:
            if self._found.get(host, (0.0, None))[1] is future:
                del self._found[host]


def is_public(address: str) -> bool:
    """Whether an address is one of the public internet, and no carrier of an inner address that is not."""
    try:
        ip = ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, IPv6Address):
        inner = _inner(ip)
        if inner is not None:
            return is_public(str(inner))
    plain = ip.is_global and not (ip.is_multicast or ip.is_reserved or ip.is_private or ip.is_unspecified)
    return plain and not any(ip in network for network in _SPECIAL)


def is_metadata(address: str) -> bool:
    """Whether an address is one at which clouds tell a machine its secrets, or carries one."""
    try:
        ip = ip_address(address)
    except ValueError:
        return True
    inner = _inner(ip) if isinstance(ip, IPv6Address) else None
    return any(each in network for network in _METADATA for each in (ip, inner) if each is not None)


def _inner(ip: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that an IPv6 address stands for: mapped, 6to4, Teredo or NAT64."""
    if ip.ipv4_mapped is not None:
        return ip.ipv4_mapped
    if ip.sixtofour is not None:
        return ip.sixtofour
    if ip.teredo is not None:
        return ip.teredo[1]
    return IPv4Address(int(ip) & 0xFFFFFFFF) if ip in _NAT64 else None
