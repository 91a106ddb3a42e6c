"""A few steps of a recipe, as a run makes them, to see what each part of a run takes."""

from __future__ import annotations

import contextlib
import os
import shutil
import statistics
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from rankclip.data.loading.loader import MEMORY
from rankclip.spec import Spec
from rankclip.training.loop import Training
from rankclip.training.request import TrainRequest

WINDOW = 4
"""Steps between two looks at the clock."""

FEWEST_WINDOWS, ENOUGH_S = 3, 6.0
"""Windows that count are no fewer, and no more than take so many seconds."""

FAR = 1_000_000
"""Steps that a rehearsal is said to have, so that it comes to no end while it is watched."""


class Parts(Spec):
    """Seconds of the parts of a run."""

    begun: float
    """When its function was called, seconds of the epoch; the modules it needs were imported before."""
    ready: float
    """When it could make its first step."""
    ended: float
    """When everything was measured."""
    first_s: float
    """What the first steps take more than others: code is compiled, say."""
    step_s: float
    """A step whose samples are in memory, where they will be."""
    decode_s: float
    """What a pair takes more when it is met for the first time; 0 where each is decoded every time."""
    diagnose_s: float
    """Diagnostics."""
    validate_s: float
    """A validation."""
    save_s: float
    """A checkpoint."""


def rehearsed(request: TrainRequest) -> TrainRequest:
    """The request of a rehearsal of `request`: near the end of its schedules, following no other run."""
    train = request.train.model_copy(
        update={
            "steps": FAR,
            "log_every": WINDOW,
            "validate_every": FAR,
            "checkpoint_every": FAR,
            "diagnose_every": request.train.diagnose_every and start() + 2 * WINDOW,
        }
    )
    terms = request.objective.weighted
    plain = len(terms) == 1 and terms[0].name == "contrastive" and not getattr(terms[0], "label_smoothing", 0)
    machine = request.machine.model_copy(update={"checkpoint_minutes": 1e6})
    # without a replay CLIP may be called by no other name
    changes = {"replay": None, "name": "clip" if plain else request.objective.name}
    objective = request.objective.model_copy(update=changes)
    return request.model_copy(update={"train": train, "objective": objective, "machine": machine})


def start() -> int:
    """The step from which a rehearsal begins: every weight is then what it is at last."""
    return FAR * 9 // 10


def rehearse(item: dict[str, Any]) -> dict[str, Any]:
    """Makes some steps of the request `item["request"]`; gives `Parts` as plain JSON.

    Args:
        item: also "in_memory", whether the samples of the study will fit into the memory of the run.

    Raises:
        RankclipError: as a run does.
    """
    begun = time.time()
    request = TrainRequest.model_validate(item["request"])
    if not item["in_memory"]:
        os.environ[MEMORY] = "0"
    training = Training(request)
    training.step = start()
    ready = time.time()
    try:
        with contextlib.closing(training.feed):
            first, second, *rest = windows(training.reports())
            # their mean: what disturbs a step now and then disturbs a run too
            warm, decode_s = statistics.fmean(rest), decoding_s(training)
            decoded = WINDOW * request.train.batch_size * decode_s
            return Parts(
                begun=begun,
                ready=ready,
                first_s=max(first - warm - decoded, 0.0),
                step_s=warm / WINDOW,
                decode_s=decode_s,
                diagnose_s=max(second - warm, 0.0) if request.train.diagnose_every else 0.0,
                validate_s=timed(training.validate),
                save_s=timed(lambda: training.save(0)),
                ended=time.time(),
            ).dump()
    finally:
        shutil.rmtree(request.folder, ignore_errors=True)


def windows(reports: Iterator[Any]) -> list[float]:
    """Seconds of each window of steps; of the first with all that is done once, of the second diagnosed."""
    found: list[float] = []
    since = time.perf_counter()
    for _ in reports:
        now = time.perf_counter()
        found.append(now - since)
        if len(found) >= 2 + FEWEST_WINDOWS and sum(found[2:]) >= ENOUGH_S:
            return found
        if len(found) > 2 and sum(found) > 4 * ENOUGH_S:  # a large model on a small machine
            return found
        since = time.perf_counter()
    raise AssertionError("a rehearsal has no end")


def decoding_s(training: Training) -> float:
    """Seconds for a sample that is kept once it is decoded; 0 where none is kept."""
    loader = training.feed.loader
    if loader.workers or not loader.kept.all_fit:
        return 0.0
    rows = loader.rows
    count = min(len(rows), 256)
    out = rows.empty(count)
    return timed(lambda: rows.fill(np.arange(count), out)) / count


def timed(call: Any) -> float:
    """Seconds of one call."""
    since = time.perf_counter()
    call()
    return time.perf_counter() - since
