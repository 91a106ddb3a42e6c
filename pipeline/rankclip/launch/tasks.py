"""One Ray task for each item: seeds of an arm side by side, on one machine or on a cluster."""

from __future__ import annotations

import contextlib
import importlib
import logging
import time
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rankclip.errors import RankclipError, RunError, disk_full
from rankclip.launch.session import session

Json = dict[str, Any]
Function = str | Callable[[Json], Any]
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

    @property
    def ok(self) -> bool:
        """Whether the function returned."""
        return not self.error


def values(outcomes: Sequence[Outcome]) -> list[Any]:
    """The values of all items.

    Raises:
        RunError: an item failed; the message is its line, and counts the others.
    """
    errors = [outcome.error for outcome in outcomes if not outcome.ok]
    if errors:
        others = f" ({len(errors) - 1} more failed)" if len(errors) > 1 else ""
        raise RunError(f"{errors[0]}{others}; what finished is kept, run the command again for the rest")
    return [outcome.value for outcome in outcomes]


def map_tasks(
    function: Function,
    items: Sequence[Json],
    *,
    cpus: float = 1,
    gpus: float = 0,
    slots: int | None = None,
    on_poll: Callable[[], None] | None = None,
    logs: Path = Path("work/logs"),
    every_s: float = 0.5,
) -> list[Outcome]:
    """Calls `function` once for each item, each in a fresh process; outcomes in the order of the items.

    An item that fails does not stop the others: its outcome carries one line, and the traceback lies in
    `logs`. An item whose process dies is tried once more. Ctrl-C stops all of them.

    Args:
        function: "package.module:name", or a function that can be imported so; takes and returns plain JSON.
        items: plain JSON; the key "key" names an item in messages.
        cpus: CPU cores of a task; Ray sets OMP_NUM_THREADS to it.
        gpus: GPUs of a task.
        slots: the most tasks at once; by default as many as the resources allow.
        on_poll: called about each `every_s` seconds while tasks run, and once when all have ended.
        logs: folder for tracebacks.
        every_s: seconds between two calls of `on_poll`.

    Raises:
        RunError: Ray does not start, or the machine has fewer CPUs or GPUs than one task asks for.
    """
    if not items:
        return []
    target = dotted(function)
    queue = _Queue(target, items, logs)
    with session():
        _fits(cpus, gpus)
        submit = _submitter(target, cpus, gpus)
        try:
            queue.run(submit, slots or len(items), on_poll or (lambda: None), every_s)
        finally:
            queue.cancel()
    return [queue.outcomes[index] for index in range(len(items))]


def dotted(function: Function) -> str:
    """The name "package.module:name" by which a worker imports `function`.

    Raises:
        TypeError: it has no such name (a lambda, a nested function, one of `__main__`).
    """
    if isinstance(function, str):
        return function
    name = getattr(function, "__qualname__", "")
    if not name.isidentifier() or function.__module__ == "__main__":
        raise TypeError(f"{function!r} cannot be imported by a worker; define it at the top of a module")
    return f"{function.__module__}:{name}"


def call(target: str, item: Json) -> Any:
    """Calls the function named `target` with `item`.

    Raises:
        RunError: the disk is full.
    """
    module, _, name = target.partition(":")
    try:
        return getattr(importlib.import_module(module), name)(item)
    except RankclipError:
        raise
    except Exception as error:
        if line := disk_full(error):
            raise RunError(line) from error
        raise


def _guarded_call(target: str, item: Json) -> tuple[Any, str, str]:
    """(value, error, traceback), all of which travel: an exception of a library may not pickle."""
    try:
        return call(target, item), "", ""
    except RankclipError as error:
        return None, str(error), traceback.format_exc()
    except Exception as error:
        return None, f"{type(error).__name__}: {error}", traceback.format_exc()


def _submitter(target: str, cpus: float, gpus: float) -> Callable[[Json], Any]:
    import ray

    # max_calls: a process of its own for each item, since random state and thread counts are of a process.
    task = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=0, max_calls=1)(_guarded_call)
    return lambda item: task.remote(target, item)


def _fits(cpus: float, gpus: float) -> None:
    import ray

    have = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if not any(node.get("CPU", 0) >= cpus and node.get("GPU", 0) >= gpus for node in have):
        largest = ", ".join(f"{node.get('CPU', 0):g} CPUs and {node.get('GPU', 0):g} GPUs" for node in have)
        raise RunError(
            f"a run asks for {cpus:g} CPUs and {gpus:g} GPUs, the nodes have {largest}; ask for less"
        )


class _Queue:
    """Items on their way through Ray."""

    def __init__(self, target: str, items: Sequence[Json], logs: Path) -> None:
        self.target, self.items, self.logs = target, items, logs
        self.waiting = deque(range(len(items)))
        self.running: dict[Any, int] = {}
        self.retried: set[int] = set()
        self.outcomes: dict[int, Outcome] = {}

    def run(
        self, submit: Callable[[Json], Any], slots: int, on_poll: Callable[[], None], every_s: float
    ) -> None:
        import ray

        next_poll = time.monotonic() + every_s
        while self.waiting or self.running:
            while self.waiting and len(self.running) < slots:
                index = self.waiting.popleft()
                self.running[submit(self.items[index])] = index
            left_s = max(0.0, next_poll - time.monotonic())
            done, _ = ray.wait(list(self.running), timeout=left_s)
            for reference in done:
                self._collect(reference)
            if time.monotonic() >= next_poll:
                on_poll()
                next_poll = time.monotonic() + every_s
        on_poll()

    def cancel(self) -> None:
        import ray

        for reference in self.running:
            with contextlib.suppress(Exception):
                ray.cancel(reference, force=True)

    def _collect(self, reference: Any) -> None:
        import ray

        index = self.running.pop(reference)
        try:
            value, error, trace = ray.get(reference)
        except ray.exceptions.RayError as lost:
            if index not in self.retried:
                self.retried.add(index)
                self.waiting.appendleft(index)
                logger.warning("%s: its process died; trying once more", self._name(index))
                return
            value, error, trace = None, "its process died twice (killed, or out of memory?)", str(lost)
        if error:
            error = f"{self._name(index)} failed: {' '.join(error.split())}{self._log(index, trace)}"
        self.outcomes[index] = Outcome(self.items[index], value, error)

    def _name(self, index: int) -> str:
        return str(self.items[index].get("key", f"{self.target} item {index}"))

    def _log(self, index: int, trace: str) -> str:
        """Keeps a traceback; the end of the line that says where."""
        safe = "".join(letter if letter.isalnum() or letter in "._-" else "-" for letter in self._name(index))
        path = self.logs / f"{safe}.log"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(trace)
        except OSError:  # a full disk fails the runs too, and their lines are what counts
            return ""
        return f" (details: {path})"
