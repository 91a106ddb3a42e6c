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
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Column

PLAIN_EVERY_S = 20.0
"""Seconds between lines where the output is no terminal."""

NOT_SHOWN = ("step", "epoch", "lr", "lr_logit_scale", "gradient_norm", "memory_mb", "tflops", "elapsed_s")
"""What a report has beside the loss and its terms, of which an objective may bring new ones.

Nor is shown what has a slash in its name: validations and diagnostics, of which there are dozens.
"""

IF_ANY = ("quarantined", "skipped")
"""What is shown only where it is not zero."""

TOLD = {"samples_per_s": "{:,.0f} samples/s", "data_wait": "data wait {:.0%}", "mfu": "MFU {:.0%}"}
"""How a speed is told; data wait is the share of time without data, MFU that of the GPU's peak in use."""

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
            # of the whole run: the reports of a slow one are too rare for rich's own estimate
            TextColumn("{task.fields[left]}", table_column=Column(min_width=8, no_wrap=True)),
            TextColumn("{task.fields[said]}", style="dim", table_column=Column(no_wrap=True)),
            BarColumn(bar_width=None),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self.bars = {name: self.progress.add_task(name, total=steps, said="waiting", left="", start=False)
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
            left = time_left(report, self.runs[name][1])
            self.progress.update(self.bars[name], completed=report["step"], said=said(report), left=left)
        if self.console.is_terminal or time.monotonic() - self.last_line < PLAIN_EVERY_S:
            return
        self.last_line = time.monotonic()
        for name, report in latest.items():
            steps = self.runs[name][1]
            if report["step"] < steps:
                left = time_left(report, steps)
                line = f"{name}  step {report['step']}/{steps}  {said(report)}{left and f'  {left} left'}"
                self.console.print(line, highlight=False, soft_wrap=True)


def said(report: Mapping[str, Any]) -> str:
    """The loss and its terms of a report, and its speed, short."""
    numbers = (
        TOLD[name].format(value) if name in TOLD else f"{name} {value:.4g}"
        for name, value in report.items()
        if name not in NOT_SHOWN
        and "/" not in name
        and isinstance(value, int | float)
        and (value or name not in IF_ANY)
    )
    return "  ".join(numbers)


def time_left(report: Mapping[str, Any], steps: int) -> str:
    """How long a run will still take, by the time that its steps took so far."""
    if not report["step"] or "elapsed_s" not in report:
        return ""
    seconds = report["elapsed_s"] / report["step"] * (steps - report["step"])
    return str(timedelta(seconds=round(seconds)))


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
