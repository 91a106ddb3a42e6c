"""How well these models are measured: intervals over test examples, never in place of those over seeds."""

from __future__ import annotations

import csv
import io
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rankclip.evaluation.statistics.bootstrap import bootstrap_means, interval_of
from rankclip.evaluation.statistics.estimate import NOTHING, Estimate
from rankclip.report.ablation import mean_cells
from rankclip.report.items import Items
from rankclip.report.scores import Cell, Scores, Subject
from rankclip.report.spec import ReportSpec

DRAWS = 1000


@dataclass(frozen=True)
class Measured:
    """An arm on one benchmark with bootstrap intervals over test examples.

    `seed`: of one run; None for the mean over all seeds, example by example. `difference`: to the baseline on
    the same examples and seeds; `NOTHING` for the baseline itself.
    """

    arm: str
    seed: int | None
    benchmark: str
    metric: str
    level: Estimate
    difference: Estimate


def measure(
    items: Mapping[Cell, Items], subject: Subject, scores: Scores, spec: ReportSpec, reference: str
) -> list[Measured]:
    """Every arm's test examples over all seeds, led by means over benchmarks, then each run for itself.

    Args:
        items: of `items.read_items`.
        reference: arm that differences are taken to.
    """
    found = []
    for mean, members in mean_cells(scores, spec).items():
        if all(cell in items for cell in members):
            found += [mean_of(arm, mean, members, items, spec, reference) for arm in subject.arms]
    for cell, each in items.items():
        found += [_cell(arm, None, cell, each, spec, reference) for arm in subject.arms]
    if len(subject.seeds) > 1:
        found += [
            _cell(arm, place, cell, each, spec, reference, seed)
            for cell, each in items.items()
            for arm in subject.arms
            for place, seed in enumerate(subject.seeds)
        ]
    return found


def _cell(
    arm: str,
    place: int | None,
    cell: Cell,
    items: Items,
    spec: ReportSpec,
    reference: str,
    seed: int | None = None,
) -> Measured:
    own, other = (_examples(items, name, place) for name in (arm, reference))
    difference = NOTHING if arm == reference else _estimate([own - other], [cell], [items], spec)
    return Measured(arm, seed, *cell, _estimate([own], [cell], [items], spec), difference)


def mean_of(
    arm: str,
    mean: Cell,
    members: Sequence[Cell],
    items: Mapping[Cell, Items],
    spec: ReportSpec,
    reference: str,
) -> Measured:
    """An arm's mean over the cells `members`, each of whose examples are resampled on their own."""
    parts = [items[cell] for cell in members]
    own, other = ([_examples(part, name, None) for part in parts] for name in (arm, reference))
    differences = [mine - its for mine, its in zip(own, other, strict=True)]
    difference = NOTHING if arm == reference else _estimate(differences, members, parts, spec)
    return Measured(arm, None, *mean, _estimate(own, members, parts, spec), difference)


def mean_difference(
    arm: str | None,
    reference: str | None,
    mean: Cell,
    items: Mapping[Cell, Items],
    scores: Scores,
    spec: ReportSpec,
) -> Estimate:
    """An arm's mean minus that of `reference` over test examples; nothing where either was not measured."""
    members = mean_cells(scores, spec)[mean]
    if arm is None or reference is None or not all(cell in items for cell in members):
        return NOTHING
    return mean_of(arm, mean, members, items, spec, reference).difference


def _examples(items: Items, arm: str, place: int | None) -> NDArray[np.float64]:
    """`[N]`: of one seed, or the mean over seeds."""
    values = items.values[arm]
    found: NDArray[np.float64] = values.mean(axis=0) if place is None else values[place]
    return found


def _estimate(
    values: Sequence[NDArray[np.float64]], cells: Sequence[Cell], items: Sequence[Items], spec: ReportSpec
) -> Estimate:
    # one resampling seed a benchmark, so that equal runs have equal intervals
    drawn = [
        bootstrap_means(each, zlib.crc32(cell[0].encode()), DRAWS, part.clusters)
        for each, cell, part in zip(values, cells, items, strict=True)
    ]
    means: NDArray[np.float64] = np.mean(drawn, axis=0)
    mean = float(np.mean([each.mean() for each in values]))
    # examples of several benchmarks have no one standard deviation
    sd = float(values[0].std(ddof=1)) if len(values) == 1 and len(values[0]) > 1 else math.nan
    return interval_of(means, sum(map(len, values)), mean, sd, spec.level)


def as_csv(measured: Sequence[Measured]) -> str:
    """One row a run and benchmark, full precision; `seed` is `all` for the mean over seeds."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    header = ["arm", "seed", "benchmark", "metric", "n_items", "mean", "low", "high"]
    writer.writerow([*header, "diff", "diff_low", "diff_high"])
    for each in measured:
        level, difference = each.level, each.difference
        numbers = (level.mean, level.low, level.high, difference.mean, difference.low, difference.high)
        seed = "all" if each.seed is None else each.seed
        writer.writerow([each.arm, seed, each.benchmark, each.metric, level.n, *map(repr, numbers)])
    return text.getvalue()
