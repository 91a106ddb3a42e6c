"""What the shards of one process share: its requests in flight, and the rows it still has to fetch."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.request import OpenerDirector

from rankclip.data.crawl.client.fetch_error import FetchError
from rankclip.data.reasons import Reason


class Gate(OpenerDirector):
    """An opener that lets so many requests of a process through at once, until it is closed."""

    def __init__(self, opener: OpenerDirector, requests: int) -> None:
        super().__init__()
        self._opener = opener
        self._slots = threading.BoundedSemaphore(requests)
        self.closed = False
        """What is fetched cannot be kept: what comes from now on counts for nothing."""

    def open(self, *arguments: Any, **named: Any) -> Any:
        """See `OpenerDirector.open`."""
        with self._slots:
            if self.closed:
                raise FetchError(Reason.OTHER, "not fetched")
            return self._opener.open(*arguments, **named)


class Load:
    """Counts the rows that a process has not fetched, and asks for a task when they are about to run out.

    Towards the end of a shard ever fewer of its requests are in flight: a few slow servers would leave the
    process idle for as long as a URL may take.
    """

    def __init__(self, least: int) -> None:
        self._least = least
        self._left = 0
        self._asked = False
        self._lock = threading.Lock()

    @contextmanager
    def of(self, rows: int, ask: Callable[[], None]) -> Iterator[Callable[[], None]]:
        """For the time of the block, `rows` more; the function it gives says that one of them is fetched."""
        left = rows

        def fetched() -> None:
            nonlocal left
            left -= 1
            self._change(-1, ask)

        with self._lock:
            self._asked = False
        self._change(rows, ask)
        try:
            yield fetched
        finally:
            self._change(-left, ask)

    def _change(self, rows: int, ask: Callable[[], None]) -> None:
        with self._lock:
            self._left += rows
            if self._asked or self._left > self._least:
                return
            self._asked = True
        ask()
