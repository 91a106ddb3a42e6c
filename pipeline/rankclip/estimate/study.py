"""What a study takes: its arms, the time of their runs, how many at once."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from rankclip.config import Study
from rankclip.errors import InputError
from rankclip.estimate.measure import Arm, Measured, measure
from rankclip.estimate.need import Worker, need
from rankclip.estimate.outlook import UTILISATION
from rankclip.estimate.plan import Time, of_parts, of_peak, together
from rankclip.training.cost import PEAKS, peak_of
from rankclip.training.machine import Machine
from rankclip.training.spec import TrainSpec


class Asked(NamedTuple):
    """What somebody wants to know."""

    measured: bool = True
    """Whether steps are rehearsed on this machine."""
    gpu: str | None = None
    """A GPU by its name, which is not here."""
    utilisation: float = UTILISATION
    """Share of its peak that is reached."""
    slots: int | None = None
    """Runs at once; as many as fit, without."""
    price: float | None = None
    """Of an hour of a GPU, or of a CPU core."""
    sd: float | None = None
    """Of differences between arms, points."""


class Outlook(NamedTuple):
    """What is known of a study."""

    arms: Sequence[Arm]
    runs: Sequence[str]
    """Names of the arms in the order in which their runs begin."""
    times: dict[str, Time]
    """By arm; empty where nothing is known."""
    around_s: float
    """Start-up of the driver and of Ray."""
    between_s: float
    """From a run's end to the next one's begin."""
    worker: Worker
    slots: int
    samples: int | None

    @property
    def whole_s(self) -> float:
        """Seconds from the command until the last run has ended."""
        return self.around_s + together(
            [self.times[name].run_s + self.between_s for name in self.runs], self.slots
        )


def arms_of(study: Study, worker: Worker) -> list[Arm]:
    """The arms, and runs whose logit scale an arm follows without being an arm's."""
    runs = {name: (arm.objective, arm.recipe(study.model, study.train)) for name, arm in study.arms.items()}
    known = {(objective.terms, recipe) for objective, recipe in runs.values()}
    for name, (objective, recipe) in list(runs.items()):
        leader = objective.replay
        if leader is not None and (leader.terms, recipe) not in known:
            known.add((leader.terms, recipe))
            runs[f"{name}/follows-{leader.name}"] = (leader, recipe)
    return [
        Arm(name, objective, recipe, need(recipe.model, objective, recipe.train, worker))
        for name, (objective, recipe) in runs.items()
    ]


def outlook(
    study: Study,
    arms: Sequence[Arm],
    worker: Worker,
    machine: Machine,
    asked: Asked,
    samples: int | None,
    root: Path,
) -> Outlook:
    """What the arms take, measured or by the peak of a GPU."""
    slots = asked.slots or room(arms, worker)
    runs = [arm.name for _ in study.study.seeds for arm in arms]
    slots = min(slots, len(runs))
    if asked.gpu:
        flops = asked.utilisation * peak(asked.gpu, arms[0].recipe.train)
        times = {arm.name: of_peak(arm.need, arm.recipe.train, worker, flops) for arm in arms}
        return Outlook(arms, runs, times, 0.0, 0.0, worker, slots, samples)
    if not asked.measured:
        return Outlook(arms, runs, {}, 0.0, 0.0, worker, slots, samples)
    folder = root / "work" / study.study.name / "estimate"
    said = measure(study, arms, worker, machine, slots, samples or sys.maxsize, folder)
    times = {arm.name: time_of(arm, said, machine, worker, samples or 0) for arm in arms}
    around = said.session_s + driver_s()
    return Outlook(arms, runs, times, around, said.between_s, worker, slots, samples)


def time_of(arm: Arm, said: Measured, machine: Machine, worker: Worker, samples: int) -> Time:
    """The time of an arm's run by what its rehearsal said."""
    train = arm.recipe.train
    return of_parts(said.parts[arm.name], said.pairs[arm.name], train, machine, worker.workers, samples)


def room(arms: Sequence[Arm], worker: Worker) -> int:
    """Runs that this machine holds at once; one where a run has several workers, which train in turn."""
    if worker.workers > 1:
        return 1
    if worker.device == "cuda":
        return max(1, torch.cuda.device_count())
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // max(arm.recipe.train.threads for arm in arms))


def peak(gpu: str, train: TrainSpec) -> float:
    """FLOP/s of a GPU by its name.

    Raises:
        InputError: it is unknown, or cannot compute in this precision.
    """
    found = peak_of(gpu)
    flops: float | None = None if found is None else getattr(found, train.precision)
    if flops is None:
        known = ", ".join(name for name, each in PEAKS.items() if getattr(each, train.precision))
        raise InputError(f"--gpu {gpu!r} is unknown for precision {train.precision}; choose one of {known}")
    return flops


def driver_s() -> float:
    """Seconds until a driver has asked DVC what is missing, and what it needs itself is imported."""
    since = time.perf_counter()
    for command in (["-m", "dvc", "--version"], ["-c", "import rankclip.pretrain"]):
        subprocess.run([sys.executable, *command], check=False, capture_output=True)
    return time.perf_counter() - since
