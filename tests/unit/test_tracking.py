"""A real MLflow database in a temporary folder."""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rankclip import tracking
from rankclip.tracking import RunLog, Tracker, ready
from rankclip.tracking.lines import flatten, unsent

FRESH = {"run": "r", "offset": 0, "step": -1, "last": ""}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("repository")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        yield folder


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder that is not the repository's: nothing may land here."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path


def client(root: Path) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=tracking.uri(root))


def open_run(root: Path, study: str, folder: Path, key: str = "k1") -> RunLog:
    return Tracker(root, study, primary_metric="final/shape/top1").open_run(
        "rankclip seed 1",
        key,
        folder,
        params={
            "train": {"lr": 1e-3, "seed": 1, "betas": [0.9, 0.98]},
            "objective": {"name": "rankclip", "x": None},
        },
        tags={"arm": "rankclip", "git_commit": "abc"},
        data_digest="0123456789abcdef",
    )


def runs(root: Path, study: str) -> list[Any]:
    found = client(root).get_experiment_by_name(f"rankclip/{study}")
    return list(client(root).search_runs([found.experiment_id]))


def write(metrics: Path, *records: dict[str, float], mode: str = "a") -> None:
    with metrics.open(mode) as file:
        file.writelines(json.dumps(record) + "\n" for record in records)


def curve(root: Path, study: str, metric: str) -> list[tuple[int, float]]:
    [run] = runs(root, study)
    history = client(root).get_metric_history(run.info.run_id, metric)
    return sorted((point.step, point.value) for point in history)


def test_a_run_carries_flat_parameters_tags_data_and_final_scores(root: Path, elsewhere: Path) -> None:
    run = open_run(root, "complete", elsewhere)
    run.log_final({"shape": {"top1": 0.5, "top5": float("nan")}, "colour": {"top1": 0.25}})
    run.finish()
    [found] = runs(root, "complete")
    assert found.info.run_name == "rankclip seed 1"
    assert found.info.status == "FINISHED"
    assert found.data.params == {
        "train.lr": "0.001",
        "train.seed": "1",
        "train.betas": "[0.9, 0.98]",
        "objective.name": "rankclip",
    }
    assert found.data.metrics == {"final/shape/top1": 0.5, "final/colour/top1": 0.25}
    tags = {"arm": "rankclip", "git_commit": "abc", "data_digest": "0123456789abcdef", "rankclip.key": "k1"}
    assert tags.items() <= found.data.tags.items()
    [data] = found.inputs.dataset_inputs
    assert (data.dataset.name, data.dataset.digest) == ("train", "0123456789abcdef")
    experiment = client(root).get_experiment_by_name("rankclip/complete")
    assert experiment.tags["mlflow.experiment.primaryMetric.name"] == "final/shape/top1"
    assert experiment.artifact_location == (root / "mlartifacts" / "complete").as_uri()
    assert (root / "mlflow.db").exists()
    assert list((elsewhere / "elsewhere").iterdir()) == []


def test_a_key_names_one_run_however_often_it_is_opened(root: Path, tmp_path: Path) -> None:
    first = open_run(root, "again", tmp_path)
    first.log_final({"shape": {"top1": 0.5}})
    first.finish("FAILED")
    second = open_run(root, "again", tmp_path)
    assert [run.info.status for run in runs(root, "again")] == ["RUNNING"]
    second.log_final({"shape": {"top1": 0.5}})
    assert curve(root, "again", "final/shape/top1") == [(0, 0.5)]
    second.log_final({"shape": {"top1": 0.4}})  # evaluated again: the newest counts, not the greatest
    assert runs(root, "again")[0].data.metrics["final/shape/top1"] == 0.4
    open_run(root, "again", tmp_path / "other", key="k2")
    assert len(runs(root, "again")) == 2


def test_a_finished_run_keeps_its_end_until_there_is_something_new(root: Path, tmp_path: Path) -> None:
    def state() -> tuple[str, int]:
        [run] = runs(root, "ended")
        return run.info.status, run.info.end_time

    def adopt(top1: float) -> None:
        run = open_run(root, "ended", tmp_path)
        run.follow(metrics)
        run.log_final({"shape": {"top1": top1}})
        run.finish()

    metrics = tmp_path / "metrics.jsonl"
    write(metrics, {"step": 1, "loss": 4})
    adopt(0.5)
    ends = [state()]
    adopt(0.5)
    assert state() == ends[0]
    for change in (lambda: adopt(0.4), lambda: (write(metrics, {"step": 2, "loss": 3}), adopt(0.4))):
        change()
        ends.append(state())
    assert {status for status, _ in ends} == {"FINISHED"}
    assert len({end for _, end in ends}) == 3
    write(metrics, {"step": 3, "loss": 2})
    open_run(root, "ended", tmp_path).follow(metrics)
    assert state()[0] == "RUNNING"


def test_each_complete_line_is_sent_once_over_restarts(root: Path, tmp_path: Path) -> None:
    metrics = tmp_path / "metrics.jsonl"
    run = open_run(root, "follow", tmp_path)
    run.follow(metrics)  # not there yet
    write(metrics, *({"step": step, "loss": 1 / (step + 1), "elapsed_s": 0.1 * step} for step in range(700)))
    with metrics.open("a") as file:
        file.write('{"step": 700, "lo')  # being written
    run.follow(metrics)
    assert len(curve(root, "follow", "loss")) == 700  # 1400 points, more than one request takes
    with metrics.open("a") as file:
        file.write('ss": 0.5, "elapsed_s": 70.0}\n')
    again = open_run(root, "follow", tmp_path)
    again.follow(metrics)
    again.follow(metrics)
    (tmp_path / "mlflow.json").unlink()  # died between sending and remembering
    open_run(root, "follow", tmp_path).follow(metrics)
    assert curve(root, "follow", "loss") == [(step, 1 / (step + 1)) for step in range(700)] + [(700, 0.5)]


def test_what_is_not_finite_stays_out_of_curves_and_is_named(root: Path, tmp_path: Path) -> None:
    run = open_run(root, "finite", tmp_path)
    write(
        tmp_path / "m.jsonl", {"step": 1, "loss": 2.0}, {"step": 2, "loss": float("nan"), "lr": float("inf")}
    )
    run.follow(tmp_path / "m.jsonl")
    assert curve(root, "finite", "loss") == [(1, 2.0)]
    assert runs(root, "finite")[0].data.tags["rankclip.not_finite"] == "loss at step 2"


def test_an_unreachable_tracker_costs_one_warning_and_nothing_is_lost(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    blocked = tmp_path / "file"
    blocked.touch()
    write(tmp_path / "m.jsonl", {"step": 1, "loss": 2.0})
    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING, logger="rankclip"):
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{blocked}/mlflow.db")
        run = open_run(root, "offline", tmp_path)
        run.follow(tmp_path / "m.jsonl")
        run.log_final({"shape": {"top1": 0.5}})
        run.finish()
    warnings = [record.getMessage() for record in caplog.records if record.name.startswith("rankclip")]
    assert len(warnings) == 1
    assert f"sqlite:///{blocked}/mlflow.db does not take the results" in warnings[0]
    assert "\n" not in warnings[0]
    later = open_run(root, "offline", tmp_path)
    later.follow(tmp_path / "m.jsonl")
    later.log_final({"shape": {"top1": 0.5}})
    assert curve(root, "offline", "loss") == [(1, 2.0)]
    assert curve(root, "offline", "final/shape/top1") == [(0, 0.5)]


DIES_AMONG_MIGRATIONS = """
import os, sys, sqlalchemy
from pathlib import Path
from rankclip import tracking

@sqlalchemy.event.listens_for(sqlalchemy.engine.Engine, "after_cursor_execute")
def die(connection, cursor, statement, *_):
    if "ALTER TABLE" in statement:
        os.kill(os.getpid(), 9)

tracking.ping(Path(sys.argv[1]))
"""


def test_a_database_whose_maker_was_killed_is_made_again(tmp_path: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", DIES_AMONG_MIGRATIONS, str(tmp_path)])
    assert killed.returncode == -9
    tracking.ping(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["mlflow.db"]


def test_of_two_makers_of_a_database_the_first_ones_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = shutil.copyfile

    def meanwhile(source: Path, target: Path) -> None:
        copy(source, target)
        (tmp_path / "mlflow.db").write_text("of another process")

    monkeypatch.setattr("rankclip.tracking.database.shutil.copyfile", meanwhile)
    ready(tmp_path)
    assert (tmp_path / "mlflow.db").read_text() == "of another process"


def test_a_run_below_another_is_found_again_and_moves_with_it(root: Path, tmp_path: Path) -> None:
    def opened(parent: str) -> None:
        tracker = Tracker(root, "study", sweep="lr")
        above = tracker.open_run(parent, parent, tmp_path / parent)
        tracker.open_run("below", "below", tmp_path / "below", parent=above)

    opened("one")
    opened("one")
    by_name = {run.info.run_name: run for run in runs(root, "study/lr")}
    assert set(by_name) == {"one", "below"}
    assert by_name["below"].data.tags["mlflow.parentRunId"] == by_name["one"].info.run_id
    client(root).delete_run(by_name["one"].info.run_id)
    opened("one")
    again = {run.info.run_name: run for run in runs(root, "study/lr")}
    assert again["below"].info.run_id == by_name["below"].info.run_id
    assert (
        again["below"].data.tags["mlflow.parentRunId"]
        == again["one"].info.run_id
        != by_name["one"].info.run_id
    )


def test_a_page_opens_an_experiment_as_one_of_training_with_its_view(root: Path, tmp_path: Path) -> None:
    open_run(root, "shown", tmp_path)
    found = client(root).get_experiment_by_name("rankclip/shown")
    assert found.tags["mlflow.experimentKind"] == "custom_model_development"
    start = f"/#/experiments/{found.experiment_id}/runs?workflowType=machine_learning&compareRunsMode="
    assert tracking.page(root, "rankclip/shown") == f"{start}CHART&viewStateShareKey=comparison"
    assert tracking.page(root, "rankclip/shown", view="other", charts=False) == f"{start}TABLE"
    assert tracking.page(root, "rankclip/nothing") == ""


def test_a_deleted_experiment_comes_back(root: Path, tmp_path: Path) -> None:
    open_run(root, "deleted", tmp_path)
    client(root).delete_experiment(client(root).get_experiment_by_name("rankclip/deleted").experiment_id)
    open_run(root, "deleted", tmp_path)
    assert client(root).get_experiment_by_name("rankclip/deleted").lifecycle_stage == "active"


def test_the_users_address_wins_and_ours_is_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    assert tracking.uri(Path()) == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    assert tracking.uri(Path()) == "http://127.0.0.1:5000"


def test_a_file_cut_back_by_a_resumed_run_is_followed_from_there(tmp_path: Path) -> None:
    metrics = tmp_path / "metrics.jsonl"
    write(metrics, {"step": 1, "loss": 4}, {"step": 2, "loss": 3}, {"step": 3, "loss": 2})
    records, memory = unsent(metrics, FRESH)
    assert [record["step"] for record in records] == [1, 2, 3]
    write(metrics, {"step": 1, "loss": 4}, {"step": 2, "loss": 3.5}, mode="w")
    assert unsent(metrics, memory)[0] == []
    write(metrics, {"step": 3, "loss": 2.25}, {"step": 4, "loss": 1})
    records, memory = unsent(metrics, memory)
    assert [record["step"] for record in records] == [3, 4]
    assert unsent(metrics, memory) == ([], memory)


def test_a_damaged_line_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(b'{"step": 1}\n{"step": 2, "lo{"step": 3}\n[4]\n\xff\n{"step": 5}\n')
    assert unsent(tmp_path / "m", FRESH)[0] == [{"step": 1}, {"step": 5}]


def test_settings_become_flat_texts() -> None:
    assert flatten({"a": {"b": {"c": 1}, "d": True}, "e": [], "f": None, "g": "x"}) == {
        "a.b.c": "1",
        "a.d": "true",
        "e": "[]",
        "g": "x",
    }


def test_importing_tracking_does_not_import_mlflow() -> None:
    code = "import sys, rankclip.tracking; assert 'mlflow' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
