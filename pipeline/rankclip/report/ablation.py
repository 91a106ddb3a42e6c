"""The ablation: every arm on every benchmark, over seeds, with its difference to a reference."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rankclip.errors import DataError
from rankclip.evaluation.statistics.additive import NO_DIFFERENCE, Additive, Difference, fit
from rankclip.evaluation.statistics.estimate import Estimate, mean_interval
from rankclip.report.scores import Cell, Scores, Source
from rankclip.report.spec import ReportSpec

MEAN = "mean"
"""Name, in the benchmark column, of a mean over the benchmarks that report the headline metric."""

HEADER = ["arm", "benchmark", "metric", "protocol", "n_seeds", "mean", "sd", "ci_low", "ci_high"]
HEADER += ["diff", "diff_low", "diff_high", "diff_sd", "degrees", "p", "p_alone", "family", "p_adjusted"]

Values = Mapping[str, Mapping[Cell, Mapping[int, float]]]
"""Scores by arm, cell and seed."""


@dataclass(frozen=True)
class Roles:
    """Who is compared with whom; None where the study has no such arm."""

    baseline: str
    treatment: str | None
    control: str | None


@dataclass(frozen=True)
class Row:
    """One arm on one benchmark in one metric: level over seeds and difference to the reference.

    `family`: of the comparisons among which `p_adjusted` is corrected; `sure`: whether the difference stands
    there. Both are empty for the reference itself.
    """

    arm: str
    benchmark: str
    metric: str
    source: Source
    level: Estimate
    difference: Difference
    family: str = ""
    p_adjusted: float = math.nan
    sure: bool = False

    @property
    def alone(self) -> bool:
        """Whether the difference leaves zero out by itself and not among all of its family."""
        return self.difference.excludes_zero and not self.sure and not math.isnan(self.p_adjusted)


def headline_benchmarks(scores: Scores, spec: ReportSpec) -> list[str]:
    """The benchmarks whose headline metric the headline averages.

    Raises:
        DataError: no benchmark reports it.
    """
    wanted = Source(spec.headline_metric, spec.headline_protocol)
    found = [benchmark for (benchmark, _), source in scores.sources.items() if source == wanted]
    if not found:
        known = sorted({source.metric for source in scores.sources.values()})
        raise DataError(
            f"no benchmark reports {wanted.metric} ({wanted.protocol}) on its test split, only "
            f"{', '.join(known)}; set report.headline_metric to one of these, or add a classification set"
        )
    return found


def with_means(scores: Scores, spec: ReportSpec) -> dict[str, dict[Cell, dict[int, float]]]:
    """The scores by arm, cell and seed, led by the means of the headline metric over benchmarks by seed.

    There is one mean for each protocol of that metric, the headline's first.
    """
    means = mean_cells(scores, spec)
    complete = {}
    for arm, cells in scores.values.items():
        complete[arm] = {
            mean: {
                seed: math.fsum(cells[cell][seed] for cell in members) / len(members)
                for seed in scores.steps[arm]
            }
            for mean, members in means.items()
        }
        complete[arm] |= {cell: dict(cells[cell]) for cell in scores.cells}
    return complete


def mean_cells(scores: Scores, spec: ReportSpec) -> dict[Cell, list[Cell]]:
    """The cells that each mean over benchmarks is of, the headline's first."""
    headline = Source(spec.headline_metric, spec.headline_protocol)
    found: dict[Cell, list[Cell]] = {(MEAN, headline.metric): []}
    for cell, source in scores.sources.items():
        if source.metric == headline.metric:
            name = source.metric if source == headline else f"{source.metric} ({source.protocol})"
            found.setdefault((MEAN, name), []).append(cell)
    return {mean: members for mean, members in found.items() if members}


def fits(values: Values) -> dict[Cell, Additive]:
    """The additive model of all arms for each cell."""
    cells = next(iter(values.values()))
    return {cell: fit({arm: values[arm][cell] for arm in values}) for cell in cells}


def rows(
    values: Values,
    models: Mapping[Cell, Additive],
    scores: Scores,
    spec: ReportSpec,
    reference: str,
    arms: Sequence[str] | None = None,
) -> list[Row]:
    """One row an arm and cell, differences taken to the arm `reference`; its own rows carry none.

    Args:
        values: of `with_means`.
        models: of `fits`.
        arms: those to list, by default all.
    """
    means = {mean: scores.sources[members[0]] for mean, members in mean_cells(scores, spec).items()}
    sources = {**means, **scores.sources}
    return [
        Row(
            arm,
            *cell,
            sources[cell],
            mean_interval(list(by_seed.values()), spec.level),
            NO_DIFFERENCE if arm == reference else models[cell].difference(arm, reference, spec.level),
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
        numbers += [difference.mean, difference.low, difference.high, difference.sd]
        judged = [difference.degrees, repr(difference.p), repr(difference.p_alone)]
        judged += [row.family, repr(row.p_adjusted)]
        writer.writerow([row.arm, row.benchmark, *row.source, level.n, *map(repr, numbers), *judged])
    return text.getvalue()
