"""Answers of bounded length whose header is read even where one of its lines is not one."""

from __future__ import annotations

import http.client
import io
import re
import socket
from typing import Any

from rankclip.data.crawl.client.fetch_error import MalformedError

HEAD_BYTES = 2**16
"""Longest header taken, that of interim answers (100 Continue) and of broken lines included."""

_FRAMING = 2**18
"""Bytes on the wire beyond header and body: the sizes of chunks, trailers, and what was read ahead."""

_BLANK = (b"\r\n", b"\n")
_INTERIM = re.compile(rb"HTTP/1\.\d 1\d\d\b")
_CONTINUE = b"HTTP/1.1 100 Continue\r\n"


class Answer(http.client.HTTPResponse):
    """http.client's answer with bounds, and without the lines of a header that are none.

    One line without a colon would end the header for Python's parser; the length of the body would be lost
    with the rest, and a server that keeps connections would hold the thread until its time is over.
    """

    fp: Any
    headers: Any

    def __init__(self, sock: Any, *args: Any, **named: Any) -> None:
        self._tap = _Tap(sock)
        super().__init__(self._tap, *args, **named)  # type: ignore[arg-type]

    def begin(self, *args: Any, **named: Any) -> None:
        """Read the header.

        Raises:
            MalformedError: it is longer than `HEAD_BYTES`.
        """
        if self.headers is not None:
            return
        inner = self.fp
        self.fp = _Head(inner)
        try:
            super().begin(*args, **named)
        finally:
            if self.fp is not None:
                self.fp = inner

    def read1(self, n: int = -1) -> bytes:
        """A piece of the body, around which there may be its own length of framing, and `_FRAMING` in all.

        Raises:
            MalformedError: chunks of nearly nothing, or trailers without end.
        """
        piece = super().read1(n)
        self._tap.left += 2 * len(piece)
        return piece


class _Head:
    """The lines of a header, of which there is an end."""

    def __init__(self, inner: io.BufferedReader) -> None:
        self._inner = inner
        self._left = HEAD_BYTES
        self._status = True
        """Whether the next line is a status."""

    def readline(self, limit: int) -> bytes:
        while True:
            line = self._inner.readline(limit)
            self._left -= len(line)
            if self._left < 0:
                raise MalformedError("header too long")
            if self._status:
                self._status = False
                # http.client knows one kind of interim answer
                return _CONTINUE if _INTERIM.match(line) else line
            if not line:
                raise http.client.IncompleteRead(b"")
            if line in _BLANK:
                self._status = True  # there is one more after an interim answer
                return line
            if b":" in line or line[:1] in (b" ", b"\t"):
                return line

    def close(self) -> None:
        self._inner.close()


class _Tap:
    """What http.client asks of a socket: a file to read the answer from, here one with an end."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.left = HEAD_BYTES + _FRAMING
        """Bytes that may still come."""

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Bounded(self._sock.makefile("rb", buffering=0), self))


class _Bounded(io.RawIOBase):
    def __init__(self, inner: socket.SocketIO, tap: _Tap) -> None:
        self._inner = inner
        self._tap = tap

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self._tap.left <= 0:
            raise MalformedError("answer too long")
        count = self._inner.readinto(buffer)
        self._tap.left -= count or 0
        return count

    def fileno(self) -> int:
        return self._inner.fileno()

    def close(self) -> None:
        self._inner.close()
        super().close()
