"""How well each single run is measured: intervals over test examples, never in place of those over seeds."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import and_
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rankclip import files
from rankclip.errors import DataError
from rankclip.evaluation.statistics import Estimate, bootstrap_interval
from rankclip.report.scores import Scores, Subject
from rankclip.report.spec import ReportSpec

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNS = ["seed", "step", "benchmark", "split", "metric", "protocol", "value"]


@dataclass(frozen=True)
class Measured:
    """The headline metric of one run on one benchmark with its bootstrap interval over test examples."""

    arm: str
    seed: int
    benchmark: str
    estimate: Estimate


def measure(
    folder: Path, subject: Subject, scores: Scores, spec: ReportSpec, benchmarks: Sequence[str]
) -> list[Measured]:
    """Every run's test examples of the headline `benchmarks` at the step that was scored.

    Raises:
        DataError: an arm's `predictions.parquet` is missing, damaged or does not give the scores.
    """
    measured = []
    for arm in subject.arms:
        path = folder / arm / "predictions.parquet"
        remedy = f"run `dvc repro -f -s evaluate@{arm}`"
        table = files.read_table(path, COLUMNS, remedy)
        for seed in subject.seeds:
            for benchmark in benchmarks:
                values = _values(
                    table,
                    seed=seed,
                    step=scores.steps[arm][seed],
                    benchmark=benchmark,
                    split="test",
                    metric=spec.headline_metric,
                    protocol=spec.headline_protocol,
                )
                if not len(values):
                    continue  # not every metric is a mean over items
                # one resampling seed for all, so that equal runs have equal intervals
                estimate = bootstrap_interval(values, seed=0, level=spec.level, draws=1000)
                scored = scores.values[arm][benchmark, spec.headline_metric][seed]
                if not math.isclose(estimate.mean, scored, abs_tol=1e-6):
                    raise DataError(
                        f"{path}: the {estimate.n} predictions of seed {seed} on {benchmark} have mean "
                        f"{estimate.mean}, but the results say {scored}; {remedy}"
                    )
                measured.append(Measured(arm, seed, benchmark, estimate))
    return measured


def _values(table: pa.Table, **wanted: str | int) -> NDArray[np.float64]:
    import pyarrow.compute as pc

    conditions = [pc.field(name) == value for name, value in wanted.items()]
    return np.asarray(table.filter(reduce(and_, conditions))["value"], dtype=np.float64)


def as_csv(measured: Sequence[Measured]) -> str:
    """One row a run and benchmark, full precision."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["arm", "seed", "benchmark", "n_items", "mean", "low", "high"])
    for each in measured:
        numbers = (each.estimate.mean, each.estimate.low, each.estimate.high)
        writer.writerow([each.arm, each.seed, each.benchmark, each.estimate.n, *map(repr, numbers)])
    return text.getvalue()
