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
