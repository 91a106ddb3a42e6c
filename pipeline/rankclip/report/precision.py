"""What the study can show on each benchmark: its spread, its seed correlation, the smallest difference."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass

from rankclip.evaluation.statistics.additive import Additive, Correlation
from rankclip.evaluation.statistics.power import POWER, Detectable, detectable
from rankclip.report.ablation import Row
from rankclip.report.claims import DESCRIBED, HEADLINE, comparisons
from rankclip.report.scores import Cell, Source
from rankclip.report.spec import ReportSpec

HEADER = ["benchmark", "metric", "protocol", "n_seeds", "n_arms", "diff_sd", "degrees", "seed_correlation"]
HEADER += [
    "correlation_low",
    "correlation_high",
    "comparisons",
    "detectable",
    "detectable_low",
    "detectable_high",
]


@dataclass(frozen=True)
class Precision:
    """One cell under the additive model.

    `sd`: of the difference of two arms at one seed; `comparisons`: among how many its differences stand;
    `detectable`: found with probability `POWER`, at the level that so many comparisons leave.
    """

    benchmark: str
    metric: str
    source: Source
    seeds: int
    arms: int
    sd: float
    degrees: int
    correlation: Correlation
    comparisons: int
    detectable: Detectable


def measure(models: Mapping[Cell, Additive], rows: Sequence[Row], spec: ReportSpec) -> list[Precision]:
    """One entry a cell, the headline's first.

    Args:
        rows: of `claims.judged`; the treatment's family of a cell is that of the entry.
    """
    by_cell = {(row.benchmark, row.metric): row for row in rows if row.arm == spec.treatment}
    found = []
    for cell, model in models.items():
        row = by_cell.get(cell)
        if row is None or row.family == DESCRIBED:
            continue
        among = 1 if row.family == HEADLINE or spec.correction == "none" else comparisons(rows, row.family)
        found.append(
            Precision(
                *cell,
                row.source,
                model.seeds,
                len(model.arms),
                model.sd,
                model.degrees,
                model.seed_correlation(spec.level),
                among,
                detectable(model.seeds, model.sd, len(model.arms), POWER, spec.level, max(1, among)),
            )
        )
    return found


def as_csv(found: Sequence[Precision]) -> str:
    """One row a cell, full precision."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER)
    for each in found:
        model = [each.seeds, each.arms, repr(each.sd), each.degrees, *map(repr, astuple(each.correlation))]
        found_at = [each.comparisons, *map(repr, each.detectable)]
        writer.writerow([each.benchmark, *each.source, *model, *found_at])
    return text.getvalue()
