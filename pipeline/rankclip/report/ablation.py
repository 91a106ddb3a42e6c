"""The ablation: every arm on every benchmark, over seeds, with its paired difference to the baseline."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rankclip.errors import DataError
from rankclip.evaluation.statistics import NOTHING, Estimate, mean_interval, paired_difference
from rankclip.report.scores import Cell, Scores

MEAN = "mean"
"""Name, in the benchmark column, of the mean over the benchmarks that report the headline metric."""

HEADER = ["arm", "benchmark", "metric", "n_seeds", "mean", "sd", "ci_low", "ci_high"]
HEADER += ["diff", "diff_low", "diff_high"]


@dataclass(frozen=True)
class Roles:
    """Who is compared with whom; None where the study has no such arm."""

    baseline: str
    treatment: str | None
    control: str | None


@dataclass(frozen=True)
class Row:
    """One arm on one benchmark in one metric: level over seeds and paired difference to the reference."""

    arm: str
    benchmark: str
    metric: str
    level: Estimate
    difference: Estimate


def headline_benchmarks(scores: Scores, metric: str) -> list[str]:
    """The benchmarks whose `metric` the headline averages.

    Raises:
        DataError: no benchmark reports it.
    """
    found = [benchmark for benchmark, name in scores.cells if name == metric]
    if not found:
        known = sorted({name for _, name in scores.cells})
        raise DataError(
            f"no benchmark reports {metric} on its test split, only {', '.join(known)}; "
            "set report.headline_metric to one of these"
        )
    return found


def with_means(scores: Scores, metric: str) -> dict[str, dict[Cell, dict[int, float]]]:
    """The scores by arm, cell and seed, led by each seed's mean of `metric` over its benchmarks."""
    benchmarks = headline_benchmarks(scores, metric)
    complete = {}
    for arm, cells in scores.values.items():
        means = {
            seed: math.fsum(cells[name, metric][seed] for name in benchmarks) / len(benchmarks)
            for seed in scores.steps[arm]
        }
        complete[arm] = {(MEAN, metric): means, **{cell: dict(cells[cell]) for cell in scores.cells}}
    return complete


def rows(
    values: Mapping[str, Mapping[Cell, Mapping[int, float]]],
    reference: str,
    level: float,
    arms: Sequence[str] | None = None,
) -> list[Row]:
    """One row an arm and cell, differences taken to the arm `reference`; its own rows carry none.

    Args:
        values: of `with_means`.
        arms: those to list, by default all.
    """
    return [
        Row(
            arm,
            *cell,
            mean_interval(list(by_seed.values()), level),
            NOTHING if arm == reference else paired_difference(by_seed, values[reference][cell], level),
        )
        for arm in (arms or values)
        for cell, by_seed in values[arm].items()
    ]


def as_csv(table: Sequence[Row]) -> str:
    """The rows in long form, full precision, `nan` where there is no value."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER)
    for row in table:
        level, difference = row.level, row.difference
        numbers = [level.mean, level.sd, level.low, level.high]
        numbers += [difference.mean, difference.low, difference.high]
        writer.writerow([row.arm, row.benchmark, row.metric, level.n, *map(repr, numbers)])
    return text.getvalue()
