"""Processes that make batches ahead of who trains on them.

They are forked from a server that has imported what they need and has no threads, so that the threads and
locks of who asks, which may be Ray's, do not matter. However that process ends, they end with it.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import time
import types
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Self

import numpy as np
from numpy.typing import NDArray

from rankclip import lifecycle
from rankclip.data.loading import serving
from rankclip.data.loading.arena import Slots, places
from rankclip.data.loading.crop import Crops
from rankclip.data.loading.rows import Arrays, Rows, Undecodable
from rankclip.data.loading.serving import Piece
from rankclip.errors import RankclipError, RunError

PIECE = 64
"""Rows that a process makes at once, at most."""

DEEP = 32
"""Pieces that a process has at most: so few that neither side waits for the other to read its messages."""

AHEAD_BYTES = 512 << 20
"""Memory for batches: those made ahead and the one in use; two batches may take more."""

MOST_AHEAD = 16
"""Batches there are at most, the one in use among them."""

STUCK_S = 300.0
"""Seconds that a process may stay at one sample."""


@dataclass
class _Batch:
    """A batch that is being made."""

    step: int
    slot: int
    missing: int = 0
    found: list[Undecodable] = field(default_factory=list)
    error: RankclipError | None = None


@dataclass
class _Worker:
    """A process, and what it was asked for and has not answered."""

    number: int
    process: BaseProcess
    pipe: Connection
    pieces: deque[Piece] = field(default_factory=deque)
    at: int = -1
    since: float = 0.0


class Workers:
    """`count` processes that make batches of `n` rows; use it as a context manager."""

    def __init__(self, rows: Rows, count: int, n: int) -> None:
        self._rows, self._piece = rows, max(1, min(PIECE, -(-n // count)))
        self.slots = Slots(rows.layout, n, places(rows.layout, n, AHEAD_BYTES, MOST_AHEAD), count)
        self.slots.now[:] = -1
        self._batches: deque[_Batch] = deque()
        self._backlog: deque[Piece] = deque()
        self._submitted = 0
        self._workers: list[_Worker] = []
        for number in range(count):
            self._workers.append(_started(rows, self.slots, number))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *unused: object) -> None:
        """Ends the processes, whatever they are at."""
        for worker in self._workers:
            worker.pipe.close()
            worker.process.kill()
        for worker in self._workers:
            worker.process.join()

    def submit(
        self, step: int, indices: NDArray[np.int64], by: NDArray[np.int16] | None, crops: Crops | None
    ) -> None:
        """Asks for the batch of a step; at most `slots.count` are asked for or in use at any time."""
        batch = _Batch(step, self._submitted % self.slots.count)
        self._submitted += 1
        self._batches.append(batch)
        for start in range(0, len(indices), self._piece):
            own = slice(start, start + self._piece)
            moves = None if by is None else by[own]
            self._backlog.append(Piece(batch.slot, start, indices[own], moves, crops))
            batch.missing += 1
        self._send()

    def next(self) -> tuple[Arrays, list[Undecodable]]:
        """The batch that was asked for first and not given yet; it is overwritten once `slots.count` later.

        Raises:
            DataError: a shard cannot be read, or too many samples in a row cannot be decoded.
            RunError: a process died or hangs, or the store does not answer.
        """
        batch = self._batches[0]
        for worker in self._workers:
            worker.since = time.monotonic()  # nobody listened meanwhile
        while batch.missing:
            self._listen()
        self._batches.popleft()
        if batch.error:
            raise batch.error
        return self.slots.rows(batch.slot), sorted(batch.found)

    def _send(self) -> None:
        """Gives pieces to those who have the fewest."""
        while self._backlog:
            worker = min(self._workers, key=lambda one: len(one.pieces))
            if len(worker.pieces) == DEEP:
                return
            try:
                worker.pipe.send(self._backlog[0])
            except OSError:
                raise self._death(worker) from None
            worker.pieces.append(self._backlog.popleft())

    def _listen(self) -> None:
        """Takes answers, or finds that somebody hangs."""
        by_pipe = {worker.pipe: worker for worker in self._workers}
        ready = wait(list(by_pipe), timeout=min(1.0, STUCK_S))
        for pipe in ready:
            self._hear(by_pipe[pipe])  # type: ignore[index]
        if not ready:
            for worker in self._workers:
                self._look_at(worker)

    def _hear(self, worker: _Worker) -> None:
        try:
            answer: list[Undecodable] | RankclipError = worker.pipe.recv()
        except (EOFError, OSError):
            raise self._death(worker) from None
        piece = worker.pieces.popleft()
        batch = next(batch for batch in self._batches if batch.slot == piece.slot)
        batch.missing -= 1
        if isinstance(answer, RankclipError):
            batch.error = answer  # of whoever comes to that batch: those before it are good
        else:
            batch.found += answer
        self._send()

    def _look_at(self, worker: _Worker) -> None:
        at, now = int(self.slots.now[worker.number]), time.monotonic()
        if at != worker.at or not worker.pieces:
            worker.at, worker.since = at, now
        if now - worker.since >= STUCK_S:
            raise RunError(
                f"{self._named(worker)} has been there for {STUCK_S:.0f} s; look at that sample, and whether "
                "its disk or store answers, then start again"
            )

    def _death(self, worker: _Worker) -> RunError:
        worker.process.join(5)
        code = worker.process.exitcode
        how = signal.Signals(-code).name if code is not None and code < 0 else f"exit code {code}"
        return RunError(
            f"{self._named(worker)} died ({how}); if memory is short set RANKCLIP_LOADER_WORKERS to less, "
            "then start again"
        )

    def _named(self, worker: _Worker) -> str:
        """A process, and what it is at."""
        at, text = (
            int(self.slots.now[worker.number]),
            f"loader process {worker.number + 1} of {len(self._workers)}",
        )
        steps = [batch.step for batch in self._batches for piece in worker.pieces if piece.slot == batch.slot]
        if at < 0 or not steps:
            return f"{text}, before its first sample," if at < 0 else text
        key, shard = self._rows.samples.keys[at], self._rows.samples.shard(at)
        return f"{text}, at sample {key} of {shard} for step {steps[0]},"


def _started(rows: Rows, slots: Slots, number: int) -> _Worker:
    method = multiprocessing.get_context("forkserver")
    tokenize = getattr(rows.tokenize, "func", rows.tokenize)
    method.set_forkserver_preload([serving.__name__, tokenize.__module__])
    ours, theirs = method.Pipe()
    process = method.Process(
        target=serving.serve, args=(rows, slots, number, theirs, dict(os.environ)), daemon=True
    )
    with _without_main(), _deaf():
        process.start()
    theirs.close()
    return _Worker(number, process, ours)


@contextlib.contextmanager
def _deaf() -> Iterator[None]:
    """What is started does not hear a signal that is sent to all processes: who asks has still to save."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, lifecycle.SIGNALS)
    try:
        resource_tracker.ensure_running()  # else the server's start does so, which lets signals through again
        signal.pthread_sigmask(signal.SIG_BLOCK, lifecycle.SIGNALS)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _without_main() -> Iterator[None]:
    """Keeps a process that is started from importing our main module: Ray's, or a script without a guard."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
