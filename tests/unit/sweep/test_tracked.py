"""A sweep in a real MLflow database, from its ledger and its curves."""

from __future__ import annotations

import base64
import json
import logging
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from rankclip import files, tracking
from rankclip.sweep.ledger import Trial
from rankclip.sweep.outcome import AS_IT_IS, Outcome, Setting
from rankclip.sweep.spec import SweepSpec
from rankclip.sweep.tracked.log import SweepLog
from rankclip.sweep.tracked.rows import Rerun
from rankclip.training.machine import Machine
from rankclip.training.request import METRICS, TrainRequest
from tests.unit.training import tiny

TOP1 = "val/mean_top1"
SPEC = SweepSpec.model_validate(
    {
        "question": "Which learning rate?",
        "arms": ["ranked"],
        "space": {
            "train.lr": {"name": "loguniform", "low": 0.001, "high": 0.1},
            "train.clip_norm": {"name": "choice", "values": [None, 1.0]},
        },
        "set": {},
        "aims": [{"metric": TOP1, "mode": "max"}],
        "search": {"name": "random", "seed": 0},
        "stopping": {"name": "asha", "rungs": 2, "reduction": 2},
        "trials": 4,
        "seed": 10,
        "reruns": {"best": 1, "seeds": 2},
    }
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database, which takes seconds to make."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        tracking.ready(folder)
    return folder / "mlflow.db"


@pytest.fixture
def sweep(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sweep]:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "mlflow.db").write_bytes(made.read_bytes())
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    yield Sweep(tmp_path)
    assert not list((tmp_path / "elsewhere").iterdir()), "MLflow wrote where it stood"


@dataclass
class Sweep:
    """A sweep whose runs are written by hand."""

    root: Path
    trials: list[Trial] = field(default_factory=list)
    settings: list[Setting] = field(default_factory=list)
    reruns: list[Rerun] = field(default_factory=list)

    @property
    def outcome(self) -> Outcome:
        best = max(self.settings, key=lambda one: sum(one.scores.values()), default=None)
        return Outcome(
            "rates", "toy", SPEC, {"ranked": 8}, self.trials, self.settings,
            {"ranked": best} if best else {}, "complete" if best else "",
        )  # fmt: skip

    def driver(self) -> SweepLog:
        """A driver that knows nothing but the files."""
        return SweepLog(self.root, self.root / "sweeps" / "rates-0123", self.outcome, self.of_trial)

    def request(self, lr: float, seed: int, key: str) -> TrainRequest:
        return TrainRequest(
            key=key, arm="ranked", seed=seed, model=tiny.MODEL, objective=tiny.OBJECTIVE,
            train=tiny.TRAIN.model_copy(update={"lr": lr}), shards=self.root, shards_digest="01234",
            benchmarks=self.root, validation={}, code="", machine=Machine(device="cpu"),
            work=self.root / "runs",
        )  # fmt: skip

    def of_trial(self, trial: Trial) -> TrainRequest:
        return self.request(trial.values["train.lr"], 10, trial.name)

    def train(self, request: TrainRequest, *scores: float) -> None:
        """Writes a curve that reads a score every 4 steps."""
        request.folder.mkdir(parents=True, exist_ok=True)
        lines = [
            {"step": 4 * k + 4, "loss": 2.0, TOP1: score, "elapsed_s": 1.0 + k}
            for k, score in enumerate(scores)
        ]
        (request.folder / METRICS).write_text("".join(json.dumps(line) + "\n" for line in lines))

    def trial(self, lr: float, state: Any, *scores: float) -> None:
        reports = [{"step": 4 * k + 4, TOP1: score} for k, score in enumerate(scores)]
        trial = Trial("ranked", len(self.trials), {"train.lr": lr, "train.clip_norm": None}, state, reports)
        self.train(self.of_trial(trial), *scores)
        self.trials.append(trial)

    def rerun(self, name: str, lr: float, *ends: float) -> None:
        for seed, end in enumerate(ends, start=11):
            request = self.request(lr, seed, f"ranked/{name.replace(' ', '-')}/seed-{seed}")
            self.train(request, 0.1, end)
            files.write_json(request.folder / "record.json", {})
            self.reruns.append(Rerun("ranked", name, request))
        self.settings.append(Setting("ranked", name, {"train.lr": lr}, dict(enumerate(ends, start=11))))

    @property
    def client(self) -> Any:
        from mlflow import MlflowClient

        return MlflowClient(tracking_uri=tracking.uri(self.root))

    @property
    def experiment(self) -> Any:
        return self.client.get_experiment_by_name("rankclip/toy/rates")

    @property
    def runs(self) -> dict[str, Any]:
        found = self.client.search_runs([self.experiment.experiment_id])
        assert len({run.info.run_name for run in found}) == len(found)
        return {run.info.run_name: run for run in found}

    def view(self, name: str = "comparison") -> Any:
        text = self.experiment.tags[f"mlflow.sharedViewState.{name}"]
        return json.loads(zlib.decompress(base64.b64decode(text.removeprefix("deflate;"))))


def complete(sweep: Sweep) -> None:
    sweep.trial(0.01, "finished", 0.2, 0.5)
    sweep.trial(0.02, "stopped", 0.1)
    sweep.trial(0.03, "failed", 0.1)
    sweep.rerun(AS_IT_IS, 0.05, 0.3, 0.4)
    sweep.rerun("trial-000", 0.01, 0.4, 0.6)


def test_every_trial_rerun_and_setting_is_one_run_below_the_sweeps(sweep: Sweep) -> None:
    complete(sweep)
    sweep.driver().close(sweep.outcome, sweep.reruns)
    parent = sweep.runs.pop("rates")
    runs = {name: run for name, run in sweep.runs.items() if name != "rates"}
    assert set(runs) == {
        "ranked trial-000", "ranked trial-001", "ranked trial-002",
        "ranked as it is seed 11", "ranked as it is seed 12", "ranked as it is mean",
        "ranked trial-000 seed 11", "ranked trial-000 seed 12", "ranked trial-000 mean",
    }  # fmt: skip
    assert {run.data.tags["mlflow.parentRunId"] for run in runs.values()} == {parent.info.run_id}
    assert "mlflow.parentRunId" not in parent.data.tags


def test_a_child_says_how_it_ended_and_what_it_came_to(sweep: Sweep) -> None:
    complete(sweep)
    sweep.driver().close(sweep.outcome, sweep.reruns)
    runs = sweep.runs
    ends = {name[-3:]: run.info.status for name, run in runs.items() if name[-3:] in ("000", "001", "002")}
    assert ends == {"000": "FINISHED", "001": "KILLED", "002": "FAILED"}
    first = runs["ranked trial-000"].data
    assert first.metrics["final/val/mean_top1"] == 0.5
    assert first.metrics["final/step"] == 8
    assert first.metrics["best/val/mean_top1"] == 0.5
    assert {"state": "finished", "rung": "2", "trial": "0"}.items() <= first.tags.items()
    assert runs["ranked trial-001"].data.tags["state"] == "stopped"
    history = sweep.client.get_metric_history(runs["ranked trial-000"].info.run_id, TOP1)
    assert [(point.step, point.value) for point in history] == [(4, 0.2), (8, 0.5)]


def test_every_child_has_a_value_of_every_searched_key(sweep: Sweep) -> None:
    complete(sweep)
    sweep.driver().close(sweep.outcome, sweep.reruns)
    children = [run.data.params for name, run in sweep.runs.items() if name != "rates"]
    assert all(set(SPEC.space) <= set(params) for params in children)
    assert {params["train.clip_norm"] for params in children} == {"null"}
    assert sweep.runs["ranked as it is seed 11"].data.params["train.lr"] == "0.05"


def test_the_mean_over_seeds_is_a_run_of_its_own_with_its_interval(sweep: Sweep) -> None:
    complete(sweep)
    sweep.driver().close(sweep.outcome, sweep.reruns)
    mean = sweep.runs["ranked trial-000 mean"].data
    assert mean.metrics["agg/val/mean_top1_mean"] == pytest.approx(0.5)
    assert mean.metrics["agg/val/mean_top1_sd"] == pytest.approx(0.1 * 2**0.5)
    assert mean.metrics["agg/val/mean_top1_ci95_low"] == pytest.approx(0.5 - 12.706 * 0.1, abs=1e-3)
    assert mean.tags["winner"] == "yes"
    assert "seed" not in mean.params
    assert sweep.runs["ranked as it is mean"].data.tags["winner"] == "no"
    parent = sweep.runs["rates"].data
    assert parent.tags["winner"] == "ranked trial-000"
    assert parent.metrics["winner/ranked/val/mean_top1_mean"] == pytest.approx(0.5)


def test_a_later_driver_goes_on_with_the_same_runs(sweep: Sweep) -> None:
    sweep.trial(0.01, "proposed", 0.2)
    sweep.driver().send(sweep.outcome)  # and is killed
    assert sweep.runs["ranked trial-000"].info.status == "RUNNING"
    before = {name: run.info.run_id for name, run in sweep.runs.items()}
    sweep.trials.clear()
    complete(sweep)
    for _ in range(2):
        sweep.driver().close(sweep.outcome, sweep.reruns)
    after = sweep.runs
    assert before.items() <= {name: run.info.run_id for name, run in after.items()}.items()
    assert len(after) == 10
    history = sweep.client.get_metric_history(before["ranked trial-000"], TOP1)
    assert [(point.step, point.value) for point in history] == [(4, 0.2), (8, 0.5)]
    ended = {name: run.info.end_time for name, run in after.items() if name != "rates"}
    sweep.driver().close(sweep.outcome, sweep.reruns)
    assert ended == {name: run.info.end_time for name, run in sweep.runs.items() if name != "rates"}


def test_what_was_under_way_is_interrupted_until_a_later_driver_takes_it_up(sweep: Sweep) -> None:
    sweep.trial(0.01, "proposed", 0.2)
    sweep.driver().close(replace(sweep.outcome, ended="stopped"))
    trial = sweep.runs["ranked trial-000"]
    assert (trial.info.status, trial.data.tags["state"]) == ("KILLED", "interrupted")
    assert sweep.runs["rates"].info.status == "KILLED"
    sweep.driver().send(sweep.outcome)
    trial = sweep.runs["ranked trial-000"]
    assert (trial.info.status, trial.data.tags["state"]) == ("RUNNING", "training")


def test_a_sweep_that_has_no_winner_of_every_arm_yet_is_not_finished(sweep: Sweep) -> None:
    complete(sweep)
    half = replace(sweep.outcome, steps={"ranked": 8, "other": 8}, ended="stopped")
    sweep.driver().close(half, sweep.reruns)
    assert sweep.runs["rates"].info.status == "KILLED"
    sweep.driver().close(replace(half, ended="failed"), sweep.reruns)
    assert sweep.runs["rates"].info.status == "FAILED"
    sweep.driver().close(sweep.outcome, sweep.reruns)
    assert sweep.runs["rates"].info.status == "FINISHED"


def test_runs_of_several_arms_are_coloured_by_arm(sweep: Sweep) -> None:
    complete(sweep)
    several = replace(sweep.outcome, steps={"other": 8, "ranked": 8})
    sweep.driver().close(several, sweep.reruns)
    colours = {run.data.tags.get("mlflow.runColor") for name, run in sweep.runs.items() if "seed" in name}
    assert len(colours) == 1
    assert None not in colours


def test_a_damaged_line_of_a_curve_is_passed_over_by_a_sweep_too(sweep: Sweep) -> None:
    sweep.trial(0.01, "finished", 0.2, 0.5)
    curve = sweep.of_trial(sweep.trials[0]).folder / METRICS
    curve.write_bytes(curve.read_bytes().replace(b"\n", b"\n{damaged\n", 1))
    sweep.driver().close(sweep.outcome)
    assert sweep.runs["ranked trial-000"].data.metrics["final/val/mean_top1"] == 0.5


def test_a_trial_that_waits_has_no_run_yet(sweep: Sweep) -> None:
    sweep.trials.append(Trial("ranked", 0, {"train.lr": 0.01}))
    sweep.driver().send(sweep.outcome)
    assert set(sweep.runs) == {"rates"}


def test_an_unreachable_tracker_costs_a_sweep_one_warning_and_nothing_is_lost(
    sweep: Sweep, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    complete(sweep)
    (sweep.root / "file").touch()
    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING, logger="rankclip"):
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{sweep.root}/file/mlflow.db")
        driver = sweep.driver()
        driver.close(sweep.outcome, sweep.reruns)
        assert driver.page() == ""
    assert len([record for record in caplog.records if record.name.startswith("rankclip")]) == 1
    sweep.driver().close(sweep.outcome, sweep.reruns)
    assert len(sweep.runs) == 10


def test_the_winners_weights_are_a_registered_model_whose_alias_moves(sweep: Sweep) -> None:
    def named() -> str:
        version = sweep.client.get_model_version_by_alias("rankclip-toy-rates", "winner")
        return str(version.tags["rankclip.weights"])

    def weights(setting: str, seed: int) -> str:
        [found] = [one.request for one in sweep.reruns if (one.setting, one.request.seed) == (setting, seed)]
        return (found.folder / "model.safetensors").as_uri()

    complete(sweep)
    sweep.driver().close(sweep.outcome, sweep.reruns)
    assert named() == weights("trial-000", 12)
    sweep.rerun("trial-001", 0.02, 0.9, 0.8)
    for _ in range(2):
        sweep.driver().close(sweep.outcome, sweep.reruns)
    assert named() == weights("trial-001", 11)
    assert len(sweep.client.search_model_versions("name = 'rankclip-toy-rates'")) == 2
    listed = sweep.client.search_logged_models([sweep.experiment.experiment_id])
    assert len(listed) == len(sweep.reruns)
    assert {model.source_run_id for model in listed} <= {run.info.run_id for run in sweep.runs.values()}


def test_the_experiment_opens_as_a_comparison_and_says_what_to_look_at(sweep: Sweep) -> None:
    sweep.trial(0.01, "finished", 0.2, 0.5)
    driver = sweep.driver()
    driver.send(sweep.outcome)
    assert "no winner" in sweep.experiment.tags["mlflow.note.content"]
    assert sweep.view("by-arm")["searchFilter"] == "tags.`rankclip.kind` = 'trial'"
    complete(sweep)
    driver.close(sweep.outcome, sweep.reruns)
    assert driver.page() == tracking.page(sweep.root, "rankclip/toy/rates")
    assert "viewStateShareKey=comparison" in driver.page()
    tags = sweep.experiment.tags
    assert tags["mlflow.experimentKind"] == "custom_model_development"
    assert tags["mlflow.experiment.primaryMetric.name"] == "final/val/mean_top1"
    assert "Which learning rate?" in tags["mlflow.note.content"]
    assert "| ranked | **trial-000, winner** | 0.5000" in tags["mlflow.note.content"]
    view = sweep.view()
    [lines] = [chart for chart in view["compareRunCharts"] if chart["type"] == "PARALLEL"]
    assert lines["selectedParams"] == list(SPEC.space)
    assert lines["selectedMetrics"][-1] == "final/val/mean_top1"
    assert view["orderByKey"] == "metrics.`final/val/mean_top1`"
    assert view["orderByAsc"] is False
    sections = {section["uuid"] for section in view["compareRunSections"]}
    assert {chart["metricSectionId"] for chart in view["compareRunCharts"]} <= sections
    assert sweep.view("by-arm")["groupBy"]["groupByKeys"] == [{"mode": "param", "groupByData": "arm"}]


def test_the_run_of_a_sweep_shows_how_busy_the_machine_was(sweep: Sweep) -> None:
    sweep.driver().close(sweep.outcome)
    found = sweep.runs["rates"].data.metrics
    assert 0 <= found["system/cpu_utilization_percentage"] <= 100
    assert found["system/system_memory_usage_megabytes"] > 0
