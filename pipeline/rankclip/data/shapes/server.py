"""The loopback server that plays the web for the embedded world: its images, with their trouble."""

from __future__ import annotations

import multiprocessing
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from typing import Protocol

from PIL import Image

from rankclip import lifecycle
from rankclip.data.shapes import answers
from rankclip.data.shapes.answers import Answer
from rankclip.data.shapes.spec import ShapesSpec
from rankclip.data.shapes.world import World
from rankclip.errors import RunError

_START_S = 120.0


class Site(Protocol):
    """What is served. Calls come one at a time; an index that does not exist raises IndexError."""

    def image(self, index: int) -> Image.Image:
        """The RGB image of a URL."""
        ...

    def trouble(self, index: int) -> str:
        """The kind of trouble of a URL, or `plain`."""
        ...


def serving(spec: ShapesSpec) -> AbstractContextManager[int]:
    """The loopback port at which the world of `spec` is served while the context lasts."""
    return serving_site(partial(World, spec), spec.trouble.slow_s)


@contextmanager
def serving_site(open_site: Callable[[], Site], slow_s: float) -> Iterator[int]:
    """The loopback port at which a process of its own serves `open_site()` while the block runs.

    Args:
        open_site: picklable, for example `partial(World, spec)`; called in the new process.
        slow_s: delay of the answers of kind `slow`, in seconds.

    Raises:
        RunError: the server did not start.
    """
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe(duplex=False)
    process = spawn.Process(target=_main, args=(theirs, open_site, slow_s), daemon=True)
    process.start()
    theirs.close()
    try:
        yield _port(ours, process.sentinel)
    finally:
        process.kill()
        process.join()
        ours.close()


def build(site: Site, slow_s: float) -> ThreadingHTTPServer:
    """A server for `site` at a free loopback port, not yet running; its `server_port` is the port."""
    desk = Desk(site, slow_s)

    class Handler(_Handler):
        answer = desk.answer

    return _Server(("127.0.0.1", 0), Handler)


class Desk:
    """Turns request paths into answers; safe to share between threads."""

    def __init__(self, site: Site, slow_s: float) -> None:
        self._site = site
        self._slow_s = slow_s
        self._lock = threading.Lock()
        self._attempts: Counter[str] = Counter()

    def answer(self, path: str) -> Answer:
        """The answer to the next request for `path`; only that of a flaky URL depends on earlier requests."""
        asked = answers.target(path)
        if asked is None:
            return answers.failure(404)
        try:
            with self._lock:
                kind = self._site.trouble(asked.image)
                attempt = self._attempts[path]
                if kind == "flaky":
                    self._attempts[path] += 1
        except IndexError:
            return answers.failure(404)
        return answers.answer(
            kind, asked, lambda: self._draw(asked.image), attempt=attempt, slow_s=self._slow_s
        )

    def _draw(self, index: int) -> Image.Image:
        # drawing libraries keep global state, and under one interpreter lock threads would gain nothing
        with self._lock:
            return self._site.image(answers.original(self._site.trouble, index))


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 1024

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is none of our errors."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one packet, else Nagle's algorithm holds each answer back for 40 ms
    timeout = 60
    answer: Callable[[str], Answer]

    def do_GET(self) -> None:  # the name is BaseHTTPRequestHandler's
        reply = type(self).answer(self.path)
        if reply.delay_s:
            time.sleep(reply.delay_s)
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        self.wfile.write(reply.body)
        self.wfile.flush()

    def log_message(self, *args: object) -> None:
        """Nothing: the crawl's own report says what became of each URL."""


def _main(channel: Connection, open_site: Callable[[], Site], slow_s: float) -> None:
    lifecycle.die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent ends us
    server = build(open_site(), slow_s)
    channel.send(server.server_port)
    server.serve_forever()


def _port(channel: Connection, sentinel: int) -> int:
    ready = multiprocessing.connection.wait([channel, sentinel], timeout=_START_S)
    try:
        if channel in ready:
            return int(channel.recv())
    except EOFError:
        pass
    raise RunError("the loopback server did not start; its error is above")
