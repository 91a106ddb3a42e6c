"""How a sweep ends: what its budget is spent on, and what MLflow is told."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

from rankclip import composition, launch
from rankclip.config import Study
from rankclip.errors import InputError, Preempted, RunError
from rankclip.sweep import command
from rankclip.sweep import plan as plans
from rankclip.sweep import run as running
from rankclip.sweep.plan import Plan
from rankclip.sweep.run import COMPLETE, FAILED, OUT_OF_BUDGET, STOPPED, Driver, Limits
from rankclip.sweep.tuning import ArmSearch

CONF = Path(__file__).parents[3] / "conf"
ARM = "rankclip"
WEIGHT = "objective.terms.rank_in.weight.final"


@pytest.fixture(scope="module")
def study() -> Study:
    return composition.compose("shapes-smoke", conf=CONF)


@pytest.fixture
def begin(study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Driver]:
    """A sweep of three trials on a cluster of one CPU and no GPU."""
    benchmarks = {name: {"val": {"digest": name}} for name in ("shape", "colour", "composition")}
    for part, listed in (("shards", {}), ("benchmarks", {"benchmarks": benchmarks})):
        folder = tmp_path / "data" / "shapes-smoke" / part
        folder.mkdir(parents=True)
        (folder / "manifest.json").write_text(json.dumps(listed))
    monkeypatch.setattr(launch, "has_gpus", lambda: False)
    monkeypatch.setattr(launch, "room", lambda cpus, gpus: 1)

    def begun(limits: Limits, *changes: str) -> Driver:
        spec = plans.read("rank-weights", ["trials=3", *changes], CONF)
        return Driver(Plan("rank-weights", spec, study, tmp_path), limits)

    return begun


def searching(driver: Driver, trials: int) -> Callable[[ArmSearch], None]:
    """A search whose time is over when so many trials have ended."""

    def search(asked: ArmSearch) -> None:
        for _ in range(asked.spec.trials):
            if asked.done():
                return
            trial = asked.ledger.propose(asked.arm, {})
            if trial.number < trials:
                asked.ledger.end(trial, "stopped")
            if trial.number + 1 == trials:
                driver.started -= 60

    return search


@pytest.mark.parametrize(("trials", "ended"), [(1, OUT_OF_BUDGET), (2, OUT_OF_BUDGET), (3, COMPLETE)])
def test_a_sweep_whose_budget_was_spent_before_its_last_trial_ended_says_so(
    trials: int, ended: str, begin: Callable[..., Driver], monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = begin(Limits(seconds=60))
    monkeypatch.setattr(running, "search", searching(driver, trials))
    driver.search(ARM)
    assert (driver.ended, driver.why()) == (ended, OUT_OF_BUDGET)
    assert driver.left() == {"time": "0:00:00"}
    assert len(driver.ledger.of(ARM)) == trials


def test_gpu_hours_are_those_of_all_workers_of_trials_ended_and_under_way(
    begin: Callable[..., Driver], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "has_gpus", lambda: True)
    monkeypatch.setenv("RANKCLIP_WORKERS", "2")
    driver = begin(Limits(gpu_hours=2.0))
    driver.resources(ARM)
    ended, training, _ = (driver.ledger.propose(ARM, {WEIGHT: 0.1 * n}) for n in (1, 2, 3))
    driver.ledger.end(ended, "finished", seconds=1800)
    assert (driver.left(), driver.why()) == ({"GPU hours": "1.00"}, "")
    curve = driver.curve(training)
    curve.parent.mkdir(parents=True)
    curve.write_text('{"step": 10, "elapsed_s": 900.0}\n')
    assert (driver.left(), driver.why()) == ({"GPU hours": "0.50"}, "")
    with curve.open("a") as file:
        file.write('{"step": 20, "elapsed_s": 1800.0}\n{"step"')
    assert (driver.left(), driver.why()) == ({"GPU hours": "0.00"}, OUT_OF_BUDGET)


def test_a_trial_whose_settings_do_not_fit_together_is_told_in_a_line_and_holds_up_nothing(
    begin: Callable[..., Driver],
) -> None:
    ranges = {"train.steps": (350, 520), "train.warmup_steps": (0, 200), "train.cooldown_steps": (20, 200)}
    space = {key: {"name": "randint", "low": low, "high": high} for key, (low, high) in ranges.items()}
    driver = begin(Limits(gpu_hours=1.0), f"space={space}", "train.schedule=constant_cooldown")
    driver.gpus = 1
    trial = driver.ledger.propose(ARM, {key: ranges[key][key != "train.steps"] for key in space})
    with pytest.raises(
        InputError, match=f"arm {ARM}: train: cooldown_steps 200 do not fit into the steps 350"
    ):
        driver.plan.of_trial(trial)
    assert driver.why() == ""
    assert list(driver.log._of_trials([trial])) == []


def test_gpu_hours_are_refused_where_trials_have_no_gpu(
    begin: Callable[..., Driver], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    limits = Limits(gpu_hours=1.0)
    driver = begin(limits)
    with pytest.raises(InputError, match="there is none here; use --time-budget"):
        next(command.outlook(driver.plan, limits))
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")  # whose GPUs are elsewhere
    assert next(command.outlook(driver.plan, limits)).startswith("rank-weights: ")
    with pytest.raises(InputError, match="trials here have none; use --time-budget"):
        driver.search(ARM)
    assert driver.ledger.of(ARM) == []


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (None, COMPLETE),
        (None, OUT_OF_BUDGET),
        (Preempted("asked"), STOPPED),
        (RunError("no trial finished"), FAILED),
    ],
)
def test_a_sweep_that_failed_is_told_from_one_that_was_stopped(error: Exception | None, said: str) -> None:
    told: list[str] = []
    driver: Any = SimpleNamespace(
        ended=COMPLETE if error else said,
        outcome=lambda ended: ended,
        again=[],
        log=SimpleNamespace(close=lambda ended, again: told.append(ended)),
    )
    with contextlib.suppress(RunError), Driver.tracked(cast("Driver", driver)):
        if error:
            raise error
    assert told == [said]
