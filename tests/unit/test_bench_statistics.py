"""The simulations of the intervals say what they claim."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from bench import statistics


def test_a_share_of_claims_has_its_own_error() -> None:
    assert statistics.rate(iter([True, False, False, False])) == {"rate": 0.25, "error": 0.2165}


def test_simulated_scores_have_the_spread_and_the_seed_correlation_asked_for() -> None:
    drawn = statistics.scores(np.random.default_rng(0), 4000, 2, 3, 0.7)
    first, second = drawn[:, 0].ravel(), drawn[:, 1].ravel()
    assert first.std() == pytest.approx(statistics.SD, rel=0.05)
    assert np.corrcoef(first, second)[0, 1] == pytest.approx(0.7, abs=0.03)


def test_nothing_is_claimed_and_something_is_found_as_often_as_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "ARMS", (3,))
    monkeypatch.setattr(statistics, "SEEDS", (3,))
    monkeypatch.setattr(statistics, "CORRELATIONS", (0.5,))
    (design,) = statistics.seeds_rates(np.random.default_rng(0), 400)
    assert design["no_difference"]["rate"] == pytest.approx(0.05, abs=0.04)
    assert design["detectable"]["rate"] == pytest.approx(0.8, abs=0.07)
    assert design["detectable"]["rate"] > design["paired_alone"]["rate"]


def test_a_rule_that_keeps_the_rate_for_a_noisy_arm_finds_less_than_the_pooled_one() -> None:
    designs = list(statistics.unequal(np.random.default_rng(0), 400))
    alike, noisy = (
        next(each for each in designs if (each["arms"], each["times_the_spread"]) == (8, factor))
        for factor in (1, 3)
    )
    claimed = {name: found["rate"] for name, found in noisy["no_difference"].items()}
    found = {name: found["rate"] for name, found in alike["detectable"].items()}
    assert claimed["pooled"] > claimed["alone_where_unlike"] > 0.08 > claimed["alone"]
    assert claimed["larger_of_both"] <= claimed["alone"]
    assert found["pooled"] > found["alone_where_unlike"] > found["alone"] > found["larger_of_both"]
    assert found["pooled"] == pytest.approx(0.8, abs=0.07)


def test_a_quick_look_writes_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr("sys.argv", ["statistics", "--quick"])
    for name in ("seeds_rates", "unequal", "families", "examples"):
        monkeypatch.setattr(statistics, name, lambda generator, studies: iter([{"studies": studies}]))
    monkeypatch.setattr(statistics, "RESULTS", tmp_path / "statistics.json")
    statistics.main()
    assert json.loads(capsys.readouterr().out)["unequal"] == [{"studies": 400}]
    assert list(tmp_path.iterdir()) == []
