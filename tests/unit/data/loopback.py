"""A server on loopback that answers as a test tells it to; no test has another."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

JPEG = b"\xff\xd8\xff\xe0 not decoded by the crawl"

Reply = tuple[int, dict[str, str], bytes]


class Web:
    """The server's port, and what was asked of it."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.connections: set[tuple[str, int]] = set()


@contextmanager
def web(reply: Callable[[str, int], Reply], tls: ssl.SSLContext | None = None) -> Iterator[Web]:
    """Serves `reply(path, how often asked before)`."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1
        timeout = 10

        def do_GET(self) -> None:
            before = sum(path == self.path for path, _ in state.asked)
            state.asked.append((self.path, dict(self.headers)))
            state.connections.add(self.client_address)
            status, headers, body = reply(self.path, before)
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            pass  # a client that hangs up is what some tests are about

    server = Server(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    state = Web(server.server_port)
    with running(lambda: server.serve_forever(poll_interval=0.02), server.shutdown):
        yield state
    server.server_close()


@contextmanager
def saying(words: Callable[[], bytes]) -> Iterator[int]:
    """A port at which each client gets what `words` gives and is then hung up on."""
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with client, suppress(OSError):
                client.recv(65536)
                client.sendall(words())

    def end() -> None:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()

    with running(accept, end):
        yield listener.getsockname()[1]


@contextmanager
def dripping(head: bytes, drop: bytes, every_s: float) -> Iterator[int]:
    """A port at which each client gets `head` and then `drop` again and again."""
    listener = socket.create_server(("127.0.0.1", 0))
    stop = threading.Event()

    def speak(client: socket.socket) -> None:
        with client:
            try:
                client.recv(65536)
                client.sendall(head)
                while not stop.wait(every_s):
                    client.sendall(drop)
            except OSError:
                return

    def accept() -> None:
        while not stop.is_set():
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=speak, args=(client,), daemon=True).start()

    def end() -> None:
        stop.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()

    with running(accept, end):
        yield listener.getsockname()[1]


@contextmanager
def running(work: Callable[[], None], end: Callable[[], None]) -> Iterator[None]:
    """Runs `work` in a thread until the block ends."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield
    finally:
        end()
        thread.join(timeout=10)
