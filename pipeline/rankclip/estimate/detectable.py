"""The smallest difference between two arms that a study can detect."""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

from rankclip import files
from rankclip.evaluation.statistics import paired_difference, t_quantile
from rankclip.report.spec import ReportSpec

POWER, LEVEL = 0.8, 0.95

ASSUMED_SD = 0.014
"""Of differences between two arms with the same seed, where nothing is known: that of RankCLIP minus CLIP in
the first run of `shapes-smoke`; docs/log.md has it beside others, from 0.004 to 0.023."""


class Spread(NamedTuple):
    """How much the difference between two arms varies with the seed."""

    sd: float
    """Standard deviation; a share, as scores are."""
    origin: str
    """Where it is from."""


def smallest_difference(seeds: int, sd: float, power: float = POWER, level: float = LEVEL) -> float:
    """The true mean difference that a paired t-test over seeds finds with this probability; inf for one seed.

    With n seeds t has n - 1 degrees of freedom and, at a true difference d, noncentrality d sqrt(n) / sd.

    Args:
        seeds: n.
        sd: standard deviation of the differences.
        power: probability of finding it.
        level: of the two-sided test's confidence.
    """
    from scipy.special import nctdtrinc  # scipy.stats costs a second to import and adds nothing here

    if seeds < 2:
        return math.inf
    critical = t_quantile(0.5 + level / 2, seeds - 1)
    return float(nctdtrinc(seeds - 1, 1.0 - power, critical)) * sd / math.sqrt(seeds)


def spread(report: ReportSpec, results: Path) -> Spread:
    """How treatment and baseline differ from seed to seed in the study's own results, if there are any.

    Args:
        report: which arms, which metric.
        results: its `results.parquet`; maybe not there.

    Raises:
        DataError: the file is damaged.
    """
    assumed = Spread(ASSUMED_SD, "assumed, docs/log.md; --sd POINTS for another")
    if report.treatment is None or not results.exists():
        return assumed
    treatment, baseline = (
        mean_by_seed(results, arm, report.headline_metric, report.headline_protocol)
        for arm in (report.treatment, report.baseline)
    )
    found = paired_difference(treatment, baseline)
    if not found.sd > 0.0:  # NaN for less than two seeds
        return assumed
    return Spread(found.sd, f"{report.treatment} minus {report.baseline} over {found.n} seeds, {results}")


def mean_by_seed(results: Path, arm: str, metric: str, protocol: str) -> dict[int, float]:
    """An arm's mean of a metric over the test splits of all benchmarks, by seed, at its last step."""
    columns = ["arm", "seed", "step", "split", "metric", "protocol", "value"]
    wanted = {"arm": arm, "split": "test", "metric": metric, "protocol": protocol}
    rows = [
        row
        for row in files.read_table(results, columns, "run `dvc repro -f -s report`").to_pylist()
        if all(row[name] == value for name, value in wanted.items())
    ]
    last = {row["seed"]: max(row["step"], 0) for row in sorted(rows, key=lambda row: int(row["step"]))}
    values: dict[int, list[float]] = {seed: [] for seed in last}
    for row in rows:
        if row["step"] == last[row["seed"]]:
            values[row["seed"]].append(row["value"])
    return {seed: math.fsum(found) / len(found) for seed, found in values.items()}
