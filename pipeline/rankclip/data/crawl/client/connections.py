"""Kept-alive connections that cannot outlive a deadline, however slowly the other side speaks."""

from __future__ import annotations

import resource
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

from rankclip.data.crawl.client.heads import Answer

_TICK_S = 0.1
_SHORT = 2**16
_POLITE_S = 0.5


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

    def postpone(self, deadline: float) -> None:
        """Set another deadline for the calling thread."""
        me = threading.get_ident()
        with self._lock:
            if me in self._held:
                self._held[me] = (deadline, self._held[me][1])

    def hasten(self, seconds: float) -> None:
        """Bring the calling thread's deadline forward, to `seconds` from now."""
        me = threading.get_ident()
        with self._lock:
            if me in self._held:
                deadline, connection = self._held[me]
                self._held[me] = (min(deadline, time.monotonic() + seconds), connection)

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


def pools(watch: Watch, places: int, tls: ssl.SSLContext) -> urllib3.PoolManager:
    """Connection pools by scheme, address and port whose sockets `watch` holds; no proxies.

    Args:
        places: connections kept for one pool.
    """

    class Plain(HTTPConnection):
        response_class = Answer

        def getresponse(self) -> Any:
            watch.hold(self.sock)
            return super().getresponse()

    class Secure(HTTPSConnection):
        response_class = Answer

        def connect(self) -> None:
            self._copies: list[socket.socket] = []
            try:
                super().connect()
            finally:
                watch.hold(None)
                for copy in self._copies:
                    copy.close()

        def _new_conn(self) -> socket.socket:
            connection = super()._new_conn()
            # TLS takes the socket away before it shakes hands; a copy can still shut the connection down
            self._copies.append(connection.dup())
            watch.hold(self._copies[-1])
            return connection

        def getresponse(self) -> Any:
            watch.hold(self.sock)
            return super().getresponse()

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure

    manager = urllib3.PoolManager(_pools(places), maxsize=places, ssl_context=tls, retries=False)
    manager.pool_classes_by_scheme = {"http": PlainPool, "https": SecurePool}
    return manager


def _pools(places: int) -> int:
    """Pools whose idle connections use at most half of the files that this process may open."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(16, min(256, files // 2 // places))


def give_back(response: urllib3.BaseHTTPResponse, watch: Watch) -> None:
    """Read a short body, so that its connection can be used again; drop that of a long or slow one."""
    watch.hasten(_POLITE_S)
    try:
        response.read1(_SHORT, decode_content=False)
        if not response.closed:
            response.read1(_SHORT, decode_content=False)
    except (HTTPError, OSError, ValueError):
        pass
    if not response.closed:
        response.close()
    watch.hold(None)
