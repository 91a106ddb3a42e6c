"""The internet of a test: names by a table, connections to loopback alone.

Installed in a process, it stands between that process and the socket layer. A connection to anything but
the doors of the table is refused before a packet leaves, and written down, since whoever tried may hide it.
"""

from __future__ import annotations

import errno
import socket
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Answer = tuple[str, ...] | int | float
"""The addresses of a name, the resolver's error (EAI_...), or its silence in seconds."""


@dataclass
class Network:
    """Picklable, so that a test can install it in another process."""

    names: Mapping[str, tuple[Answer, ...]]
    """Host -> the answers to the first look-up, the second and so on; the last one stays."""
    doors: Mapping[tuple[str, int], int]
    """(public address, port) -> port on loopback."""
    silent: frozenset[str]
    """Public addresses that never answer; others without a door refuse."""
    log: Path
    """Forbidden connections, one a line."""
    _asked: Counter[str] = field(default_factory=Counter)

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Every connection of this process goes through here until the block ends."""
        kept = socket.getaddrinfo, socket.socket.connect, socket.socket.connect_ex, socket.socket.sendto
        self.install()
        try:
            yield
        finally:
            socket.getaddrinfo, socket.socket.connect = kept[0], kept[1]  # type: ignore[method-assign]
            socket.socket.connect_ex, socket.socket.sendto = kept[2], kept[3]  # type: ignore[method-assign]

    def install(self) -> None:
        """Every connection of this process goes through here from now on."""
        really, numeric = socket.socket.connect, socket.getaddrinfo

        def connect(connection: socket.socket, address: Any) -> None:
            really(connection, self._door(connection, address))

        def lookup(host: str, port: Any, *_: Any, **__: Any) -> list[Any]:
            try:  # what is a number needs no resolver
                return numeric(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
            except (socket.gaierror, UnicodeError):
                return self._lookup(host)

        def forbidden(_: socket.socket, *arguments: Any) -> None:
            self._refuse(arguments[-1])

        socket.getaddrinfo = lookup
        socket.socket.connect = connect  # type: ignore[method-assign]
        socket.socket.connect_ex = forbidden  # type: ignore[method-assign, assignment]
        socket.socket.sendto = forbidden  # type: ignore[method-assign, assignment]

    def trespasses(self) -> list[str]:
        """The forbidden connections that were tried."""
        return self.log.read_text().splitlines() if self.log.exists() else []

    def _lookup(self, host: str) -> list[Any]:
        answers = self.names.get(host, (socket.EAI_NONAME,))
        answer = answers[min(self._asked[host], len(answers) - 1)]
        self._asked[host] += 1
        if isinstance(answer, float):
            time.sleep(answer)
            answer = socket.EAI_AGAIN
        if isinstance(answer, int):
            raise socket.gaierror(answer, "no address for this name")
        family = {True: socket.AF_INET6, False: socket.AF_INET}
        return [(family[":" in each], socket.SOCK_STREAM, 6, "", (each, 0)) for each in answer]

    def _door(self, connection: socket.socket, address: Any) -> Any:
        if connection.family not in (socket.AF_INET, socket.AF_INET6):
            return address  # of this machine, between processes
        host, port = address[:2]
        if (host, port) in self.doors:
            return "127.0.0.1", self.doors[host, port]
        if host in self.silent:
            time.sleep(connection.gettimeout() or 60)
            raise TimeoutError(errno.ETIMEDOUT, "timed out")
        if any(host == known for known, _ in self.doors):
            raise ConnectionRefusedError(errno.ECONNREFUSED, "refused")
        return self._refuse(address)

    def _refuse(self, address: Any) -> None:
        with self.log.open("a") as log:
            log.write(f"{address}\n")
        raise AssertionError(f"a connection to {address} was tried")
