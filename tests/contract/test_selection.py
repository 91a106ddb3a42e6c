"""Validation and test never mix: what chooses (checkpoints, weights, steps, arms) cannot see a test split."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
import yaml
from code_imports import ROOT, source, used

from rankclip import files, pretrain
from rankclip.config import Arm
from rankclip.data.benchmarks import benchmark_folder
from rankclip.evaluation.reference import NoiseEncoder
from rankclip.evaluation.validation import validation_top1
from rankclip.training.request import TrainRequest
from rankclip.training.validation import validation_set
from tests.unit.training import tiny

CHOOSING = (
    "rankclip.training.run",
    "rankclip.training.kept",
    "rankclip.pretrain",
    "rankclip.evaluation.validation",
)
"""They train, keep the best weights, and decide which runs are done."""

RESULTS = {"rankclip.evaluation.results", "rankclip.evaluation.scoring", "rankclip.evaluation.suite"}
"""They write and read scores on test."""


def listed(data: Path) -> dict[str, Any]:
    """What the manifest says of the one benchmark."""
    entry: dict[str, Any] = files.read_json(data / "benchmarks" / "manifest.json")["benchmarks"]["shape"]
    return entry


def write(data: Path, entry: dict[str, Any]) -> None:
    files.write_json(data / "benchmarks" / "manifest.json", {"benchmarks": {"shape": entry}})


def requests(data: Path, folder: Path) -> list[TrainRequest]:
    arm = Arm(objective=tiny.OBJECTIVE, overrides={})
    return pretrain.requests("arm", arm, tiny.MODEL, tiny.TRAIN, (0, 1), data, folder)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A study whose test split is other images than its validation split."""
    made = tiny.write(tmp_path)
    folder = made / "benchmarks" / "wds_shape"
    samples = benchmark_folder.read_split(folder, "val").samples
    benchmark_folder.write_split(folder, "test", samples[:2])
    write(made, listed(made) | {"test": {"digest": benchmark_folder.read_split(folder, "test").digest}})
    return made


def test_another_test_split_asks_for_the_same_runs_and_another_validation_split_does_not(
    data: Path, tmp_path: Path
) -> None:
    entry = listed(data)
    asked = requests(data, tmp_path)
    write(data, entry | {"test": {"digest": "another"}})
    assert requests(data, tmp_path) == asked
    write(data, {name: value for name, value in entry.items() if name != "test"})
    assert requests(data, tmp_path) == asked
    write(data, entry | {"val": {"digest": "another"}})
    assert {one.folder for one in requests(data, tmp_path)}.isdisjoint(one.folder for one in asked)


def test_no_digest_of_a_test_split_is_in_what_a_run_is_told(data: Path, tmp_path: Path) -> None:
    told = str([request.dump() for request in requests(data, tmp_path)])
    assert listed(data)["val"]["digest"] in told
    assert listed(data)["test"]["digest"] not in told


def test_a_run_follows_validation_whatever_is_wrong_with_the_test_split(data: Path, tmp_path: Path) -> None:
    before = validation_top1(NoiseEncoder(), [validation_set(requests(data, tmp_path)[0], "shape")])
    for tar in (data / "benchmarks" / "wds_shape" / "test").iterdir():
        tar.write_bytes(b"no tar")
    after = validation_top1(NoiseEncoder(), [validation_set(requests(data, tmp_path)[0], "shape")])
    assert before == after


def test_a_test_split_cannot_be_followed(data: Path) -> None:
    split = benchmark_folder.read_split(data / "benchmarks" / "wds_shape", "test")
    with pytest.raises(ValueError, match="split test of shape must not be read in training"):
        validation_top1(NoiseEncoder(), [split])


def test_what_chooses_never_names_the_test_split_and_imports_nothing_that_reads_scores_on_it() -> None:
    modules = used(*CHOOSING)
    assert not RESULTS & modules
    own = {name for name in modules if name.startswith("rankclip.training.")} | set(CHOOSING)
    for module in own:
        constants = {
            node.value
            for node in ast.walk(ast.parse(source(module).read_text()))
            if isinstance(node, ast.Constant)
        }
        assert "test" not in constants, f"{module} names the test split"


def test_training_depends_on_no_result() -> None:
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    needed = stages["pretrain"]["do"]["deps"]
    assert [path for path in needed if path.startswith(("results/", "reports/"))] == []
