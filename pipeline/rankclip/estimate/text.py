"""The estimate of a whole study, as lines of text."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from rankclip.config import Study
from rankclip.estimate import detectable
from rankclip.estimate.detectable import Spread
from rankclip.estimate.disk import disk, samples_of
from rankclip.estimate.measure import Arm
from rankclip.estimate.need import Worker
from rankclip.estimate.outlook import device_of, duration, size
from rankclip.estimate.study import Asked, Outlook, arms_of, outlook
from rankclip.evaluation.statistics.power import POWER, smallest_difference
from rankclip.launch.group import workers
from rankclip.training.machine import Machine


def lines(study: Study, root: Path, asked: Asked) -> Iterator[str]:
    """What a study will take, line by line.

    Args:
        study: what is estimated.
        root: the repository, in which its data and results lie if it has been run.
        asked: how.

    Raises:
        InputError: a GPU is not known, or a recipe does not fit the model.
        RunError: a rehearsal failed.
    """
    machine, data = Machine.here(), root / "data" / study.study.name
    worker = Worker("cuda" if asked.gpu else device_of(machine), workers(), machine.recompute)
    arms = arms_of(study, worker)
    found = outlook(study, arms, worker, machine, asked, samples_of(study, data), root)
    yield from table(study, found, asked)
    yield from totals(study, found, asked)
    memories = [next(arm.need.memory for arm in arms if arm.name == name) for name in found.runs]
    space = disk(study, data, memories, machine, found.slots, found.samples)
    yield (
        f"disk: {size(sum(space))}: images {size(space.images)}, weights of runs {size(space.runs)}, "
        f"checkpoints {size(space.checkpoints)}"
    )
    yield difference(study, root, asked)


def table(study: Study, found: Outlook, asked: Asked) -> Iterator[str]:
    """A line an arm."""
    yield f"{study.study.name}: {found.arms[0].recipe.model.name}, {len(study.study.seeds)} seeds an arm"
    unit = "GPU" if found.worker.device == "cuda" else "core"
    yield (
        f"{'arm':24} {'params':>8} {'memory':>8} {'steps':>8} {'epochs':>7} {'pairs/s':>8} {'a run':>16} "
        f"{unit + '-hours':>11}" + (f" {'cost':>10}" if asked.price else "")
    )
    for arm in found.arms:
        train = arm.recipe.train
        epochs = train.steps * train.batch_size / found.samples if found.samples else math.nan
        line = (
            f"{arm.name:24} {arm.need.parameters / 1e6:7.1f}M {size(arm.need.memory.total):>8} "
            f"{train.steps:8} {epochs:7.1f}"
        )
        if arm.name in found.times:
            run = found.times[arm.name]
            hours = len(study.study.seeds) * device_hours(arm, found)
            line += f" {train.batch_size / run.step_s:8.0f} {duration(run.run_s):>16} {hours:11.2f}"
            line += f" {hours * asked.price:10.2f}" if asked.price else ""
        yield line


def device_hours(arm: Arm, found: Outlook) -> float:
    """Hours of a GPU, or of a CPU core, that a run of an arm takes."""
    devices = 1 if found.worker.device == "cuda" else arm.recipe.train.threads
    return found.times[arm.name].run_s * found.worker.workers * devices / 3600


def totals(study: Study, found: Outlook, asked: Asked) -> Iterator[str]:
    """All runs together, and what their time is made of."""
    if not found.times:
        yield "time: not measured; leave --no-measure out, or name a GPU: --gpu H100"
        return
    by_name = {arm.name: arm for arm in found.arms}
    hours = sum(device_hours(by_name[name], found) for name in found.runs)
    unit = "GPU" if found.worker.device == "cuda" else "core"
    price = f", cost {hours * asked.price:,.2f}" if asked.price else ""
    yield (
        f"training: {len(found.runs)} runs, {found.slots} at once, {duration(found.whole_s)}; "
        f"{hours:,.2f} {unit}-hours{price}"
    )
    if asked.gpu:
        yield (
            f"  towers alone at {asked.utilisation:.0%} of the peak of {asked.gpu}, where images are decoded "
            "as fast; nothing was measured: without --gpu it is, on the machine at hand"
        )
        return
    yield (
        f"  measured: start-up {found.around_s:.0f} s, {found.between_s:.0f} s more before each run; in a "
        "run its start, steps, first decoding, diagnostics, validations, checkpoints"
    )
    yield "  not included: making data and benchmarks, evaluation and report" + (
        ", and what several workers send each other" if found.worker.workers > 1 else ""
    )


def difference(study: Study, root: Path, asked: Asked) -> str:
    """What the study can detect."""
    results = Path("reports") / study.study.name / "results.parquet"
    found = (
        detectable.spread(study.report, root / results)
        if asked.sd is None
        else Spread(asked.sd / 100, "--sd")
    )
    seeds = len(study.study.seeds)
    if seeds < 2:
        return "smallest difference that it can detect: none, with one seed; add seeds"
    arms = max(2, len(study.arms))
    least = 100 * smallest_difference(seeds, found.sd, level=study.report.level, arms=arms)
    return (
        f"smallest difference that it can detect: {least:.1f} points of {study.report.headline_metric} "
        f"(t-test over {seeds} seeds, variance pooled over {arms} arms, power {POWER:g}, "
        f"alpha {1 - study.report.level:.2g}, "
        f"standard deviation {100 * found.sd:.2g} points: {found.origin})"
    )
