from __future__ import annotations

from pathlib import Path

import pytest

from rankclip import estimate
from rankclip.estimate import need
from rankclip.training.machine import Machine
from tests.unit.training import tiny


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write(tmp_path_factory.mktemp("tiny"))


def test_a_driver_says_in_one_line_what_a_run_takes(data: Path, tmp_path: Path) -> None:
    line = estimate.line(tiny.request(data, tmp_path))
    assert line.startswith("arm: 4.6 M parameters, about ")
    assert "7 steps of 8 pairs, 2.8 epochs" in line
    assert "a run for the towers on a CPU like this one" in line
    assert "\n" not in line


def test_a_model_too_large_for_a_trial_gets_none(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(need, "TRIAL_FLOPS", 1.0)
    changed = tiny.request(data, tmp_path, ema_decay=0.5)  # another recipe, so that it is not remembered
    assert estimate.line(changed).endswith("2.8 epochs")


def test_a_run_on_gpus_that_are_elsewhere_is_told_without_a_time(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    request = tiny.request(data, tmp_path).model_copy(update={"machine": Machine(device="cuda")})
    assert estimate.line(request).endswith("2.8 epochs")


def test_other_seeds_of_a_recipe_are_told_at_once(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = estimate.line(tiny.request(data, tmp_path))
    monkeypatch.setattr(need, "build", lambda *unused: pytest.fail("built again"))
    assert estimate.line(tiny.request(data, tmp_path, seed=5)) == first
