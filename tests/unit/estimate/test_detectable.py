from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from rankclip import files
from rankclip.estimate.detectable import ASSUMED_SD, spread
from rankclip.evaluation.results import RESULTS_SCHEMA
from rankclip.report.spec import ReportSpec

REPORT = ReportSpec(baseline="clip", treatment="rankclip")


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
    assert "2 arms and 3 seeds" in found.origin


def test_results_of_one_seed_say_nothing_of_the_spread(tmp_path: Path) -> None:
    fixed = dict.fromkeys(("data_digest", "checkpoint_digest", "config_digest"), "")
    named = {"step": 1, "benchmark": "a", "split": "test", "metric": "top1", "protocol": "zero_shot"}
    rows = [
        {**fixed, **named, "arm": arm, "seed": 0, "value": value}
        for arm, value in (("clip", 0.4), ("rankclip", 0.5))
    ]
    path = tmp_path / "results.parquet"
    files.write_table(path, pa.Table.from_pylist(rows))
    assert spread(REPORT, path).sd == ASSUMED_SD


def test_without_results_a_spread_is_assumed_and_said_to_be(tmp_path: Path) -> None:
    found = spread(REPORT, tmp_path / "results.parquet")
    assert found.sd == ASSUMED_SD
    assert "assumed" in found.origin
