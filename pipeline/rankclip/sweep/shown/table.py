"""What a person sees of a sweep while an arm's trials train: a live table, or a line for each event."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table as Grid
from rich.text import Text

from rankclip.progress import last_report
from rankclip.report import labels
from rankclip.sweep import standing
from rankclip.sweep.ledger import Trial
from rankclip.sweep.shown import words
from rankclip.sweep.spec import SweepSpec

ENDED_SHOWN = 8
"""Trials that ended last, kept in sight."""

LOOK_EVERY_S = 0.5
"""Seconds between looks at curves, each shown."""

COLOURS = {"finished": "green", "stopped": "yellow", "failed": "red", "training": "cyan"}


class Table:
    """Follows the trials of one arm."""

    def __init__(
        self,
        spec: SweepSpec,
        arm: str,
        known: Sequence[Trial],
        rungs: Sequence[int],
        *,
        curve: Callable[[Trial], Path] | None = None,
        left: Callable[[], Mapping[str, str]] = dict,
        console: Console | None = None,
    ) -> None:
        """
        Args:
            known: the arm's trials of an earlier driver.
            rungs: the steps at which trials are compared; the last is their end.
            curve: a trial's metrics.jsonl, from which its step is read.
            left: what is left of each budget, in words: {"time": "0:12:30"}.
        """
        self.spec, self.arm, self.rungs, self.steps = spec, arm, rungs, rungs[-1]
        self.names = words.short(list(spec.space))
        self.trials = {trial.number: trial for trial in known}
        self.at = {trial.number: standing.step(trial) for trial in known}
        self.begun: dict[int, int] = {}
        """Of the trials that this table saw: the step from which."""
        self._ended = [trial.number for trial in known if trial.ended]
        self._curve, self._left = curve, left
        self._since = self._looked = time.monotonic()
        self.console = console or Console(stderr=True)
        self._live = Live(console=self.console, get_renderable=self.table, auto_refresh=False)

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.console.is_terminal:
            self._live.stop()

    def changed(self, trial: Trial) -> None:
        """A trial began, reported or ended."""
        before, new = self.trials.get(trial.number), trial.number not in self.begun
        if before and not trial.ended and len(trial.reports) < len(before.reports):
            trial = before  # begun once more
        self.begun.setdefault(trial.number, standing.step(before or trial))
        self.trials[trial.number] = trial
        self.at[trial.number] = max(standing.step(trial), self.at.get(trial.number, 0))
        if trial.ended and trial.number not in self._ended:
            self._ended.append(trial.number)
        if not self.console.is_terminal and (new or trial != before):
            self.console.print(self.event(trial, new), highlight=False, markup=False, soft_wrap=True)
        self._draw()

    def refresh(self, steps: Mapping[str, int] | None = None) -> None:
        """Takes the steps that running trials are at, by name, or looks at their curves now and then."""
        for trial in self.running:
            self.at[trial.number] = max(self.at[trial.number], (steps or {}).get(trial.name, 0))
        if time.monotonic() - self._looked < LOOK_EVERY_S:
            return
        self._looked = time.monotonic()
        if self._curve is not None:
            for trial in self.running:
                report = last_report(self._curve(trial))
                self.at[trial.number] = max(self.at[trial.number], int(report["step"]) if report else 0)
        self._draw()

    def _draw(self) -> None:
        if self.console.is_terminal:
            self._live.refresh()

    @property
    def running(self) -> list[Trial]:
        """Those that began since this table is there and have not ended."""
        return [trial for number, trial in self.trials.items() if number in self.begun and not trial.ended]

    def seconds_left(self) -> float | None:
        """Until the last trial ends, by the steps that all trials made since this table is there.

        A trial that has not ended is taken to go as far as those that ended did on average, or as it has.
        None before there is anything to go by.
        """
        made = sum(self.at[number] - before for number, before in self.begun.items())
        ended = [self.at[number] for number in self._ended if self.trials[number].state != "failed"]
        if made < 1:
            return None
        usual = sum(ended) / len(ended) if ended else float(self.steps)
        open_ = [max(0.0, usual - self.at[number]) for number in self.trials if number not in self._ended]
        todo = sum(open_) + usual * max(0, self.spec.trials - len(self.trials))
        return todo * (time.monotonic() - self._since) / made

    def summary(self) -> str:
        """Best so far, how many ended, how long it will take and what is left to spend."""
        aim, best = self.spec.aims[0], standing.best(list(self.trials.values()), self.spec.aims[0])
        said = [f"{labels.arm(self.arm)}: {len(self._ended)} of {self.spec.trials} trials ended"]
        if best is not None:
            at = "" if standing.step(best) == self.steps else f" at step {standing.step(best)}"
            said.append(f"best {words.reading(aim, best.last(aim.metric))}{at} ({best.short})")
        seconds = self.seconds_left()
        if seconds is not None and len(self._ended) < self.spec.trials:
            said.append(f"about {words.duration(seconds)} to go")
        said += [f"{what} left {much}" for what, much in self._left().items()]
        return " · ".join(said)

    def event(self, trial: Trial, new: bool = False) -> str:
        """What became of a trial, in a line."""
        aim, head = self.spec.aims[0], f"{self.arm}/{trial.short}"
        if trial.state == "failed":
            return f"{head}  failed at step {self.at[trial.number]}: {trial.error}  [{self.summary()}]"
        if new and not trial.ended:
            how = f"goes on after step {standing.step(trial)}" if trial.reports else "begins"
            return f"{head}  {how}: {words.values(trial.values, self.names)}"
        read = f"{words.metric(aim)} {words.reading(aim, trial.last(aim.metric))}"
        where = f"step {standing.step(trial)}/{self.steps}"
        if trial.ended:
            return f"{head}  {trial.state} at {where}  {read}  [{self.summary()}]"
        return f"{head}  {where}  {read}"

    def table(self) -> Group:
        """The running trials and those that ended last, under a line on all."""
        grid = Grid(box=None, pad_edge=False, header_style="dim")
        grid.add_column("trial", no_wrap=True)
        for name in self.names.values():
            grid.add_column(name.replace(".", "\n."), justify="right", overflow="fold")
        grid.add_column("step", justify="right", no_wrap=True)
        grid.add_column("rung", justify="right", no_wrap=True)
        head = words.metric(self.spec.aims[0]).removeprefix("mean ").removeprefix("validation ")
        grid.add_column(f"{head}, {words.unit(self.spec.aims[0])}".rstrip(", "), justify="right")
        grid.add_column("state", no_wrap=True, min_width=8)
        ended = [self.trials[number] for number in self._ended[-ENDED_SHOWN:]]
        best = standing.best(list(self.trials.values()), self.spec.aims[0])
        for trial in [*ended, *self.running]:
            grid.add_row(*self._cells(trial), style="bold" if trial is best else None)
        return Group(Text(self.summary(), style="bold"), grid)

    def _cells(self, trial: Trial) -> list[str | Text]:
        at, aim = self.at[trial.number], self.spec.aims[0]
        passed = sum(rung <= standing.step(trial) for rung in self.rungs)
        state = trial.state if trial.ended else "training" if at else "starting"
        return [
            trial.short,
            *(words.value(trial.values[key], 3) if key in trial.values else "" for key in self.names),
            f"{at}/{self.steps}",
            f"{passed}/{len(self.rungs)}",
            words.level(aim, trial.last(aim.metric)),
            Text(state, style=COLOURS.get(state, "dim")),
        ]
