"""A pool of spawned processes for long, restartable tasks that report while they run.

Other than the pools of the standard library it notices a worker that dies (out of memory, kill -9) or falls
silent, gives its task to a fresh one, and leaves no process behind when the parent ends in any way.
"""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any, NamedTuple

from rankclip import files, lifecycle
from rankclip.errors import RunError

Report = Callable[[Any], None]
Job = Callable[[str, Any, Report], None]
"""Called as job(name, payload, report); what a call left half done must not trouble the next one."""

_FULL = "disk full"

ATTEMPTS = 3
"""Times a task is given out before its failures end the run."""


class Event(NamedTuple):
    """What the pool tells its caller."""

    kind: str
    """`report` (value: what the job reported), `done`, or `again` (reports on this task so far are void)."""
    task: str
    value: Any = None


@dataclass
class _Worker:
    process: SpawnProcess
    channel: Connection
    task: tuple[str, Any] | None = None
    heard: float = field(default_factory=time.monotonic)

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        self.channel.close()


def run(
    build: Callable[[], Job], tasks: Iterable[tuple[str, Any]], processes: int, log: Path, silence_s: float
) -> Iterator[Event]:
    """Give out `tasks` (name, payload), in order and no sooner than needed, to `processes` workers.

    Args:
        build: picklable; called once in each worker for the job.
        tasks: payloads are pickled.
        processes: how many workers at most.
        log: folder for what the workers print, one file each.
        silence_s: a worker that reports nothing for so long is taken for hung.

    Raises:
        RunError: the disk is full, or a task failed `ATTEMPTS` times.
    """
    pool = _Pool(build, log, silence_s)
    try:
        yield from pool.run(iter(tasks), processes)
    finally:
        pool.end()


class _Pool:
    def __init__(self, build: Callable[[], Job], log: Path, silence_s: float) -> None:
        self._build = build
        self._log = log
        self._silence_s = silence_s
        self._workers: list[_Worker] = []
        self._failures: dict[str, int] = {}
        self._started = 0

    def run(self, tasks: Iterator[tuple[str, Any]], processes: int) -> Iterator[Event]:
        for task in tasks:
            while len(self._workers) >= processes and all(worker.task for worker in self._workers):
                yield from self._listen()
            self._give(task)
        while any(worker.task for worker in self._workers):
            yield from self._listen()

    def end(self) -> None:
        for worker in self._workers:
            worker.end()
        self._workers.clear()

    def _give(self, task: tuple[str, Any]) -> None:
        worker = next((worker for worker in self._workers if worker.task is None), None) or self._start()
        worker.task = task
        worker.heard = time.monotonic()
        try:
            worker.channel.send(task)
        except OSError:  # it died while idle; the next turn of `_listen` meets the closed channel
            return

    def _start(self) -> _Worker:
        spawn = multiprocessing.get_context("spawn")
        ours, theirs = spawn.Pipe()
        self._log.mkdir(parents=True, exist_ok=True)
        log = self._log / f"worker-{self._started}.log"
        process = spawn.Process(target=_main, args=(theirs, self._build, log), daemon=True)
        process.start()
        theirs.close()
        self._started += 1
        worker = _Worker(process, ours)
        self._workers.append(worker)
        return worker

    def _listen(self) -> Iterator[Event]:
        """The events of the next second at most."""
        ready = wait([worker.channel for worker in self._workers if worker.task], timeout=1.0)
        for worker in [worker for worker in self._workers if worker.task]:
            if worker.channel in ready:
                yield from self._hear(worker)
            elif time.monotonic() - worker.heard > self._silence_s:
                yield from self._failed(worker, f"silent for {self._silence_s:.0f} s")

    def _hear(self, worker: _Worker) -> Iterator[Event]:
        assert worker.task is not None
        name = worker.task[0]
        try:
            kind, value = worker.channel.recv()
        except (EOFError, OSError):
            worker.process.join(timeout=5)
            yield from self._failed(worker, f"its process ended with exit code {worker.process.exitcode}")
            return
        worker.heard = time.monotonic()
        if kind == "failed":
            yield from self._failed(worker, value)
            return
        if kind == "done":
            worker.task = None
        yield Event(kind, name, value)

    def _failed(self, worker: _Worker, why: str) -> Iterator[Event]:
        assert worker.task is not None
        task = worker.task
        worker.end()
        self._workers.remove(worker)
        if why == _FULL:
            raise RunError(
                f"no space left on the disk while writing shard {task[0]}; free some and run again, "
                "what is finished is kept"
            )
        self._failures[task[0]] = self._failures.get(task[0], 0) + 1
        if self._failures[task[0]] >= ATTEMPTS:
            raise RunError(
                f"shard {task[0]} failed {ATTEMPTS} times, last: {why}; see the logs in {self._log}"
            )
        yield Event("again", task[0])
        self._give(task)


def _main(channel: Connection, build: Callable[[], Job], log: Path) -> None:
    """A worker: builds its job, then does one task after the other until its channel closes."""
    lifecycle.die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent ends us
    _speak_into(log)
    try:
        job = build()
        while True:
            name, payload = channel.recv()
            job(name, payload, lambda value: channel.send(("report", value)))
            channel.send(("done", None))
    except EOFError:
        return
    except Exception as error:
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        channel.send(("failed", _FULL if full else f"{type(error).__name__}: {files.one_line(error)}"))
        raise


def _speak_into(log: Path) -> None:
    """Send what libraries print, also from C, to a file: the console belongs to the progress bar."""
    with log.open("ab") as file:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
