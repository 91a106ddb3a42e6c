"""What a person sees of a long step: how much is done, how fast, how long still."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

Advance = Callable[..., None]
"""advance(n, said="") adds `n` units and shows `said` beside the bar."""

PLAIN_EVERY_S = 20.0
"""Seconds between lines where the output is no terminal."""


class _Rate(ProgressColumn):
    def __init__(self, unit: str) -> None:
        super().__init__()
        self.unit = unit

    def render(self, task: Task) -> Text:
        return Text(f"{task.finished_speed or task.speed or 0:,.0f} {self.unit}/s")


@contextmanager
def bar(title: str, total: int | None, unit: str, done: int = 0) -> Iterator[Advance]:
    """A bar with rate and time left on a terminal, else a line now and then, on standard error.

    Args:
        title: what is done, in a word.
        total: units in all; None where nobody knows yet.
        unit: what is counted, for example "rows".
        done: units that were done before, which are no part of the rate.
    """
    console = Console(stderr=True)
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(unit),
        TextColumn("{task.fields[said]}"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )
    task = progress.add_task(title, total=total, completed=done, said="")
    before, started = done, time.monotonic()
    last = started

    def advance(n: int, said: str = "") -> None:
        nonlocal done, last
        done += n
        progress.update(task, advance=n, said=said)
        now = time.monotonic()
        if not console.is_terminal and now - last >= PLAIN_EVERY_S:
            last = now
            line = _line(title, done, total, unit, (done - before) / (now - started), said)
            console.print(line, highlight=False, soft_wrap=True)

    with progress:
        yield advance


def _line(title: str, done: int, total: int | None, unit: str, rate: float, said: str) -> str:
    of, left = "", ""
    if total is not None:
        of = f"/{total:,}"
        left = f", {timedelta(seconds=round((total - done) / rate))} left" if rate > 0 else ""
    return f"{title}  {done:,}{of} {unit}, {rate:,.0f}/s{left}{f'  {said}' if said else ''}"
