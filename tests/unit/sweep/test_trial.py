"""A trial in its process: what it reports, when, and how it ends; Ray's part is played here."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rankclip import launch, lifecycle
from rankclip.errors import Preempted
from rankclip.sweep.tuning.trial import FAILED, LEFT, growing, train_trial, trained_s
from rankclip.training import checkpoint
from rankclip.training.request import METRICS, STOP, TrainRequest
from rankclip.training.run import WEIGHTS
from tests.counted_once import counted_once
from tests.unit.training import tiny

__all__ = ["counted_once"]

NAMES = ["val/mean_top1"]


@pytest.fixture(scope="module")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def request_of(tiny_data: Path, tmp_path: Path) -> Callable[..., TrainRequest]:
    return lambda **changes: tiny.request(
        tiny_data, tmp_path, **{"steps": 4, "validate_every": 2, "checkpoint_every": 2, **changes}
    )


@pytest.fixture
def reports(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    from ray import tune

    found: list[dict[str, Any]] = []
    monkeypatch.setattr(tune, "report", found.append)
    return found


def config(request: TrainRequest, **changes: Any) -> dict[str, Any]:
    given = {"trial": "a", "request": request.dump(), "metrics": NAMES, "rungs": [2, 4]}
    return {**given, "workers": 1, "cpus": 1, "gpus": 0, **changes}


def test_each_rung_is_reported_and_the_last_when_the_weights_are_written(
    request_of: Callable[..., TrainRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    from ray import tune

    request, seen = request_of(), []
    monkeypatch.setattr(tune, "report", lambda line: seen.append((line["step"], request.finished)))
    train_trial(config(request))
    assert seen == [(2, False), (4, True)]
    train_trial(config(request))  # by another driver: trained, but not yet known to be
    assert seen[2:] == [(2, True), (4, True)]


def test_a_trial_whose_run_another_sweep_trains_leaves_and_has_not_failed(
    request_of: Callable[..., TrainRequest], reports: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    request, lock = request_of(), lifecycle.lock
    monkeypatch.setattr(lifecycle, "lock", functools.partial(lock, wait_s=0.1))
    with lock(request.folder):
        train_trial(config(request))
    assert [(line.get(LEFT), FAILED in line) for line in reports] == [(True, False)]


def test_a_trial_that_is_stopped_at_a_rung_holds_nothing_and_goes_on_later(
    request_of: Callable[..., TrainRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    from ray import tune

    request, seen = request_of(), []

    def stop(line: dict[str, Any]) -> None:
        seen.append(line["step"])
        if seen == [2]:
            raise SystemExit(0)  # as Tune does in the thread of a trial

    monkeypatch.setattr(tune, "report", stop)
    with pytest.raises(SystemExit):
        train_trial(config(request))
    assert checkpoint.steps(request.folder) == [2]
    with lifecycle.lock(request.folder, wait_s=0.1):
        pass
    train_trial(config(request))
    assert seen == [2, 2, 4]
    assert (request.folder / WEIGHTS).exists()


def test_a_trial_that_is_asked_to_leave_says_so_and_reports_no_rung(
    request_of: Callable[..., TrainRequest], reports: list[dict[str, Any]]
) -> None:
    request = request_of()
    request.folder.mkdir(parents=True)
    (request.folder / STOP).touch()
    train_trial(config(request))
    [report] = reports
    assert report[LEFT]
    assert math.isnan(report["val/mean_top1"])


def test_a_failure_on_purpose_is_reported_with_its_line_and_any_other_is_raised(
    request_of: Callable[..., TrainRequest], reports: list[dict[str, Any]]
) -> None:
    train_trial(config(request_of(batch_size=21)))
    assert "20 samples do not fill a batch of 21" in reports[0][FAILED]
    broken = request_of()
    (broken.folder / METRICS).mkdir(parents=True)
    with pytest.raises(IsADirectoryError):
        train_trial(config(broken))
    assert len(reports) == 1


def test_a_metric_that_is_not_there_is_named_with_those_that_are(
    request_of: Callable[..., TrainRequest], reports: list[dict[str, Any]]
) -> None:
    train_trial(config(request_of(), metrics=["val/mean_top1", "val/other/top1"]))
    assert reports[0][FAILED].startswith(
        "arm/seed-4 has no val/other/top1 at step 2, only val/shape/top1, val/mean_top1; aim at one of these"
    )
    train_trial(config(request_of(validate_every=3, log_every=2), rungs=[2, 4]))
    assert "has no val/mean_top1 at step 2, only no validation" in reports[1][FAILED]


def test_of_several_workers_the_curve_is_told_as_it_grows_and_they_are_asked_to_leave_when_it_stops(
    request_of: Callable[..., TrainRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    from ray import tune

    request, seen = request_of(), []
    request.folder.mkdir(parents=True)

    def train_group(
        function: object, item: dict[str, Any], workers: int, *given: Any, **options: Any
    ) -> None:
        assert (item["key"], workers, options["cpus"]) == ("arm/seed-4", 2, 1)
        for step in (1, 2, 3, 4):
            with (request.folder / METRICS).open("a") as file:
                file.write(json.dumps({"step": step, "val/mean_top1": 0.5}) + "\n")
            options["on_poll"]()
        if (request.folder / STOP).exists():
            raise Preempted("saved")

    def report(line: dict[str, Any]) -> None:
        seen.append(line["step"])
        if len(seen) == 3:
            raise SystemExit(0)

    monkeypatch.setattr(launch, "train_group", train_group)
    monkeypatch.setattr(tune, "report", report)
    train_trial(config(request, workers=2))
    assert seen == [2, 4]
    assert not (request.folder / STOP).exists()
    (request.folder / METRICS).unlink()
    with pytest.raises(SystemExit):
        train_trial(config(request, workers=2))
    assert (request.folder / STOP).exists()
    assert len(seen) == 3, "Tune never answers a report of a trial that it has stopped"


def test_a_curve_is_read_line_by_line_also_when_its_end_was_cut_off_and_is_written_again(
    tmp_path: Path,
) -> None:
    curve = tmp_path / METRICS
    news = growing(curve)
    assert list(news()) == []
    assert trained_s(curve) == 0.0
    curve.write_text('{"step": 1, "elapsed_s": 0.5}\n{"step": 2, "elapsed_s": 1.5}\n{"ste')
    assert [line["step"] for line in news()] == [1, 2]
    assert trained_s(curve) == 1.5
    curve.write_text('{"step": 1, "elapsed_s": 0.5}\n')
    assert list(news()) == []
    curve.write_text('{"step": 1}\n{"step": 2}\n{"step": 3}\n')
    assert [line["step"] for line in news()] == [3]
