"""A function over items in several processes of this machine; one when there is too little work to share."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from rankclip import lifecycle
from rankclip.errors import InputError, RunError

Item = TypeVar("Item")
Result = TypeVar("Result")

WORTH_SHARING = 5_000
"""Images to decode, about 7 s on one core, below which the start of processes costs more than it saves."""


def count() -> int:
    """Processes to use: the environment variable RANKCLIP_PROCESSES, else the cores this process may use.

    Raises:
        InputError: the variable is not a positive number.
    """
    text = os.environ.get("RANKCLIP_PROCESSES", "")
    if not text:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not text.isdecimal() or int(text) < 1:
        raise InputError(f"RANKCLIP_PROCESSES is {text!r}; set it to a number of processes, 1 or more")
    return int(text)


def mapped(function: Callable[[Item], Result], items: Sequence[Item], images: int) -> Iterator[Result]:
    """`function` of each item, in order; `images` is the work they hold together.

    Functions and items travel to spawned processes, so they must pickle.

    Raises:
        RunError: a process died, for example killed for its memory.
    """
    workers = min(count(), len(items)) if images >= WORTH_SHARING else 1
    if workers <= 1:
        yield from map(function, items)
        return
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, spawn, initializer=lifecycle.die_with_parent) as pool:
        try:
            yield from pool.map(function, items)
        except BrokenProcessPool:
            raise RunError(
                f"one of {workers} processes died while it read images; "
                "set RANKCLIP_PROCESSES=1 if memory is short, then run the stage again"
            ) from None
        finally:
            pool.shutdown(cancel_futures=True)
