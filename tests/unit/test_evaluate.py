"""Scoring the runs of an arm."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from rankclip import evaluate, files, launch
from rankclip.data.benchmarks import write
from rankclip.errors import DataError, RunError
from rankclip.evaluation import embed_task, results
from rankclip.evaluation.spec import EvaluationSpec
from rankclip.launch import Outcome
from rankclip.models import trained
from tests.unit.evaluation.known import Pretended

SPEC = EvaluationSpec.model_validate({"benchmarks": [{"name": "digits", "images": 20, "side": 16}]})


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Tasks run here and at once, checkpoints load as noise; the keys that were scored."""
    keys: list[str] = []

    def map_tasks(
        function: Callable[[dict[str, Any]], Any], items: Sequence[dict[str, Any]], **unused: Any
    ) -> list[Outcome]:
        keys.extend(item["key"] for item in items)
        return [Outcome(item, function(item)) for item in items]

    monkeypatch.setattr(launch, "map_tasks", map_tasks)
    monkeypatch.setattr(launch, "session", contextlib.nullcontext)
    monkeypatch.setattr(launch, "has_gpus", lambda: False)
    monkeypatch.setattr(launch, "room", lambda cpus, gpus: 2)
    monkeypatch.setattr(trained, "load_encoder", lambda run, *how: Pretended(8, int(run.name[5:])))
    return keys


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with benchmarks and the runs of seeds 2 and 10 of an arm."""
    write.run(SPEC.benchmarks, SPEC, tmp_path / "benchmarks")
    for seed in (10, 2):
        add_run(tmp_path, seed)
    return tmp_path


def add_run(folder: Path, seed: int, arm: str = "clip") -> None:
    run = folder / "runs" / f"seed-{seed}"
    run.mkdir(parents=True)
    (run / "model.safetensors").write_bytes(f"weights {seed}".encode())
    files.write_json(run / "record.json", {"arm": arm, "seed": seed, "steps": 40, "config": {}})


def score(folder: Path, out: str = "out") -> Path:
    evaluate.run(SPEC, "clip", folder / "runs", folder / "benchmarks", folder / "work", folder / out)
    return folder / out


def test_an_arms_results_hold_every_seed_in_order(folder: Path, scored: list[str]) -> None:
    out = score(folder)
    seeds = files.read_table(out / results.RESULTS).column("seed").to_pylist()
    assert list(dict.fromkeys(seeds)) == [2, 10]
    assert set(files.read_json(out / results.METRICS)) == {"digits", "mean"}
    record = files.read_json(out / "record.json")
    assert record["counts"]["results"] == len(seeds)
    assert set(record["inputs"]) == {"seed-2", "seed-10", "benchmarks"}
    assert record["config"]["missing"] == {}


def test_a_set_that_is_not_here_stands_in_the_record_of_the_arm(folder: Path, scored: list[str]) -> None:
    manifest = folder / "benchmarks" / "manifest.json"
    files.write_json(manifest, files.read_json(manifest) | {"missing": {"cars": "pull cars", "dtd": "other"}})
    more = {"benchmarks": [*SPEC.dump()["benchmarks"], {"name": "cars"}]}
    spec = EvaluationSpec.model_validate(more)
    evaluate.run(spec, "clip", folder / "runs", folder / "benchmarks", folder / "work", folder / "out")
    record = files.read_json(folder / "out" / "record.json")
    assert record["config"]["missing"] == {"cars": "pull cars"}


def test_only_what_is_not_finished_is_scored(folder: Path, scored: list[str]) -> None:
    first = score(folder)
    assert scored == ["clip/seed-2", "clip/seed-10"]
    add_run(folder, 11)
    second = score(folder, "again")
    assert scored == ["clip/seed-2", "clip/seed-10", "clip/seed-11"]
    before, after = (files.read_table(out / results.RESULTS).to_pylist() for out in (first, second))
    assert after[: len(before)] == before


def test_runs_of_another_arm_are_refused(folder: Path, scored: list[str]) -> None:
    add_run(folder, 11, arm="rankclip")
    with pytest.raises(DataError, match="holds runs of rankclip, not only of clip"):
        score(folder)


def test_an_arm_without_runs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no run"):
        score(tmp_path)


def test_a_run_that_fails_is_one_line_and_leaves_no_results(
    folder: Path, scored: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def map_tasks(function: Any, items: Sequence[dict[str, Any]], **unused: Any) -> list[Outcome]:
        return [Outcome(item, error=f"{item['key']} failed: another model") for item in items]

    monkeypatch.setattr(launch, "map_tasks", map_tasks)
    with pytest.raises(RunError, match="clip/seed-2 failed: another model"):
        score(folder)
    assert not (folder / "out").exists()


def test_sets_are_embedded_apart_where_there_is_room_and_work(
    folder: Path, scored: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = evaluate.requests(SPEC, folder / "runs", folder / "benchmarks", folder / "work")
    assert evaluate.embedding(asked, 8) == []
    monkeypatch.setattr(embed_task, "WORTH_SHARING", 10)
    assert evaluate.embedding(asked, 3) == []
    (first, second) = evaluate.embedding(asked, 4)
    assert first["key"] == "clip/seed-2 (digits)"
    assert first["precision"] == "fp32"
    assert second["checkpoint"] == str(asked[1].run)
    place = str(folder / "benchmarks/wds_digits")
    assert first["sets"] == {"val": {"digits": place}, "test": {"digits": place}}


def test_the_sets_of_a_checkpoint_are_embedded_by_a_cluster(
    folder: Path, scored: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[dict[str, Any]] = []
    monkeypatch.setattr(embed_task, "embed_sets", lambda request: sent.append(request))
    place = folder / "benchmarks" / "wds_digits"
    sets = {"digits": place, "again": place, "sugarcrepe": folder}
    asked = ("RN50-quickgelu:cc12m", None, sets, folder / "work", "cpu", "fp32")
    evaluate.embed_apart(*asked)
    assert sent == []
    monkeypatch.setattr(launch, "on_cluster", lambda: True)
    evaluate.embed_apart(*asked)
    assert sent == []
    monkeypatch.setattr(embed_task, "WORTH_SHARING", 10)
    evaluate.embed_apart(*asked)
    assert [request["sets"] for request in sent] == [
        {"test": {"digits": str(place)}},
        {"test": {"again": str(place)}},
    ]
    assert {request["checkpoint"] for request in sent} == {"RN50-quickgelu:cc12m"}


def test_a_cluster_embeds_with_what_whoever_scores_has(
    folder: Path, scored: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[dict[str, Any]] = []
    monkeypatch.setattr(embed_task, "embed_sets", lambda request: sent.append(request))
    monkeypatch.setattr(embed_task, "WORTH_SHARING", 10)
    monkeypatch.setattr(launch, "on_cluster", lambda: True)
    monkeypatch.setattr(launch, "has_gpus", lambda: True)  # of which this process has none
    place = folder / "benchmarks" / "wds_digits"
    sets = {"digits": place, "again": place}
    evaluate.embed_apart("RN50-quickgelu:cc12m", None, sets, folder / "work", "auto", "auto", probes=False)
    assert len(sent) == 2
    assert {(each["device"], each["precision"], each["probes"]) for each in sent} == {("cpu", "fp32", False)}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(launch, "has_gpus", lambda: False)  # where this process has one
    evaluate.embed_apart("RN50-quickgelu:cc12m", None, sets, folder / "work", "auto", "auto")
    assert len(sent) == 2


def test_the_driver_of_the_stage_needs_no_torch() -> None:
    code = "import sys, rankclip.evaluate; print([m for m in ('torch', 'ray') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
