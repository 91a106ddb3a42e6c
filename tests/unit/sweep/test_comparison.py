"""What stops trials knows every report once: of trials that died, and of those of an earlier driver."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from rankclip import launch
from rankclip.errors import RunError
from rankclip.sweep.ledger import Ledger, Trial
from rankclip.sweep.tuning import ArmSearch, rungs, search, unit
from rankclip.sweep.tuning.comparison import scheduler
from tests.unit.sweep.searched import ALONE, ARM, ASHA, spec

tuning = importlib.import_module("rankclip.sweep.tuning.search")  # the package has a function of this name
MEDIAN = {"name": "median", "rungs": 4, "least": 2}
STEPS = 8
GO_ON, STOP = "CONTINUE", "STOP"


def live(number: int) -> Any:
    """A trial as Tune has it; its own name is another in every driver."""
    return SimpleNamespace(trial_id=str(np.random.rand()), config={"trial": f"{ARM}/trial-{number:03d}"})


class Reported:
    """Reports that reach a scheduler, and the ledger for the next driver."""

    def __init__(self, stopping: dict[str, Any], folder: Path) -> None:
        ledger = Ledger.opened(folder)
        request = SimpleNamespace(train=SimpleNamespace(steps=STEPS), folder=folder / "run")
        self.asked: Any = ArmSearch(spec(stopping), ARM, ledger, lambda trial: request, ALONE)  # type: ignore[arg-type, return-value]
        self.scheduler = scheduler(self.asked)
        waiting = SimpleNamespace(status="PENDING")
        self.controller = SimpleNamespace(get_live_trials=lambda: [waiting])

    def __call__(self, number: int, step: int, value: float) -> str:
        ledger = self.asked.ledger
        while len(ledger.of(ARM)) <= number:
            ledger.propose(ARM, {"train.lr": len(ledger.of(ARM))})
        report = {"step": step, "lr": value}
        decision = self.scheduler.on_trial_result(self.controller, live(number), report)
        ledger.report(ledger.trials[ARM, number], report)
        return str(decision)

    def again(self) -> None:
        """As the next driver begins."""
        self.asked = ArmSearch(
            self.asked.spec, ARM, Ledger.opened(self.asked.ledger.path.parent), self.asked.request, ALONE
        )
        self.scheduler = scheduler(self.asked)


def some(stopping: dict[str, Any]) -> list[tuple[int, int, float]]:
    """Reports of trials side by side."""
    chance = np.random.default_rng(0)
    steps = rungs(spec(stopping), STEPS)
    left = {number: list(steps) for number in range(12)}
    order = []
    while left:
        number = int(chance.choice(sorted(left)[:3]))
        order.append((number, left[number].pop(0), float(chance.normal())))
        if not left[number]:
            del left[number]
    return order


@pytest.mark.parametrize("stopping", [ASHA, MEDIAN], ids=["asha", "median"])
def test_a_driver_that_was_killed_decides_as_one_that_was_not(
    stopping: dict[str, Any], tmp_path: Path
) -> None:
    whole, broken = Reported(stopping, tmp_path / "whole"), Reported(stopping, tmp_path / "broken")
    stopped: set[int] = set()
    decisions = []
    for place, (number, step, value) in enumerate(some(stopping)):
        if number in stopped:
            continue
        decision = whole(number, step, value)
        if place % 3 == 2:
            broken.again()
        assert broken(number, step, value) == decision, (number, step)
        decisions.append(decision)
        stopped |= {number} if decision == STOP else set()
    assert set(decisions) == {GO_ON, STOP}


@pytest.mark.parametrize("stopping", [ASHA, MEDIAN], ids=["asha", "median"])
def test_a_rung_that_is_told_again_is_not_counted_again(stopping: dict[str, Any], tmp_path: Path) -> None:
    once, twice = Reported(stopping, tmp_path / "once"), Reported(stopping, tmp_path / "twice")
    for number, value in enumerate([3.0, 1.0, 2.0]):
        for told in (once, twice):
            told(number, 2, value)
    for _ in range(5):
        assert twice(1, 2, 1.0) == GO_ON
    assert [told(3, 2, 1.8) for told in (once, twice)] == [STOP, STOP]
    assert [told(4, 2, 2.5) for told in (once, twice)] == [GO_ON, GO_ON]


def test_the_best_of_a_rung_go_on_and_what_is_below_the_median_does_not(tmp_path: Path) -> None:
    halving = Reported(ASHA, tmp_path / "asha")
    assert [halving(number, 2, value) for number, value in enumerate([1.0, 3.0, 2.0, 4.0, 0.0])] == [
        GO_ON, GO_ON, GO_ON, GO_ON, STOP
    ]  # fmt: skip
    median = Reported(MEDIAN, tmp_path / "median")
    assert [median(number, 2, value) for number, value in enumerate([1.0, 0.0, 0.2, 4.0])] == [
        GO_ON, GO_ON, STOP, GO_ON
    ]  # fmt: skip


def test_a_trial_without_others_to_compare_with_is_not_paused(tmp_path: Path) -> None:
    median = Reported(MEDIAN, tmp_path)
    assert [median(0, step, 1.0) for step in (2, 4, 6, 8)] == [GO_ON] * 4


def test_a_failure_is_no_report(tmp_path: Path) -> None:
    median = Reported(MEDIAN, tmp_path)
    for number, value in enumerate([1.0, 2.0]):
        median(number, 2, value)
    failed = {"step": 0, "lr": float("nan"), "error": "no"}
    assert median.scheduler.on_trial_result(median.controller, live(2), failed) == GO_ON
    assert median(2, 2, 1.6) == GO_ON
    assert median(3, 2, 1.4) == STOP


@pytest.mark.parametrize(
    ("stopping", "steps", "every", "at"),
    [
        ({"name": "asha", "rungs": 3, "reduction": 3}, 90, 10, [10, 30, 90]),
        ({"name": "asha", "rungs": 3, "reduction": 3}, 100, 11, [11, 33, 100]),
        ({"name": "median", "rungs": 4, "least": 1}, 90, 22, [22, 44, 66, 90]),
        ({"name": "none"}, 90, 90, [90]),
        ({"name": "asha", "rungs": 4, "reduction": 3}, 26, 0, None),
    ],
)
def test_every_rung_is_a_validation_and_the_last_is_the_end(
    stopping: dict[str, Any], steps: int, every: int, at: list[int] | None
) -> None:
    asked = spec(stopping)
    assert unit(asked, steps) == every
    if at is not None:
        assert rungs(asked, steps) == at
        assert all(step % every == 0 for step in at[:-1])


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> list[ArmSearch]:
    """Stands for Tune: it lets trials go as they are."""
    found: list[ArmSearch] = []
    monkeypatch.setenv("RANKCLIP_RETRIES", "2")
    monkeypatch.setattr(launch, "session", lambda **options: contextlib.nullcontext())
    monkeypatch.setattr(launch, "count_nodes", lambda: 1)
    monkeypatch.setattr(tuning, "_fit", lambda asked, folder, again: found.append(asked))
    return found


def test_trials_that_left_unasked_are_begun_again_and_given_up_in_the_end(
    fits: list[ArmSearch], tmp_path: Path
) -> None:
    told: list[Trial] = []
    reported = Reported(ASHA, tmp_path)
    reported(0, 2, 1.0)
    asked = dataclasses.replace(reported.asked, changed=told.append)
    search(dataclasses.replace(asked, done=lambda: "no time is left"))
    assert len(fits) == 1
    assert told == []
    search(asked)
    assert len(fits) == 4
    assert [(trial.state, trial.error) for trial in told] == [("failed", tuning.GIVEN_UP)]


def test_nothing_is_begun_where_what_would_free_a_stopped_trial_does_not_answer(
    fits: list[ArmSearch], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent() -> int:
        raise RunError("Ray's State API does not answer")

    monkeypatch.setattr(launch, "count_nodes", silent)
    with pytest.raises(RunError, match=r"^Ray's State API does not answer$"):
        search(Reported(ASHA, tmp_path).asked)
    assert fits == []


def test_tune_finds_its_environment_while_it_works_and_the_users_is_back_after(
    tmp_path: Path, fits: list[ArmSearch], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNE_MAX_PENDING_TRIALS_PG", "7")
    monkeypatch.delenv("TUNE_DISABLE_SIGINT_HANDLER", raising=False)
    seen: list[dict[str, str | None]] = []

    def fit(asked: ArmSearch, folder: str, again: int) -> None:
        seen.append({name: os.environ.get(name) for name in tuning.ENVIRONMENT})

    monkeypatch.setattr(tuning, "_fit", fit)
    search(Reported(ASHA, tmp_path).asked)
    assert seen == [tuning.ENVIRONMENT]
    assert os.environ["TUNE_MAX_PENDING_TRIALS_PG"] == "7"
    assert "TUNE_DISABLE_SIGINT_HANDLER" not in os.environ
