"""How long runs take, of the parts that rehearsals or the peak of a GPU tell."""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from typing import NamedTuple

from rankclip.estimate.need import Need, Worker
from rankclip.estimate.rehearsal import Parts
from rankclip.training.machine import Machine
from rankclip.training.spec import TrainSpec


class Time(NamedTuple):
    """Of one run, seconds."""

    step_s: float
    run_s: float


def of_parts(
    parts: Parts, pairs: int, train: TrainSpec, machine: Machine, workers: int, samples: int
) -> Time:
    """The time of a run by its rehearsal.

    Gradients that several workers send each other are not in it.

    Args:
        parts: what the rehearsal took.
        pairs: of its steps.
        train: the recipe.
        machine: which says how often a checkpoint is saved.
        workers: of the run.
        samples: of the study.
    """
    scale = train.batch_size / workers / pairs
    trained = train.steps * parts.step_s * scale
    met = min(samples, train.steps * train.batch_size) / workers
    saves = max(times(train, train.checkpoint_every), trained / 60 / machine.checkpoint_minutes)
    return Time(
        parts.step_s * scale,
        parts.ready
        - parts.begun
        + parts.first_s
        + trained
        + met * parts.decode_s
        + times(train, train.diagnose_every) * parts.diagnose_s * scale
        + times(train, train.validate_every) * parts.validate_s
        + saves * parts.save_s,
    )


def times(train: TrainSpec, every: int | None) -> int:
    """How often a run does what is done every so many steps and at its end."""
    return math.ceil(train.steps / every) if every else 0


def of_peak(need: Need, train: TrainSpec, worker: Worker, flops: float) -> Time:
    """The time of a run on GPUs that do so many FLOP/s, towers alone."""
    step_s = train.batch_size / worker.workers * need.flops_per_pair / flops
    return Time(step_s, train.steps * step_s)


def together(runs: Sequence[float], slots: int) -> float:
    """Seconds until all runs have ended, of which each takes the first slot that is free, in their order."""
    free = [0.0] * slots
    for run_s in runs:
        heapq.heapreplace(free, free[0] + run_s)
    return max(free)
