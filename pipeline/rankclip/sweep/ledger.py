"""What became of every trial of a sweep: a file of JSON lines, which outlives whoever writes it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue, NonNegativeInt, TypeAdapter, ValidationError

from rankclip import files
from rankclip.errors import DataError
from rankclip.spec import Spec

State = Literal["proposed", "finished", "stopped", "failed"]
"""`proposed`: not at its end, be it training, waiting or interrupted; `stopped`: early, by comparison."""

NAME = "trials.jsonl"


@dataclass(frozen=True)
class Trial:
    """One setting of an arm, trained with one seed."""

    arm: str
    number: int
    """From 0, in the order in which the arm's trials were proposed."""
    values: Mapping[str, Any]
    """What was proposed, by key of the space."""
    state: State = "proposed"
    reports: Sequence[Mapping[str, float]] = ()
    """At each rung that it reached: `step`, and what the aims look at."""
    error: str = ""
    """One line, of one that failed."""
    seconds: float = 0.0
    """Of training."""

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"{self.arm}/{self.short}"

    @property
    def short(self) -> str:
        """Its name among those of its arm."""
        return f"trial-{self.number:03d}"

    @property
    def ended(self) -> bool:
        """Whether nothing is left to do for it."""
        return self.state != "proposed"

    def last(self, metric: str) -> float | None:
        """What it reported last of a metric."""
        return next((report[metric] for report in reversed(self.reports) if metric in report), None)


class Proposed(Spec):
    """A trial is to be."""

    event: Literal["proposed"] = "proposed"
    arm: str
    number: NonNegativeInt
    values: dict[str, JsonValue]


class Reported(Spec):
    """A trial came to a rung."""

    event: Literal["report"] = "report"
    arm: str
    number: NonNegativeInt
    report: dict[str, int | float]


class Ended(Spec):
    """A trial came to its end."""

    event: Literal["ended"] = "ended"
    arm: str
    number: NonNegativeInt
    state: Literal["finished", "stopped", "failed"]
    seconds: float
    error: str


Event = Annotated[Proposed | Reported | Ended, Field(discriminator="event")]
"""A line of the file."""

EVENTS: TypeAdapter[Event] = TypeAdapter(Event)


@dataclass
class Ledger:
    """The trials of a sweep; whoever writes it holds the folder's lock."""

    path: Path
    trials: dict[tuple[str, int], Trial] = field(default_factory=dict)

    @classmethod
    def opened(cls, folder: Path) -> Ledger:
        """The ledger of a folder, as far as it was written; a line that a kill cut off is dropped.

        Raises:
            DataError: a line is damaged; the message names it.
        """
        path = folder / NAME
        found = cls(path)
        if path.exists():
            content = path.read_bytes()
            whole = content.rfind(b"\n") + 1
            for number, line in enumerate(content[:whole].split(b"\n")[:-1], 1):
                found._read(line, number)
            if whole < len(content):
                os.truncate(path, whole)
        return found

    def of(self, arm: str) -> list[Trial]:
        """The trials of an arm, by number."""
        return sorted(
            (trial for trial in self.trials.values() if trial.arm == arm), key=lambda one: one.number
        )

    def propose(self, arm: str, values: Mapping[str, Any]) -> Trial:
        """Writes down a new trial, before anything of it is begun."""
        return self._write(Proposed(arm=arm, number=len(self.of(arm)), values=dict(values)))

    def report(self, trial: Trial, report: Mapping[str, float]) -> Trial:
        """Writes down what a trial reached at a rung; a rung that it reached before is not written again."""
        known = self.trials[trial.arm, trial.number]
        if report["step"] <= (known.last("step") or 0):
            return known
        return self._write(Reported(arm=trial.arm, number=trial.number, report=dict(report)))

    def end(self, trial: Trial, state: State, seconds: float = 0.0, error: str = "") -> Trial:
        """Writes down how a trial ended."""
        line = " ".join(error.encode(errors="replace").decode().split())  # a path may be no unicode
        at = {"arm": trial.arm, "number": trial.number}
        return self._write(
            Ended.model_validate({**at, "state": state, "seconds": round(seconds, 2), "error": line})
        )

    def _write(self, event: Event) -> Trial:
        """Adds a line, whole and on the disk, or nothing at all."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        before = self.path.stat().st_size if self.path.exists() else 0
        try:
            with self.path.open("ab") as file:
                file.write(event.model_dump_json().encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError:  # the disk is full, say; the next line would follow half a one
            if self.path.exists():
                os.truncate(self.path, before)
            raise
        if not before:
            files.flush(self.path.parent)
        return self._note(event)

    def _read(self, line: bytes, number: int) -> None:
        remedy = "restore it, or delete the file to begin the sweep anew"
        try:
            event = EVENTS.validate_json(line)
        except ValidationError:
            raise DataError(f"{self.path}, line {number} is damaged ({line[:60]!r}); {remedy}") from None
        new = (event.arm, event.number) not in self.trials
        if new != isinstance(event, Proposed) or (new and event.number != len(self.of(event.arm))):
            raise DataError(
                f"{self.path}, line {number} does not follow from those before it ({event.event} trial "
                f"{event.number} of {event.arm}); {remedy}"
            )
        self._note(event)

    def _note(self, event: Event) -> Trial:
        at = event.arm, event.number
        if isinstance(event, Proposed):
            self.trials[at] = Trial(*at, event.values)
        elif isinstance(event, Reported):
            known = self.trials[at]
            self.trials[at] = replace(known, reports=(*known.reports, event.report))
        else:
            self.trials[at] = replace(
                self.trials[at], state=event.state, seconds=event.seconds, error=event.error
            )
        return self.trials[at]
