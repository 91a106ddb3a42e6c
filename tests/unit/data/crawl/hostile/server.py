"""A server on loopback that says, byte for byte, what a script tells it to."""

from __future__ import annotations

import socket
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

Script = Callable[["Talk"], None]

Door = ssl.SSLContext | Script | None
"""What is behind a port: HTTP in TLS, a script that answers whatever is said first, or HTTP."""


@dataclass
class Talk:
    """One request, and the connection to answer it on."""

    path: str
    headers: dict[str, str]
    before: int
    """How often this path was asked for before."""
    visits: int
    """How often this host was asked for anything before."""
    connection: socket.socket
    stop: threading.Event
    over: bool = False
    """Whether the connection ends with this answer."""

    def say(self, *parts: bytes | str) -> None:
        self.connection.sendall(b"".join(part.encode() if isinstance(part, str) else part for part in parts))

    def reply(self, status: str | int, body: bytes = b"", **headers: str) -> None:
        """A well-formed answer; underscores in the names of headers become hyphens."""
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        length = "" if "Content_Length" in headers else f"Content-Length: {len(body)}\r\n"
        self.say(f"HTTP/1.1 {status} Said\r\n{length}{lines}\r\n", body)

    def drip(self, drop: bytes, every_s: float = 0.1) -> None:
        """Say `drop` again and again until the other side hangs up or the server ends."""
        while not self.stop.wait(every_s):
            self.say(drop)

    def flood(self, drop: bytes) -> None:
        """Say `drop` again and again, as fast as it is taken."""
        while not self.stop.is_set():
            self.say(drop)


@dataclass
class Server:
    """What was asked, and of which host how much at once."""

    scripts: Mapping[str, Script]
    """By the first part of the path."""
    asked: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(host, path) -> requests."""
    busiest: Counter[str] = field(default_factory=Counter)
    """Host -> the most requests at once."""
    connections: Counter[int] = field(default_factory=Counter)
    """Door -> connections taken."""
    _busy: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stop: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def listening(self, doors: Mapping[str, Door]) -> Iterator[dict[str, int]]:
        """Ports on loopback by the names of `doors`, open until the block ends."""
        listeners = {name: socket.create_server(("127.0.0.1", 0), backlog=1024) for name in doors}
        for name, listener in listeners.items():
            threading.Thread(target=self._accept, args=(listener, doors[name]), daemon=True).start()
        try:
            yield {name: listener.getsockname()[1] for name, listener in listeners.items()}
        finally:
            self._stop.set()
            for listener in listeners.values():
                with suppress(OSError):
                    listener.shutdown(socket.SHUT_RDWR)
                listener.close()

    def _accept(self, listener: socket.socket, door: Door) -> None:
        port = listener.getsockname()[1]
        while not self._stop.is_set():
            try:
                client, _ = listener.accept()
            except OSError:
                return
            self.connections[port] += 1
            client.settimeout(30)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._serve, args=(client, door), daemon=True).start()

    def _serve(self, client: socket.socket, door: Door) -> None:
        try:
            if isinstance(door, ssl.SSLContext):
                client = door.wrap_socket(client, server_side=True)
            with client:
                if callable(door):
                    client.recv(65536)
                    door(Talk("", {}, 0, 0, client, self._stop))
                    return
                while self._answer(client):
                    pass
        except (OSError, ValueError):
            client.close()

    def _answer(self, client: socket.socket) -> bool:
        head = b""
        while b"\r\n\r\n" not in head:
            piece = client.recv(65536)
            if not piece:
                return False
            head += piece
        first, *lines = head.decode("latin-1").split("\r\n\r\n")[0].split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        return self._perform(client, first.split(" ")[1], headers)

    def _perform(self, client: socket.socket, path: str, headers: dict[str, str]) -> bool:
        host = headers.get("host", "").partition(":")[0]
        with self._lock:
            talk = Talk(path, headers, self.asked[host, path], self.asked[host, ""], client, self._stop)
            self.asked[host, path] += 1
            self.asked[host, ""] += 1
            self._busy[host] += 1
            self.busiest[host] = max(self.busiest[host], self._busy[host])
        try:
            self.scripts[path.split("/")[1]](talk)
        finally:
            with self._lock:
                self._busy[host] -= 1
        return not talk.over
