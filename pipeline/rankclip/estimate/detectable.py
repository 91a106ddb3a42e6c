"""How much the difference between two arms varies with the seed, from a study's own results if it has any."""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

from rankclip import files
from rankclip.evaluation.statistics.additive import fit
from rankclip.report.spec import ReportSpec

ASSUMED_SD = 0.014
"""Of differences between two arms with the same seed, where nothing is known: that of RankCLIP minus CLIP in
the first run of `shapes-smoke`; docs/log.md has it beside others, from 0.004 to 0.023."""


class Spread(NamedTuple):
    """How much the difference between two arms varies with the seed."""

    sd: float
    """Standard deviation; a share, as scores are."""
    origin: str
    """Where it is from."""


def spread(report: ReportSpec, results: Path) -> Spread:
    """How any two arms differ from seed to seed in the study's own results, where it has any.

    Args:
        report: which metric.
        results: its `results.parquet`; maybe not there.

    Raises:
        DataError: the file is damaged.
    """
    assumed = Spread(ASSUMED_SD, "assumed, docs/log.md; --sd POINTS for another")
    if report.treatment is None or not results.exists():
        return assumed
    means = means_by_seed(results, report.headline_metric, report.headline_protocol)
    if not means or not set.intersection(*(set(by_seed) for by_seed in means.values())):
        return assumed
    model = fit(means)
    if not model.variance > 0.0:  # NaN for one seed or one arm
        return assumed
    origin = f"pooled over {len(model.arms)} arms and {model.seeds} seeds, {results}"
    return Spread(model.sd, origin)


def means_by_seed(results: Path, metric: str, protocol: str) -> dict[str, dict[int, float]]:
    """Each arm's mean of a metric over the test splits of all benchmarks, by seed, at its last step."""
    columns = ["arm", "seed", "step", "split", "metric", "protocol", "value"]
    wanted = {"split": "test", "metric": metric, "protocol": protocol}
    last: dict[tuple[str, int], int] = {}
    values: dict[tuple[str, int], list[float]] = {}
    for row in files.read_table(results, columns, "run `dvc repro -f -s report`").to_pylist():
        if any(row[name] != value for name, value in wanted.items()):
            continue
        run = (row["arm"], row["seed"])
        if row["step"] > last.get(run, -1):
            last[run], values[run] = row["step"], []
        if row["step"] == last[run]:
            values[run].append(row["value"])
    means: dict[str, dict[int, float]] = {}
    for (arm, seed), found in values.items():
        means.setdefault(arm, {})[seed] = math.fsum(found) / len(found)
    return means
