"""The parts of a study's runs, measured by rehearsals side by side, as the runs will be."""

from __future__ import annotations

import shutil
import statistics
import time
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from rankclip import files, launch
from rankclip.config import Recipe, Study
from rankclip.data.loading.loader import kept_bytes
from rankclip.estimate import likeness
from rankclip.estimate.likeness import Likeness
from rankclip.estimate.need import Need, Worker
from rankclip.estimate.rehearsal import Parts, rehearse, rehearsed
from rankclip.models.open_clip import build, tokenize
from rankclip.objectives import Objective
from rankclip.training.machine import Machine
from rankclip.training.request import CODE, TrainRequest

CPU_FLOPS = 2e11
"""The most arithmetic of a rehearsed step on a CPU, some seconds of a core; of a larger batch only a part is
rehearsed, and its time taken as proportional."""


class Arm(NamedTuple):
    """What is rehearsed."""

    name: str
    objective: Objective
    recipe: Recipe
    need: Need


class Measured(NamedTuple):
    """What rehearsals said."""

    parts: Mapping[str, Parts]
    """By arm."""
    pairs: Mapping[str, int]
    """Of a rehearsed step, by arm."""
    session_s: float
    """From starting Ray until the first run is called."""
    between_s: float
    """From the end of a run until the next one in its place is called."""
    likeness: Likeness


def pairs_of(arm: Arm, worker: Worker) -> int:
    """Pairs of a worker that are rehearsed."""
    own = arm.recipe.train.batch_size // worker.workers
    most = own if worker.device == "cuda" else min(own, int(CPU_FLOPS / arm.need.flops_per_pair))
    return max(most, arm.objective.fewest_pairs, 2)  # batch norm refuses a batch of one value


def measure(
    study: Study, arms: Sequence[Arm], worker: Worker, machine: Machine, slots: int, samples: int, work: Path
) -> Measured:
    """Rehearses each arm, `slots` at once, on data like the study's.

    Args:
        study: whose data and seeds.
        arms: what is rehearsed.
        worker: of each run.
        machine: as the runs will use it.
        slots: runs at once.
        samples: that the study has.
        work: folder for what the rehearsals need, on storage that every node sees; kept only if one fails.

    Raises:
        RunError: a rehearsal failed, for lack of memory say.
    """
    pairs = {arm.name: pairs_of(arm, worker) for arm in arms}
    folder = work.absolute()
    made = likeness.make(study, folder, 4 * max(pairs.values()))
    asked_of = {arm.name: rehearsal(arm, pairs[arm.name], made, machine, worker, folder) for arm in arms}
    items = [
        {"key": one.key, "request": one.dump(), "in_memory": fits(one, samples)} for one in asked_of.values()
    ]
    # as many as fill all slots twice at least: what lies between two runs shows in the second
    count = slots * max(2, -(-len(items) // slots))
    asked = time.time()
    outcomes = launch.map_tasks(
        rehearse,
        [items[number % len(items)] for number in range(count)],
        cpus=max(arm.recipe.train.threads for arm in arms),
        gpus=int(worker.device == "cuda"),
        slots=slots,
        tries=1,
        logs=folder / "logs",
    )
    found = [Parts.model_validate(value) for value in launch.values(outcomes)]
    shutil.rmtree(folder)
    by_arm = {
        arm.name: middle(list(islice(found, place, None, len(items)))) for place, arm in enumerate(arms)
    }
    return Measured(by_arm, pairs, min(one.begun for one in found) - asked, between(found, slots), made)


def rehearsal(
    arm: Arm, pairs: int, made: Likeness, machine: Machine, worker: Worker, folder: Path
) -> TrainRequest:
    """The request of an arm's rehearsal."""
    train = arm.recipe.train
    pieces = -(-train.batch_size // (worker.workers * train.micro_batch)) if train.micro_batch else 1
    changes = {"batch_size": pairs, "micro_batch": -(-pairs // pieces) if train.micro_batch else None}
    manifest = files.read_json(made.benchmarks / "manifest.json")["benchmarks"]
    request = TrainRequest.model_validate(
        {
            "key": f"{arm.name}/rehearsal",
            "arm": arm.name,
            "seed": 0,
            "model": arm.recipe.model.dump() | {"pretrained": None, "pretrained_sha256": None},
            "objective": arm.objective.dump(),
            "train": train.dump() | changes,
            "shards": made.shards,
            "shards_digest": files.sha256(made.shards / "manifest.json"),
            "benchmarks": made.benchmarks,
            "validation": {name: manifest[name]["val"]["digest"] for name in train.validation},
            "code": files.code_digest(CODE),
            "machine": machine,
            "work": folder / "runs",
        }
    )
    return rehearsed(request)


def fits(request: TrainRequest, samples: int) -> bool:
    """Whether the run will keep its samples in memory once they are decoded."""
    side, length = build(request.model, 0).image_size, tokenize(request.model, [""]).shape[1]
    return not request.train.crop and samples * (3 * side**2 + 4 * length) <= kept_bytes()


def middle(found: Sequence[Parts]) -> Parts:
    """The median of each part."""
    numbers = [one.dump() for one in found]
    return Parts.model_validate(
        {name: statistics.median(one[name] for one in numbers) for name in numbers[0]}
    )


def between(found: Sequence[Parts], slots: int) -> float:
    """Seconds from the end of a rehearsal to the call of the next in its slot, the median."""
    ends = sorted(one.ended for one in found)
    begins = sorted(one.begun for one in found)[slots:]
    return max(0.0, statistics.median(begin - end for begin, end in zip(begins, ends, strict=False)))
