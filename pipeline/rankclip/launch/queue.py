"""Items on their way through Ray: a bounded number under way, those whose process dies tried again."""

from __future__ import annotations

import contextlib
import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rankclip.launch.calls import Json, Said

Submit = Callable[[Json], Any]
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """What became of one item."""

    item: Json
    """The item, as given."""
    value: Any = None
    """What the function returned; None when it failed."""
    error: str = ""
    """One line that names the item; empty when it succeeded."""
    died: bool = False
    """Whether it failed because its process or node died each time."""
    preempted: bool = False
    """Whether it was asked to stop, and can go on from there."""

    @property
    def ok(self) -> bool:
        """Whether the function returned."""
        return not self.error


@dataclass(frozen=True)
class Polling:
    """What the caller does while items run."""

    every_s: float = 0.5
    call: Callable[[], None] = lambda: None
    """Called about each `every_s` seconds, and once when all items have ended."""
    stopped: Callable[[], bool] = lambda: False
    """Whether no more items are given out; those under way end by themselves."""


class Queue:
    """Gives out items, drawn no sooner than there is a slot for them."""

    def __init__(
        self, target: str, items: Iterable[Json], logs: Path, tries: int, polling: Polling | None = None
    ) -> None:
        self._target, self._logs, self._tries = target, logs, tries
        self._polling = polling or Polling()
        self._fresh = enumerate(items)
        self._drawn = 0
        self._lost: deque[tuple[int, Json]] = deque()
        self._deaths: Counter[int] = Counter()
        self._running: dict[Any, tuple[int, Json]] = {}

    def run(
        self, submit: Submit, slots: Callable[[], int], reached: Callable[[], int] | None = None
    ) -> Generator[tuple[int, Outcome]]:
        """Index and outcome of each item, as they come; a caller that stops listening cancels what runs.

        Args:
            submit: hands an item to Ray; returns the reference of its outcome.
            slots: the most items under way.
            reached: the number of outcomes that the caller could use, where it uses them in order; it is
                never ahead of the first missing one by more than twice the slots.
        """
        next_poll = time.monotonic() + self._polling.every_s
        try:
            while self._fill(submit, slots(), reached):
                yield from self._ended(max(0.0, next_poll - time.monotonic()))
                if time.monotonic() >= next_poll:
                    self._polling.call()
                    next_poll = time.monotonic() + self._polling.every_s
            self._polling.call()
        finally:
            self._cancel()

    def _fill(self, submit: Submit, slots: int, reached: Callable[[], int] | None) -> bool:
        """Gives out items while there are slots; whether anything runs."""
        while len(self._running) < slots and not self._polling.stopped():
            if self._lost:
                item = self._lost.popleft()
            elif reached is not None and self._drawn >= reached() + 2 * slots:
                break
            elif (drawn := next(self._fresh, None)) is not None:
                item = drawn
                self._drawn += 1
            else:
                break
            self._running[submit(item[1])] = item
        return bool(self._running)

    def _ended(self, wait_s: float) -> Iterator[tuple[int, Outcome]]:
        import ray

        for reference in ray.wait(list(self._running), timeout=wait_s)[0]:
            index, item = self._running.pop(reference)
            outcome = self._collect(reference, index, item)
            if outcome is not None:
                yield index, outcome

    def _cancel(self) -> None:
        import ray

        for reference in self._running:
            with contextlib.suppress(Exception):
                ray.cancel(reference, force=True)

    def _collect(self, reference: Any, index: int, item: Json) -> Outcome | None:
        """The outcome of an item; None where its process died and it is to be tried again."""
        import ray

        name = str(item.get("key", f"{self._target} item {index}"))
        died = False
        try:
            said = Said(*ray.get(reference))
        except ray.exceptions.RayError as lost:
            count = self._deaths[index] + 1
            times = {1: "once", 2: "twice"}.get(count, f"{count} times")
            died, said = True, Said(None, f"its process died {times} (killed, or out of memory?)", str(lost))
        if died or said.preempted:
            self._deaths[index] += 1
            if self._deaths[index] < self._tries and not self._polling.stopped():
                self._lost.append((index, item))
                logger.warning(
                    "%s: its process %s; trying once more", name, "died" if died else "was stopped"
                )
                return None
        if said.preempted:
            line = " ".join(said.error.split()).removeprefix(f"{name}: ")
            return Outcome(item, error=f"{name}: {line}", preempted=True)
        error = said.error and f"{name} failed: {' '.join(said.error.split())}{self._log(name, said.trace)}"
        return Outcome(item, said.value, error, died)

    def _log(self, name: str, trace: str) -> str:
        """Keeps a traceback; the end of the line that says where."""
        safe = "".join(letter if letter.isalnum() or letter in "._-" else "-" for letter in name)
        path = self._logs / f"{safe}.log"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(trace)
        except OSError:  # a full disk fails the runs too, and their lines are what counts
            return ""
        return f" (details: {path})"
