"""Searches small enough for tests: a tiny run for each trial, compared by what follows from its settings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rankclip.sweep.ledger import Ledger, Trial
from rankclip.sweep.spec import Aim, SweepSpec
from rankclip.sweep.tuning import ArmSearch, Resources, search, unit
from rankclip.training.request import TrainRequest
from tests.unit.training import tiny

ARM = "ranked"
LR = "train.lr"
ASHA = {"name": "asha", "rungs": 3, "reduction": 2}
ALONE = Resources(workers=1, cpus=1, gpus=0, together=1)


def spec(stopping: dict[str, Any], trials: int = 4, **changes: Any) -> SweepSpec:
    """A sweep over the learning rate; what is compared is the learning rate too, so that all is known."""
    made = SweepSpec.model_validate(
        {
            "question": "Which learning rate?",
            "arms": [ARM],
            "space": {LR: {"name": "choice", "values": [0.001 * k for k in range(1, trials + 1)]}},
            "set": {},
            "aims": [{"metric": "val/mean_top1", "mode": "max"}],
            "search": {"name": "grid", "points": 2},
            "stopping": stopping,
            "trials": trials,
            "seed": 4,
            "reruns": {"best": 1, "seeds": 2},
            **changes,
        }
    )
    if len(made.aims) > 1:
        return made
    return made.model_copy(update={"aims": (Aim.model_construct(metric="lr", mode="max"),)})


@dataclass
class Searched:
    """An arm's search in a folder, and what was told of it."""

    spec: SweepSpec
    data: Path
    folder: Path
    steps: int = 8
    changes: dict[str, Any] = field(default_factory=dict)
    told: list[Trial] = field(default_factory=list)

    @property
    def ledger(self) -> Ledger:
        """As the next driver finds it."""
        return Ledger.opened(self.folder / "sweep")

    def propose(self, rates: Sequence[float]) -> None:
        """Trials of these learning rates, in this order, as an earlier driver left them."""
        ledger = self.ledger
        for rate in rates:
            ledger.propose(ARM, {LR: rate})

    def request(self, trial: Trial) -> TrainRequest:
        """The tiny run of a trial."""
        every = unit(self.spec, self.steps)
        recipe = {"steps": self.steps, "warmup_steps": 0, "log_every": 1, "lr": trial.values.get(LR, 0.001)}
        recipe |= {"validate_every": every, "checkpoint_every": every, **self.changes}
        made = tiny.request(self.data, self.folder / "runs", **recipe)
        return made.model_copy(update={"key": trial.name})

    def run(
        self,
        resources: Resources = ALONE,
        done: Callable[[], str] = lambda: "",
        changed: Callable[[Trial], None] = lambda trial: None,
    ) -> list[Trial]:
        """Searches to the end; the arm's trials as the ledger's file has them."""

        def note(trial: Trial) -> None:
            self.told.append(trial)
            changed(trial)

        search(ArmSearch(self.spec, ARM, self.ledger, self.request, resources, done=done, changed=note))
        return self.ledger.of(ARM)

    def starts(self, number: int) -> int:
        """How often a process began to work on a trial."""
        told = [trial for trial in self.told if trial.number == number and not trial.ended]
        reports = {len(trial.reports) for trial in told if trial.reports}
        return len(told) - len(reports)

    def folder_of(self, number: int) -> Path:
        """The run of a trial."""
        return self.request(self.ledger.trials[ARM, number]).folder


def steps(trial: Trial) -> list[float]:
    """The steps of a trial's reports."""
    return [report["step"] for report in trial.reports]
