from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from rankclip import files
from rankclip.estimate.detectable import ASSUMED_SD, smallest_difference, spread
from rankclip.evaluation.results import RESULTS_SCHEMA
from rankclip.evaluation.statistics import t_quantile
from rankclip.report.spec import ReportSpec

REPORT = ReportSpec(baseline="clip", treatment="rankclip")


@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
def test_the_test_finds_the_smallest_difference_with_the_power_asked_for(seeds: int) -> None:
    difference = smallest_difference(seeds, sd=0.02, power=0.8)
    studies = np.random.default_rng(0).normal(difference, 0.02, (200_000, seeds))
    t = studies.mean(1) / studies.std(1, ddof=1) * math.sqrt(seeds)
    assert np.mean(abs(t) > t_quantile(0.975, seeds - 1)) == pytest.approx(0.8, abs=0.005)


def test_seeds_help_and_one_seed_detects_nothing() -> None:
    least = [smallest_difference(seeds, 0.01) for seeds in (1, 2, 3, 5, 20)]
    assert least[0] == math.inf
    assert least == sorted(least, reverse=True)
    assert least[-1] == pytest.approx(2.8 * 0.01 / math.sqrt(20), rel=0.1)  # the normal approximation


def test_the_spread_is_that_of_the_studys_own_results(tmp_path: Path) -> None:
    def row(
        arm: str, seed: int, step: int, benchmark: str, value: float, split: str = "test"
    ) -> dict[str, object]:
        fixed = {"metric": "top1", "protocol": "zero_shot", "data_digest": "", "checkpoint_digest": ""}
        return fixed | {
            "arm": arm, "seed": seed, "step": step, "benchmark": benchmark, "split": split, "value": value,
            "config_digest": "",
        }  # fmt: skip

    differences = [0.01, 0.03, 0.05]
    rows = [row("clip", seed, 10, name, 0.4) for seed in range(3) for name in ("a", "b")]
    for seed, difference in enumerate(differences):
        rows += [row("rankclip", seed, 10, "a", 0.4 + 2 * difference), row("rankclip", seed, 10, "b", 0.4)]
        rows += [row("rankclip", seed, 5, "a", 0.9), row("rankclip", seed, 10, "a", 0.1 * seed, "val")]
    path = tmp_path / "results.parquet"
    files.write_table(path, pa.Table.from_pylist(rows, schema=RESULTS_SCHEMA))
    found = spread(REPORT, path)
    assert found.sd == pytest.approx(0.02)
    assert "3 seeds" in found.origin


def test_without_results_a_spread_is_assumed_and_said_to_be(tmp_path: Path) -> None:
    found = spread(REPORT, tmp_path / "results.parquet")
    assert found.sd == ASSUMED_SD
    assert "assumed" in found.origin
