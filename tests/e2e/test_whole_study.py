"""What one `rankclip repro` leaves behind, and what DVC makes of a change afterwards."""

from __future__ import annotations

import csv
import json
import math
import re
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.e2e.project import STUDY, Project

ABLATION = (
    "arm,benchmark,metric,protocol,n_seeds,mean,sd,ci_low,ci_high,diff,diff_low,diff_high,diff_sd,degrees,p,p_alone,"
    "family,p_adjusted"
)
RESULTS = (
    "arm,seed,step,benchmark,split,metric,protocol,value,data_digest,checkpoint_digest,config_digest,classes_digest,"
    "templates_digest,precision,resize"
)


@pytest.fixture(scope="module")
def changed(finished: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The finished study in a place where params.yaml and code may be changed."""
    return finished.twin(tmp_path_factory.mktemp("changed") / "study")


@pytest.fixture
def database(finished: Project) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(f"file:{finished.folder / 'mlflow.db'}?mode=ro", uri=True)) as connection:
        yield connection


def test_the_report_and_its_tables_are_there_and_the_newest_is_linked(finished: Project) -> None:
    reports = finished.folder / "reports"
    for name in ("index.html", "ablation.csv", "ablation.md"):
        assert (reports / name).is_symlink()
        assert (reports / name).read_bytes() == (reports / STUDY / name).read_bytes()
    page = (reports / "index.html").read_text()
    assert "<svg" in page or "data:image" in page
    assert 'src="http' not in page
    assert 'href="http' not in page


def test_repro_says_where_the_time_went(finished: Project) -> None:
    said = (finished.folder.parent / "repro.log").read_text()
    _, table = re.split(r"^stage +seconds$", said, maxsplit=1, flags=re.MULTILINE)
    for stage in ("download", "shard", "pretrain --pending", "evaluate --pending", "report", "total"):
        assert re.search(rf"^{stage} +[0-9]+\.[0-9]$", table, re.MULTILINE)
    assert f"reports/{STUDY}/index.html" in table


def test_the_ablation_table_has_a_row_for_each_arm_benchmark_and_metric(finished: Project) -> None:
    with (finished.folder / "reports" / "ablation.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert ",".join(rows[0]) == ABLATION
    assert {row["arm"] for row in rows} == {"clip", "rankclip"}
    assert {row["n_seeds"] for row in rows} == {"2"}
    found = {(row["benchmark"], row["metric"]) for row in rows if row["arm"] == "rankclip" and row["diff"]}
    assert {("shape", "top1"), ("retrieval", "text_to_image_ndcg10")} <= found
    for row in rows:
        low, mean, high = (float(row[name]) for name in ("ci_low", "mean", "ci_high"))
        # values that are equal at all seeds say nothing of their spread
        assert low < mean < high if float(row["sd"]) else math.isnan(low) and math.isnan(high)


def test_every_input_row_ends_in_exactly_one_reason(finished: Project) -> None:
    lines = (finished.data / "source" / "captions.tsv").read_bytes().count(b"\n")
    summary = json.loads((finished.data / "ledger.json").read_text())
    ledger = pq.read_table(finished.data / "ledger.parquet", columns=["row", "reason"])
    assert summary["input"] == summary["ok"] + sum(summary["reasons"].values()) == lines
    assert ledger["row"].to_pylist() == list(range(lines))
    assert {"bad_scheme", "http_404", "decode", "not_an_image", "duplicate_exact"} <= set(summary["reasons"])
    manifest = json.loads((finished.data / "shards" / "manifest.json").read_text())
    assert manifest["samples"] == summary["ok"] > 200


def test_results_are_plain_tables_with_a_prediction_for_each_item(finished: Project) -> None:
    for arm in ("clip", "rankclip"):
        folder = finished.folder / "results" / STUDY / arm
        table = pq.read_table(folder / "results.parquet")
        assert ",".join(table.column_names) == RESULTS
        rows = table.to_pylist()
        assert {(row["arm"], row["seed"], row["step"]) for row in rows} == {(arm, 0, 24), (arm, 1, 24)}
        assert {(row["benchmark"], row["split"]) for row in rows} == {
            (name, split) for name in ("shape", "retrieval") for split in ("val", "test")
        }
        items = shape_top1(folder / "predictions.parquet", seed=1)
        assert len(items) == 48
        assert [sum(items) / len(items)] == pytest.approx(shape_top1(folder / "results.parquet", seed=1))


def shape_top1(path: Path, seed: int) -> list[float]:
    """Values of a table of results or predictions on the test split of `shape`."""
    wanted = {"seed": seed, "benchmark": "shape", "split": "test", "metric": "top1", "protocol": "zero_shot"}
    return [row["value"] for row in pq.read_table(path).to_pylist() if wanted.items() <= row.items()]


def test_an_override_of_an_arm_reaches_its_runs_alone(finished: Project) -> None:
    models = {
        run: json.loads((folder / "record.json").read_text())["config"]["model"]["name"]
        for run, folder in finished.trained().items()
    }
    assert models == {
        "clip/0": "shapes-rn",
        "clip/1": "shapes-rn",
        "rankclip/0": "shapes-vit",
        "rankclip/1": "shapes-vit",
    }


def test_mlflow_holds_one_finished_run_for_each_arm_and_seed(database: sqlite3.Connection) -> None:
    assert database.execute("select name from experiments where name like 'rankclip/%'").fetchall() == [
        (f"rankclip/{STUDY}",)
    ]
    rows = database.execute("select name, status from runs where lifecycle_stage = 'active'").fetchall()
    assert sorted(rows) == [(f"{arm}_s{seed}", "FINISHED") for arm in ("clip", "rankclip") for seed in (0, 1)]


def test_a_run_in_mlflow_has_flat_numeric_params_and_tags_of_code_and_data(
    finished: Project, database: sqlite3.Connection
) -> None:
    commit = finished.run("git", "rev-parse", "HEAD").strip()
    for (run,) in database.execute("select run_uuid from runs").fetchall():
        params = dict(database.execute("select key, value from params where run_uuid = ?", [run]))
        assert float(params["train.steps"]) == 24
        assert float(params["train.lr"]) in (1e-3, 3e-4)
        assert not [value for value in params.values() if value.startswith("{")]
        tags = dict(database.execute("select key, value from tags where run_uuid = ?", [run]))
        assert tags["git_commit"] == commit
        assert len(tags["data_digest"]) >= 16


def test_a_run_in_mlflow_has_whole_curves_and_final_metrics(
    finished: Project, database: sqlite3.Connection
) -> None:
    names = dict(database.execute("select run_uuid, name from runs").fetchall())
    for run, name in names.items():
        steps = database.execute(
            "select step from metrics where run_uuid = ? and key = 'loss' order by step", [run]
        ).fetchall()
        assert [step for (step,) in steps] == list(range(2, 25, 2))
        finals = dict(
            database.execute(
                "select key, value from latest_metrics where run_uuid = ? and key like 'final/%'", [run]
            )
        )
        arm, _, seed = name.rpartition("_s")
        scored = shape_top1(finished.folder / "results" / STUDY / arm / "results.parquet", int(seed))
        assert [finals["final/shape/top1"]] == pytest.approx(scored)
        assert [key for key in finals if key.startswith("final/retrieval/")]


def test_a_second_repro_runs_nothing(finished: Project) -> None:
    # what Python writes beside the sources is not code
    assert list(finished.folder.glob("pipeline/rankclip/models/__pycache__/*.pyc"))
    started = time.monotonic()
    finished.dvc("version")
    between = time.monotonic()
    said = finished.dvc("repro")
    took = time.monotonic() - between
    sys.stderr.write(
        f"\nstart of dvc {between - started:.1f} s, `dvc repro` with nothing to do {took:.1f} s\n"
    )
    assert "Data and pipelines are up to date" in said
    assert "Running stage" not in said
    assert took - (between - started) < 6  # 3 on an idle machine


def test_dvc_shows_metrics_plots_and_parameters(finished: Project, changed: Project) -> None:
    metrics = json.loads(finished.dvc("metrics", "show", "--json"))[""]["data"]
    shown = metrics[f"results/{STUDY}/rankclip/metrics.json"]["data"]
    assert 0 <= shown["shape"]["top1"] <= 1
    assert metrics[f"data/{STUDY}/ledger.json"]["data"]["ok"] > 200
    said = changed.dvc("plots", "show")
    page = Path(said.strip().splitlines()[-1].removeprefix("file://"))
    assert "val_mean_top1" in page.read_text()
    with changed.params() as values:
        before, values["train"]["lr"] = values["train"]["lr"], 0.002
    try:
        diff = json.loads(changed.dvc("params", "diff", "--json"))
    finally:
        with changed.params() as values:
            values["train"]["lr"] = before
    assert diff == {"params.yaml": {"train.lr": {"old": before, "new": 0.002, "diff": 0.001}}}


def stale(project: Project) -> set[str]:
    """Stages that DVC would run for their own sake, without what follows from those."""
    return set(json.loads(project.dvc("status", "--json")))


def planned(project: Project) -> set[str]:
    """Stages that `dvc repro` would run, those included that follow from others."""
    said = project.dvc("repro", "--dry", "--force-downstream")
    return {line.split("'")[1] for line in said.splitlines() if line.startswith("Running stage")}


def test_another_weight_of_one_arm_runs_that_arm_and_the_report_again(changed: Project) -> None:
    with changed.params() as values:
        weight = values["arms"]["rankclip"]["objective"]["terms"][1]["weight"]
        before, weight["final"] = weight["final"], 0.25
    try:
        assert stale(changed) == {"pretrain@rankclip", "report"}
        assert planned(changed) == {"pretrain@rankclip", "evaluate@rankclip", "report"}
    finally:
        with changed.params() as values:
            values["arms"]["rankclip"]["objective"]["terms"][1]["weight"]["final"] = before


def test_an_edit_of_the_report_code_trains_and_scores_nothing_again(changed: Project) -> None:
    code = changed.folder / "pipeline" / "rankclip" / "report" / "style.py"
    before = code.read_text()
    code.write_text(before + "\n# Another line.\n")
    try:
        assert stale(changed) == {"report"}
    finally:
        code.write_text(before)
