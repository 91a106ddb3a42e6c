"""The trials of an arm, side by side, until there are as many as asked for."""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rankclip import launch, lifecycle
from rankclip.errors import RankclipError
from rankclip.launch import guard
from rankclip.launch.group import retries
from rankclip.sweep.ledger import Ledger, Trial
from rankclip.sweep.spec import Asha, Median, SweepSpec
from rankclip.sweep.tuning.trial import train_trial
from rankclip.training import checkpoint
from rankclip.training.request import TrainRequest

ENVIRONMENT = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # a folder of files for each trial that nobody reads
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # we let trials save
    "TUNE_MAX_PENDING_TRIALS_PG": "1",  # proposals learn from the trials before
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",  # the ledger has a line of each
    "RAY_AIR_NEW_OUTPUT": "0",
}
"""What Tune reads in the driver."""

TALKING = ("ray.tune", "ray.train", "ray.air")
"""Loggers that tell of each failed trial, and how to go on by Tune's own means."""


GIVEN_UP = "it left before its end each time, unasked, or another sweep trains it all the while"


@dataclass(frozen=True)
class Resources:
    """What a trial is given."""

    workers: int
    cpus: float
    gpus: int
    together: int
    """Trials at once."""


@dataclass(frozen=True)
class ArmSearch:
    """What a search of one arm works on."""

    spec: SweepSpec
    arm: str
    ledger: Ledger
    request: Callable[[Trial], TrainRequest]
    resources: Resources
    present: Mapping[str, Any] | None = None
    """The arm as it is, which is tried first; None where the space does not hold it."""
    done: Callable[[], str] = lambda: ""
    """Why no more is proposed and what runs is to save and leave; empty while there is no reason."""
    changed: Callable[[Trial], None] = lambda trial: None
    """Called when a trial began, reported or ended."""
    poll: Callable[[], None] = lambda: None
    """Called several times a second."""


def unit(spec: SweepSpec, steps: int) -> int:
    """Steps from one validation of a trial to the next, so that each rung is one; 0 where too few."""
    if isinstance(spec.stopping, Asha):
        return int(steps // spec.stopping.reduction ** (spec.stopping.rungs - 1))
    return steps // spec.stopping.rungs if isinstance(spec.stopping, Median) else steps


def rungs(spec: SweepSpec, steps: int) -> list[int]:
    """The steps at which trials of so many steps are compared; the last is their end."""
    if isinstance(spec.stopping, Asha):
        early = [unit(spec, steps) * spec.stopping.reduction**rung for rung in range(spec.stopping.rungs - 1)]
        return [*early, steps]
    if isinstance(spec.stopping, Median):
        return [*(unit(spec, steps) * rung for rung in range(1, spec.stopping.rungs)), steps]
    return [steps]


def search(asked: ArmSearch) -> None:
    """Trains the trials of an arm until there are as many as the sweep asks for, or `asked.done` says why.

    What an earlier driver left is finished first. Every trial is in the ledger before it begins and when it
    has ended; ended ones have no checkpoints. A trial whose process dies is tried RANKCLIP_RETRIES times
    more, one that fails on purpose is not.

    Raises:
        RunError: Ray does not start, or its State API does not answer, without which nothing that was
            stopped would be freed.
    """
    again = retries()
    with launch.session(dashboard=True):
        launch.count_nodes()
        # more than once only where trials left that nobody had asked, or Tune lost one
        for _ in range(again + 1):
            with _quiet(), _folder() as folder:
                _fit(asked, folder, again)
            if asked.done() or all(trial.ended for trial in asked.ledger.of(asked.arm)):
                break
        else:
            for trial in asked.ledger.of(asked.arm):
                if not trial.ended:
                    asked.changed(asked.ledger.end(trial, "failed", error=GIVEN_UP))
    _forget_checkpoints(asked)


def _fit(asked: ArmSearch, folder: str, again: int) -> None:
    from ray import tune

    from rankclip.sweep.tuning.comparison import scheduler
    from rankclip.sweep.tuning.hooks import Follower, Proposer

    resources, proposer = asked.resources, Proposer(asked)
    tune.Tuner(
        tune.with_resources(train_trial, asked_of_ray(resources)),
        tune_config=tune.TuneConfig(
            search_alg=proposer,
            scheduler=scheduler(asked),
            num_samples=-1,
            max_concurrent_trials=resources.together,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            name=asked.arm,
            storage_path=folder,
            verbose=0,
            callbacks=[Follower(asked, proposer)],
            failure_config=tune.FailureConfig(max_failures=again),
        ),
    ).fit()


def _folder() -> tempfile.TemporaryDirectory[str]:
    """For files of Tune that nobody reads; in that of a local Ray, which goes also when we are killed."""
    return tempfile.TemporaryDirectory(prefix="rankclip-tune-", dir=os.environ.get(guard.MARK))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Tune as we want it, for the time of the block."""
    before = {name: os.environ.get(name) for name in ENVIRONMENT}
    levels = {name: logging.getLogger(name).level for name in TALKING}
    os.environ.update(ENVIRONMENT)
    for name in TALKING:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _forget_checkpoints(asked: ArmSearch) -> None:
    """Deletes what ended trials saved after their end: workers of a group leave later, drivers are killed."""
    for trial in asked.ledger.of(asked.arm):
        if trial.ended:
            with contextlib.suppress(RankclipError):  # of settings that have no run; or it is still held
                folder = asked.request(trial).folder
                if folder.exists():
                    with lifecycle.lock(folder, wait_s=5):
                        checkpoint.delete(folder)


def asked_of_ray(resources: Resources) -> dict[str, float]:
    """What Ray reserves for a trial itself; one of several workers only waits for them, which reserve all."""
    if resources.workers > 1:
        # it must be something, but of a CPU it would be what one of the workers then lacks
        return {"CPU": 0, "memory": 1}
    return {"CPU": resources.cpus, **({"GPU": resources.gpus} if resources.gpus else {})}
