"""How a sweep ends: what its budget is spent on, and what MLflow is told."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

from rankclip import composition, launch
from rankclip.config import Study
from rankclip.errors import InputError, Preempted, RunError
from rankclip.sweep import budget, command, reruns
from rankclip.sweep import plan as plans
from rankclip.sweep import run as running
from rankclip.sweep.budget import Limits
from rankclip.sweep.plan import Plan
from rankclip.sweep.run import COMPLETE, FAILED, IN_PART, OUT_OF_BUDGET, STOPPED, Driver
from rankclip.sweep.shown import settings_section
from rankclip.sweep.tuning import ArmSearch
from rankclip.training.request import TrainRequest

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


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The time that budgets see."""
    shown = SimpleNamespace(now=100.0)
    shown.monotonic = lambda: shown.now
    monkeypatch.setattr(budget, "time", shown)
    return shown


def search(asked: ArmSearch, clock: SimpleNamespace, each_s: float) -> None:
    """Trials that take so many seconds each; one that the end of a budget meets is left as it is."""
    while len(asked.ledger.of(asked.arm)) < asked.spec.trials and not asked.done():
        trial = asked.ledger.propose(asked.arm, {WEIGHT: 0.1 * (1 + len(asked.ledger.of(asked.arm)))})
        clock.now += each_s
        if not asked.done():
            asked.ledger.report(trial, {"step": 520, "val/mean_top1": 0.1 * (1 + trial.number)})
            asked.ledger.end(trial, "finished", each_s)


@pytest.mark.parametrize(("each_s", "trials", "short"), [(40, 2, True), (25, 3, True), (19, 3, False)])
def test_a_sweep_whose_budget_was_spent_before_its_last_trial_ended_says_so(
    each_s: float, trials: int, short: bool, begin: Callable[..., Driver], clock: SimpleNamespace,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    driver = begin(Limits(seconds=60))
    monkeypatch.setattr(running, "search", lambda asked: search(asked, clock, each_s))
    driver.budget.share(1)
    driver.search(ARM)
    assert (driver.short, len(driver.ledger.of(ARM))) == (short, trials)
    assert driver.why() == (OUT_OF_BUDGET if short else "")
    assert driver.budget.left() == {"time": "0:00:00" if short else "0:00:03"}


def test_each_arm_has_an_equal_share_of_what_those_before_have_left(clock: SimpleNamespace) -> None:
    spent = [0.0]
    shared = budget.Budget(Limits(seconds=90, gpu_hours=3.0), lambda: spent[0])
    shared.share(3)
    assert shared.left() == {"time": "0:00:30", "GPU hours": "1.00"}
    clock.now += 10
    shared.share(2)
    assert (shared.left(), shared.over) == ({"time": "0:00:40", "GPU hours": "1.50"}, False)
    clock.now += 40
    assert shared.over
    shared.share(1)
    assert (shared.left(), shared.over) == ({"time": "0:00:40", "GPU hours": "3.00"}, False)
    spent[0] = 3.0
    assert shared.over


@pytest.fixture
def searched(
    begin: Callable[..., Driver], clock: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Driver]:
    """A sweep whose trials all finish and whose re-runs read one value, but for those that fail."""
    monkeypatch.setattr(running, "search", lambda asked: search(asked, clock, 1.0))
    monkeypatch.setattr(launch, "session", lambda **options: contextlib.nullcontext())

    def made(failing: Callable[[TrainRequest], bool], *changes: str) -> Driver:
        def train(asked: Sequence[TrainRequest], *rest: object) -> None:
            for request in asked:
                if not failing(request):
                    request.folder.mkdir(parents=True, exist_ok=True)
                    (request.folder / "metrics.jsonl").write_text('{"step": 520, "val/mean_top1": 0.5}\n')
                    (request.folder / "record.json").write_text("{}")
            if any(map(failing, asked)):
                raise RunError("loss is not finite")

        monkeypatch.setattr(reruns, "train", train)
        monkeypatch.setattr(
            TrainRequest, "finished", property(lambda own: (own.folder / "record.json").exists())
        )
        return begin(Limits(), "reruns.best=1", "reruns.seeds=2", *changes)

    return made


def test_an_arm_whose_re_runs_fail_costs_the_others_nothing(searched: Callable[..., Driver]) -> None:
    driver = searched(lambda request: request.arm == "rankclip", "arms=[rankclip,rankclip_shuffled]")
    outcome = driver.run()
    assert (outcome.ended, list(outcome.winners)) == (IN_PART, ["rankclip_shuffled"])
    assert outcome.lost == {"rankclip": "arm rankclip, of its re-runs: loss is not finite"}
    assert "failed in part. Of arm rankclip, of its re-runs: loss is not finite." in settings_section.state(
        outcome
    )


def test_a_setting_of_which_one_seed_fails_is_not_compared(searched: Callable[..., Driver]) -> None:
    driver = searched(lambda request: "as-it-is/seed-1002" in request.key)
    outcome = driver.run()
    assert [setting.name for setting in outcome.settings] == ["trial-002"]
    assert outcome.winners["rankclip"].name == "trial-002"


def test_a_sweep_without_any_winner_fails_with_the_reason(searched: Callable[..., Driver]) -> None:
    driver = searched(lambda request: True)
    with pytest.raises(RunError, match="arm rankclip, of its re-runs: loss is not finite"):
        driver.run()
    assert driver.ended == FAILED


def test_a_sweep_that_is_stopped_leaves_a_summary_and_its_page(
    begin: Callable[..., Driver], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    driver = begin(Limits())

    def stopped() -> None:
        trial = driver.ledger.propose(ARM, {WEIGHT: 0.2})
        driver.ledger.end(trial, "failed", error="loss is not finite")
        driver.ended = STOPPED
        raise Preempted("asked")

    monkeypatch.setattr(driver, "run", stopped)
    for name, stub in {"planned": driver.plan, "Driver": driver, "ready": ()}.items():
        monkeypatch.setattr(command, name, lambda *given, stub=stub, **named: stub)
    with pytest.raises(Preempted):
        command.run(driver.plan.root, "rank-weights", (), None, Limits())
    said = capsys.readouterr().out
    assert "This sweep was stopped." in said
    assert "rankclip/trial-000 failed: loss is not finite" in said
    assert Path(said.splitlines()[-1]).is_file()


def test_what_another_driver_wrote_before_it_let_go_is_known(searched: Callable[..., Driver]) -> None:
    waiting = searched(lambda request: False)
    first = searched(lambda request: False).run()
    assert waiting.run().trials == first.trials


def test_gpu_hours_are_those_of_all_workers_of_trials_ended_and_under_way(
    begin: Callable[..., Driver], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "has_gpus", lambda: True)
    monkeypatch.setenv("RANKCLIP_WORKERS", "2")
    driver = begin(Limits(gpu_hours=2.0))
    driver.budget.share(1)
    driver.resources(ARM)
    ended, training, _ = (driver.ledger.propose(ARM, {WEIGHT: 0.1 * n}) for n in (1, 2, 3))
    driver.ledger.end(ended, "finished", seconds=1800)
    assert (driver.budget.left(), driver.why()) == ({"GPU hours": "1.00"}, "")
    curve = driver.curve(training)
    curve.parent.mkdir(parents=True)
    curve.write_text('{"step": 10, "elapsed_s": 900.0}\n')
    assert (driver.budget.left(), driver.why()) == ({"GPU hours": "0.50"}, "")
    with curve.open("a") as file:
        file.write('{"step": 20, "elapsed_s": 1800.0}\n{"step"')
    assert (driver.budget.left(), driver.why()) == ({"GPU hours": "0.00"}, OUT_OF_BUDGET)


def test_a_trial_whose_settings_do_not_fit_together_is_told_in_a_line_and_holds_up_nothing(
    begin: Callable[..., Driver],
) -> None:
    ranges = {"train.warmup_steps": (0, 200), "train.cooldown_steps": (20, 200)}
    space = {key: {"name": "randint", "low": low, "high": high} for key, (low, high) in ranges.items()}
    changes = f"space={space}", "train.steps=350", "train.schedule=constant_cooldown"
    driver = begin(Limits(gpu_hours=1.0), *changes)
    driver.gpus = 1
    trial = driver.ledger.propose(ARM, {key: high for key, (_, high) in ranges.items()})
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
    ("error", "short", "said"),
    [
        (None, False, COMPLETE),
        (None, True, OUT_OF_BUDGET),
        (Preempted("asked"), False, STOPPED),
        (RunError("no trial finished"), False, FAILED),
    ],
)
def test_a_sweep_that_failed_is_told_from_one_that_was_stopped(
    error: Exception | None, short: bool, said: str
) -> None:
    told: list[str] = []
    driver: Any = SimpleNamespace(ended="", lost={}, short=short, again=[])
    driver.outcome = lambda: driver.ended
    driver.log = SimpleNamespace(close=lambda ended, again: told.append(ended))
    with contextlib.suppress(RunError), Driver.tracked(cast("Driver", driver)):
        if error:
            raise error
    assert told == [said]
