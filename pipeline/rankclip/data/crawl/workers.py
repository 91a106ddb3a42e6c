"""A pool of spawned processes for long, restartable tasks that report while they run.

Other than the pools of the standard library it gives a process several tasks where those leave it idle,
notices a process that dies (out of memory, kill -9) or a task that falls silent, gives the tasks of such a
process to a fresh one, and leaves no process behind when the parent ends in any way.
"""

from __future__ import annotations

import multiprocessing
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any, NamedTuple

from rankclip.data.crawl import worker
from rankclip.errors import RunError

ATTEMPTS = 3
"""Failures of a task after which its job is to look for the cause; an error of its own then ends the run."""

LIMIT = 30
"""Times that a task may cost a process its life."""

_START_S = 300.0
"""Time for a process to build its job: imports are slow on a machine that is busy with others."""

DEPTH = 16
"""Tasks of one process at once."""


class Event(NamedTuple):
    """What the pool tells its caller."""

    kind: str
    """`report` (value: what the job reported), `done` (value: its result), or `again` (reports on this task
    so far are void)."""
    task: str
    value: Any = None


@dataclass
class _Task:
    name: str
    payload: Any
    heard: float = field(default_factory=time.monotonic)


@dataclass
class _Worker:
    process: SpawnProcess
    channel: Connection
    tasks: dict[str, _Task] = field(default_factory=dict)
    begun: float = field(default_factory=time.monotonic)
    ready: bool = False
    """Its job is built, which takes seconds: until then a task would be sent into a full pipe."""
    room: bool = True
    """It has no task, or asked for another."""
    alone: bool = False
    """Its task is suspected of having ended a process, and gets no company."""

    def give(self, task: _Task, failures: int) -> None:
        self.tasks[task.name] = task
        task.heard = time.monotonic()
        self.room = False
        self.alone = failures > 0
        try:
            self.channel.send((task.name, task.payload, failures))
        except OSError:  # it died while idle; the next turn of `_listen` meets the closed channel
            return

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        self.channel.close()


def run(
    build: Callable[[], worker.Job],
    tasks: Iterable[tuple[str, Any]],
    processes: int,
    log: Path,
    silence_s: float,
) -> Generator[Event]:
    """Give out `tasks` (name, payload), in order and no sooner than needed, to `processes` workers.

    Args:
        build: picklable; called once in each worker for the job.
        tasks: payloads are pickled.
        processes: how many workers at most.
        log: folder for what the workers print, one file each.
        silence_s: a task of which nothing is heard for so long is taken for hung.

    Raises:
        RunError: the disk is full, a task's job refused it or failed `ATTEMPTS` times with an error of its
            own, a task ended `LIMIT` processes, or jobs cannot be built.
    """
    pool = _Pool(build, processes, log, silence_s)
    try:
        yield from pool.run(_Task(*task) for task in tasks)
    finally:
        pool.end()


class _Pool:
    def __init__(self, build: Callable[[], worker.Job], processes: int, log: Path, silence_s: float) -> None:
        self._build = build
        self._processes = processes
        self._log = log
        self._silence_s = silence_s
        self._workers: list[_Worker] = []
        self._suspects: deque[_Task] = deque()
        self._failures: Counter[str] = Counter()
        self._started = 0
        self._stillborn = 0

    def run(self, tasks: Iterator[_Task]) -> Iterator[Event]:
        following = next(tasks, None)
        while following or self._suspects or any(one.tasks for one in self._workers):
            while self._suspects and (free := self._free(1)):
                suspect = self._suspects.popleft()
                free.give(suspect, self._failures[suspect.name])
            # new tasks wait until each suspect has a process to itself
            while following and not self._suspects and (free := self._free(DEPTH)):
                free.give(following, 0)
                following = next(tasks, None)
            yield from self._listen()

    def end(self) -> None:
        for one in self._workers:
            one.end()
        self._workers.clear()

    def _free(self, depth: int) -> _Worker | None:
        """The least busy worker that takes a task beside fewer than `depth`; begins others where all are."""
        able = [
            one
            for one in self._workers
            if one.ready and (not one.tasks or (one.room and not one.alone and len(one.tasks) < depth))
        ]
        least = min(able, key=lambda one: len(one.tasks), default=None)
        while (least is None or least.tasks) and len(self._workers) < self._processes:
            self._start()
        return least

    def _start(self) -> None:
        spawn = multiprocessing.get_context("spawn")
        ours, theirs = spawn.Pipe()
        self._log.mkdir(parents=True, exist_ok=True)
        log = self._log / f"worker-{self._started}.log"
        process = spawn.Process(target=worker.main, args=(theirs, self._build, log), daemon=True)
        process.start()
        theirs.close()
        self._started += 1
        self._workers.append(_Worker(process, ours))

    def _listen(self) -> Iterator[Event]:
        """The events of the next second at most."""
        awaited = [one for one in self._workers if one.tasks or not one.ready]
        ready = wait([one.channel for one in awaited], timeout=1.0) if awaited else []
        for one in awaited:
            if one.channel in ready:
                yield from self._hear(one)
                continue
            heard = [task.heard for task in one.tasks.values()] or [one.begun]
            most_s = self._silence_s if one.ready else _START_S
            if time.monotonic() - min(heard) > most_s:
                yield from self._lost(one, f"silent for {most_s:.0f} s")

    def _hear(self, one: _Worker) -> Iterator[Event]:
        try:
            kind, name, value = one.channel.recv()
        except (EOFError, OSError):
            one.process.join(timeout=5)
            yield from self._lost(one, f"its process ended with exit code {one.process.exitcode}")
            return
        if kind == "ready":
            one.ready = True
            return
        task = one.tasks.get(name)
        if task is None:  # a thread that outlived its task's result asked for more
            one.room = one.room or kind == "room"
            return
        task.heard = time.monotonic()
        if kind == "room":
            one.room = True
            return
        if kind in ("failed", "refused"):
            yield from self._failed(one, task, kind, value)
            return
        if kind == "done":
            del one.tasks[name]
        yield Event(kind, name, value)

    def _failed(self, one: _Worker, task: _Task, kind: str, why: str) -> Iterator[Event]:
        """Of a task that ended with an error."""
        if why == worker.FULL:
            raise RunError(
                f"no space left on the disk while writing shard {task.name}; free some and run again, "
                "what is finished is kept"
            )
        if kind == "refused":
            raise RunError(f"shard {task.name}: {why}")
        del one.tasks[task.name]
        yield self._again(task, why, ATTEMPTS)
        yield from self._lost(one, "its process was ended for the error of another task")

    def _lost(self, one: _Worker, why: str) -> Iterator[Event]:
        """Of a process that is of no more use: whichever of its tasks is to blame, each is tried alone."""
        one.end()
        self._workers.remove(one)
        self._stillborn += not one.ready
        if self._stillborn >= ATTEMPTS:
            raise RunError(f"{ATTEMPTS} processes could not begin, last: {why}; see the logs in {self._log}")
        for task in one.tasks.values():
            yield self._again(task, why, LIMIT)

    def _again(self, task: _Task, why: str, limit: int) -> Event:
        self._failures[task.name] += 1
        if self._failures[task.name] >= limit:
            raise RunError(
                f"shard {task.name} failed {self._failures[task.name]} times, last: {why}; "
                f"see the logs in {self._log}"
            )
        self._suspects.append(task)
        return Event("again", task.name)
