"""kill -9 of a sweep's driver: nothing lives on, what had ended stays so, and MLflow has every trial once."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil

from rankclip.training import checkpoint
from tests.e2e import project
from tests.e2e.project import STUDY, Project, identity, wait_until

SWEEP = """
question: Which learning rate?
arms: [clip]
space:
  train.lr: {name: choice, values: [0.001, 0.002, 0.004]}
set: {}
aims:
  - {metric: val/mean_top1, mode: max}
search: {name: grid, points: 3}
stopping: {name: median, rungs: 3, least: 9}  # it saves at each third, and stops none of three
trials: 3
seed: 1000
reruns: {best: 1, seeds: 2}
"""


def test_a_sweep_whose_driver_is_killed_goes_on_and_trains_no_ended_trial_again(
    finished: Project, tmp_path: Path
) -> None:
    study = finished.twin(tmp_path / "study")
    (study.folder / "conf" / "sweep" / "rates.yaml").write_text(SWEEP)
    others = {path.parent for path in study.work.glob("runs/*/metrics.jsonl")}

    driver = study.start("rankclip", "sweep", "rates", "--concurrent", "1")
    wait_until(lambda: under_way(study, others) is not None, 120, "a trial is under way after one that ended")
    freeze(study)  # it is too short to be met otherwise
    run = under_way(study, others)
    project.kill(study, driver)
    assert run is not None
    at = checkpoint.steps(run)[-1]
    before, curve = ledger(study).read_bytes(), (run / "metrics.jsonl").read_bytes()
    [ended] = (path.parent for path in study.work.glob("runs/*/record.json") if path.parent not in others)
    whole = identity(ended)
    assert states(study) == {"proposed": 2, "ended": 1}

    again = study.start("rankclip", "sweep", "rates", "--resume", "--concurrent", "1")
    wait_until(lambda: states(study)["ended"] == 3 or again.poll() is not None, 120, "all trials have ended")
    again.terminate()  # re-runs are not what this is about
    assert again.wait() == 143
    wait_until(lambda: not study.processes(), 10, "what held CPUs is gone")

    assert ledger(study).read_bytes().startswith(before)
    assert states(study) == {"proposed": 3, "ended": 3}
    assert {line["number"] for line in lines(ledger(study)) if line["event"] == "ended"} == {0, 1, 2}
    assert whole["metrics.jsonl"] == identity(ended)["metrics.jsonl"], "it was trained again"
    saved = curve[: curve.index(b"\n", curve.index(b'"step": %d,' % at)) + 1]
    assert (run / "metrics.jsonl").read_bytes().startswith(saved), "it did not go on from its checkpoint"
    assert [line["step"] for line in lines(run / "metrics.jsonl")] == list(range(2, 25, 2))
    assert tracked(study) == {(f"clip trial-{number:03d}", "FINISHED"): 1 for number in range(3)}


def ledger(study: Project) -> Path:
    [path] = study.work.glob("sweeps/rates-*/trials.jsonl")
    return path


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]


def states(study: Project) -> Counter[str]:
    """How many lines of the ledger tell of a new trial, and how many of an end."""
    return Counter(line["event"] for line in lines(ledger(study)) if line["event"] != "report")


def under_way(study: Project, others: set[Path]) -> Path | None:
    """The run of a trial that has saved and not ended, while another has ended."""
    found = list(study.work.glob("sweeps/rates-*/trials.jsonl"))
    if not found or states(study)["ended"] != 1:
        return None
    saved = {path.parent for path in study.work.glob("runs/*/checkpoint-*")} - others
    return next((folder for folder in saved if not (folder / "record.json").exists()), None)


def freeze(study: Project) -> None:
    """Stops the process that trains; it can still be killed."""
    for process in study.processes():
        with contextlib.suppress(psutil.NoSuchProcess):
            if "ImplicitFunc" in " ".join(process.cmdline()):
                process.suspend()


def tracked(study: Project) -> Counter[tuple[str, str]]:
    """Name and status of the runs of trials in MLflow."""
    query = (
        "select runs.name, runs.status from runs join tags using (run_uuid) "
        "join experiments using (experiment_id) "
        "where tags.key = 'rankclip.kind' and tags.value = 'trial' and experiments.name = ?"
    )
    with closing(sqlite3.connect(study.folder / "mlflow.db")) as database:
        return Counter(database.execute(query, [f"rankclip/{STUDY}/rates"]))
