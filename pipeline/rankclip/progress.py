"""What a person sees of runs that train elsewhere: a bar each, read from their curves."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column

PLAIN_EVERY_S = 20.0
"""Seconds between lines where the output is no terminal."""

NOT_SHOWN = ("step", "epoch", "lr", "elapsed_s")
"""What a report has beside the loss and its terms, of which an objective may bring new ones.

Nor is shown what has a slash in its name: validations and diagnostics, of which there are dozens.
"""

LONGEST_LINES = 1 << 16
"""Bytes of a curve's end that surely hold a whole line, with diagnostics of every term."""


class Watch:
    """Follows the curves of several runs: a progress bar each on a terminal, else a line now and then."""

    def __init__(self, runs: Mapping[str, tuple[Path, int]]) -> None:
        """`runs`: name -> (metrics.jsonl, planned steps)."""
        self.runs = runs
        self.console = Console(stderr=True)
        widest = max(map(len, runs), default=0)
        self.progress = Progress(
            TextColumn("{task.description}", table_column=Column(min_width=widest, no_wrap=True)),
            TextColumn("{task.completed}/{task.total}", table_column=Column(min_width=9, no_wrap=True)),
            TimeRemainingColumn(table_column=Column(min_width=8, no_wrap=True)),
            TextColumn("{task.fields[said]}", style="dim", table_column=Column(no_wrap=True)),
            BarColumn(bar_width=None),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self.bars = {name: self.progress.add_task(name, total=steps, said="waiting", start=False)
                     for name, (_, steps) in runs.items()}  # fmt: skip
        self.last_line = time.monotonic()

    def __enter__(self) -> Self:
        self.progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.progress.stop()

    def refresh(self) -> None:
        """Reads the last line of each curve and shows it."""
        latest = {name: report for name, (path, _) in self.runs.items() if (report := last_report(path))}
        for name, report in latest.items():
            if not self.progress.tasks[self.bars[name]].started:
                self.progress.start_task(self.bars[name])
            self.progress.update(self.bars[name], completed=report["step"], said=said(report))
        if self.console.is_terminal or time.monotonic() - self.last_line < PLAIN_EVERY_S:
            return
        self.last_line = time.monotonic()
        for name, report in latest.items():
            steps = self.runs[name][1]
            if report["step"] < steps:
                line = f"{name}  step {report['step']}/{steps}  {said(report)}{left(report, steps)}"
                self.console.print(line, highlight=False, soft_wrap=True)


def said(report: Mapping[str, Any]) -> str:
    """The loss and its terms of a report, short."""
    numbers = (
        f"{name} {value:.4g}"
        for name, value in report.items()
        if name not in NOT_SHOWN
        and "/" not in name
        and isinstance(value, int | float)
        and (value or name != "quarantined")
    )
    return "  ".join(numbers)


def left(report: Mapping[str, Any], steps: int) -> str:
    """How long a run will still take, by the time that its steps took so far."""
    if not report["step"] or "elapsed_s" not in report:
        return ""
    seconds = report["elapsed_s"] / report["step"] * (steps - report["step"])
    return f"  {timedelta(seconds=round(seconds))} left"


def last_report(path: Path) -> dict[str, Any] | None:
    """The last complete line of a metrics.jsonl that tells of a step."""
    if not path.exists():
        return None
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - LONGEST_LINES))
        lines = file.read().split(b"\n")[:-1]
    for line in reversed(lines):
        try:
            report = json.loads(line)
        except ValueError:  # cut by the seek, or by a crash
            continue
        if isinstance(report, dict) and "step" in report:
            return report
    return None
