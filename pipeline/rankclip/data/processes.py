"""A function over items in several processes, here or on a cluster; in this one for little work."""

from __future__ import annotations

import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from rankclip import launch, lifecycle
from rankclip.errors import InputError, RunError

Item = TypeVar("Item")
Result = TypeVar("Result")

WORTH_SHARING = 5_000
"""Images to decode, about 7 s on one core, below which the start of processes costs more than it saves."""


def count() -> int:
    """Processes to use on this machine: RANKCLIP_PROCESSES, else the cores this process may use.

    Raises:
        InputError: the variable is not a positive number.
    """
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return asked() or here


def asked() -> int | None:
    """What the environment variable RANKCLIP_PROCESSES says, None where it says nothing.

    Raises:
        InputError: it is not a positive number.
    """
    text = os.environ.get("RANKCLIP_PROCESSES", "")
    if not text:
        return None
    if not text.isdecimal() or int(text) < 1:
        raise InputError(f"RANKCLIP_PROCESSES is {text!r}; set it to a number of processes, 1 or more")
    return int(text)


def mapped(function: Callable[[Item], Result], items: Sequence[Item], images: int) -> Iterator[Result]:
    """`function` of each item, in order; `images` is the work they hold together.

    Functions and items travel to other processes, on a cluster (RAY_ADDRESS) to other machines, so they must
    pickle. Results wait for a slow item ahead of them, at most four times as many as there are processes.

    Raises:
        RunError: a process died, for example killed for its memory; on a cluster also whatever `function`
            raises.
    """
    if images < WORTH_SHARING or len(items) < 2:
        return map(function, items)
    if launch.on_cluster():
        return _on_cluster(function, items)
    workers = min(count(), len(items))
    return _here(function, items, workers) if workers > 1 else map(function, items)


def _here(function: Callable[[Item], Result], items: Sequence[Item], workers: int) -> Iterator[Result]:
    spawn = multiprocessing.get_context("spawn")
    ahead: deque[Future[Result]] = deque()
    with ProcessPoolExecutor(workers, spawn, initializer=lifecycle.die_with_parent) as pool:
        try:
            for item in items:
                ahead.append(pool.submit(function, item))
                if len(ahead) > 4 * workers:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        except BrokenProcessPool:
            raise RunError(
                f"one of {workers} processes died while it read images; "
                "set RANKCLIP_PROCESSES=1 if memory is short, then run the stage again"
            ) from None
        finally:
            pool.shutdown(cancel_futures=True)


def _on_cluster(function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
    name = getattr(getattr(function, "func", function), "__name__", "item")
    tasks = (
        {"key": f"{name} {number + 1} of {len(items)}", "function": function, "item": item}
        for number, item in enumerate(items)
    )
    for outcome in launch.stream_tasks(apply, tasks, slots=asked(), ordered=True):
        if not outcome.ok:
            raise RunError(outcome.error)
        yield outcome.value


def apply(task: dict[str, Any]) -> Any:
    """The function of the item that came with it; called in a worker of Ray."""
    return task["function"](task["item"])
