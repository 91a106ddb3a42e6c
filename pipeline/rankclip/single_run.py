"""One run of the active study in this process, or one of torchrun's: no Ray and no DVC, the same results."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

from rankclip import composition, config, distributed, lifecycle, pretrain
from rankclip.config import Study
from rankclip.errors import InputError, Preempted
from rankclip.launching import forget_stops
from rankclip.tracking import Tracker
from rankclip.training.request import TrainRequest
from rankclip.training.run import train_run
from rankclip.training.worker import process_group

EVERY_S = 2.0
"""Seconds between looks at the curve, which take from this process's time."""


def request_of(root: Path, arm: str, seed: int, changes: Sequence[str] = ()) -> tuple[Study, TrainRequest]:
    """The study in params.yaml with changes, and a run of it, the one that `dvc repro` would train.

    Raises:
        DataError: the shards or benchmarks are not there.
        InputError: the study has no such arm, or a change is wrong.
    """
    study = composition.changed(config.load(root / config.PARAMS), changes)
    if arm not in study.arms:
        raise InputError(f"--arm {arm} is none of study {study.study.name}; choose {', '.join(study.arms)}")
    name = study.study.name
    data, work = root / "data" / name, root / "work" / name / "runs"
    [request] = pretrain.requests(arm, study.arms[arm], study.model, study.train, [seed], data, work)
    return study, request


def train(
    root: Path,
    arm: str,
    seed: int,
    changes: Sequence[str] = (),
    *,
    out: Path | None = None,
    track: bool = True,
) -> str:
    """Trains a run to its end, unless it is finished; what the first worker says of it, the others nothing.

    Args:
        root: the repository.
        arm: of the study.
        seed: of weights and order; it may be one that the study does not have.
        changes: `key=value`, of the active study.
        out: a folder for the finished run.
        track: whether MLflow is told meanwhile.

    Raises:
        Preempted: this process was told to end; the same command goes on from there.
        RunError: the run failed, or another process trains it.
    """
    study, request = request_of(root, arm, seed, changes)
    todo = pretrain.unfinished([request])[::-1]  # what it follows, before it
    if "TORCHELASTIC_RUN_ID" in os.environ:  # what torchrun starts would live on after its `kill -9`
        lifecycle.die_with_parent()
    with process_group(request.machine):
        first = distributed.rank() == 0
        todo = distributed.agreed(todo)  # another worker may have looked later
        if first:
            forget_stops(todo)
        try:
            tracker = Tracker(root.absolute(), study.study.name) if track else None
            with told(todo, tracker) if first else nullcontext():
                for each in todo:
                    train_run(each.dump())
        except Preempted as error:
            if first:
                raise
            sys.exit(error.exit_code)  # one line is enough
    if not first:
        return ""
    if out is not None:
        pretrain.copy(request, out)
    adopted = seed in study.study.seeds and not changes
    return f"{request.key} is finished: {out or request.folder}" + (
        f"; `dvc repro pretrain@{arm}` adopts it" if adopted else ""
    )


@contextmanager
def told(todo: Sequence[TrainRequest], tracker: Tracker | None) -> Iterator[None]:
    """Shows the progress of runs that train in the block, and sends their curves to MLflow if asked to."""
    pretrain.announce(todo)
    with pretrain.following(todo, todo, tracker) as poll, lifecycle.repeating(poll, EVERY_S):
        yield
