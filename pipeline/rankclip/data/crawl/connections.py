"""Kept-alive connections that cannot outlive a deadline, however slowly the other side speaks."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError

_TICK_S = 0.1
_SHORT = 2**16


class Watch:
    """Shuts down the socket of a thread whose deadline has passed.

    A socket's time-out starts anew with each byte received, so a server that drips its header could hold a
    thread for ever; one watching thread serves all.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: dict[int, tuple[float, socket.socket | None]] = {}
        self._thread: threading.Thread | None = None

    @contextmanager
    def until(self, deadline: float) -> Iterator[None]:
        """Within the block the calling thread's connections end at `deadline`, a time.monotonic()."""
        me = threading.get_ident()
        with self._lock:
            self._held[me] = (deadline, None)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="deadlines", daemon=True)
                self._thread.start()
        try:
            yield
        finally:
            with self._lock:
                del self._held[me]

    def hold(self, connection: socket.socket | None) -> None:
        """Say which socket the calling thread now waits for."""
        me = threading.get_ident()
        with self._lock:
            if me in self._held:
                self._held[me] = (self._held[me][0], connection)

    def _run(self) -> None:
        while True:
            time.sleep(_TICK_S)
            now = time.monotonic()
            with self._lock:
                late = [
                    held for deadline, held in self._held.values() if held is not None and deadline <= now
                ]
                for held in late:
                    with suppress(OSError):
                        # not SSLSocket.shutdown, which would take the TLS state away from the reading thread
                        socket.socket.shutdown(held, socket.SHUT_RDWR)


def pools(watch: Watch, per_host: int, tls: ssl.SSLContext) -> urllib3.PoolManager:
    """Connection pools by scheme, address and port whose sockets `watch` holds; no proxies."""

    class Plain(HTTPConnection):
        def getresponse(self) -> Any:
            watch.hold(self.sock)
            return super().getresponse()

    class Secure(HTTPSConnection):
        def getresponse(self) -> Any:
            watch.hold(self.sock)
            return super().getresponse()

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure

    manager = urllib3.PoolManager(num_pools=256, maxsize=per_host, ssl_context=tls, retries=False)
    manager.pool_classes_by_scheme = {"http": PlainPool, "https": SecurePool}
    return manager


def retry_after(response: urllib3.BaseHTTPResponse) -> float | None:
    """The wait that a server asks for, in seconds; None when it names none or a date."""
    text = response.headers.get("Retry-After", "")
    return float(text) if text.isdecimal() else None


def give_back(response: urllib3.BaseHTTPResponse) -> None:
    """Read a short body so that its connection can be used again; drop the connection of a long one."""
    try:
        response.read1(_SHORT, decode_content=False)
        if not response.closed:
            response.read1(_SHORT, decode_content=False)
    except (HTTPError, OSError, ValueError):
        pass
    if not response.closed:
        response.close()
