"""RANKCLIP_WORKERS: one run spread over real processes is the run of one process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.e2e.project import STUDY, Project


@pytest.fixture(scope="module")
def study(finished: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The data of the finished study, and one seed to train."""
    twin = finished.twin(tmp_path_factory.mktemp("workers") / "study")
    with twin.params() as values:
        values["study"]["seeds"] = [0]
    return twin


def train(study: Project, arm: str, code: int = 0) -> str:
    return study.stage(
        "pretrain", "--arm", arm, "--data", f"data/{STUDY}", "--work", "work/two", "--out", f"two/{arm}",
        code=code, RANKCLIP_WORKERS="2",
    )  # fmt: skip


def curve(run: Path, *names: str) -> list[list[float]]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [[line[name] for name in names] for line in lines]


def test_two_workers_train_the_weights_of_one(finished: Project, study: Project) -> None:
    train(study, "rankclip")
    alone, together = finished.trained()["rankclip/0"], study.folder / "two" / "rankclip" / "seed-0"
    wanted, found = (load_file(run / "model.safetensors") for run in (alone, together))
    assert wanted.keys() == found.keys()
    for name, tensor in wanted.items():
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=1e-4, msg=name)
    smooth = ("step", "contrastive", "logit_scale")
    assert curve(together, *smooth) == [pytest.approx(row, abs=1e-4) for row in curve(alone, *smooth)]
    # Near-equal entries of a teacher's list change places with the last bit, for that step alone.
    ranked = ("step", "loss", "rank_cross", "rank_in")
    assert curve(together, *ranked) == [pytest.approx(row, abs=5e-3) for row in curve(alone, *ranked)]


def test_two_workers_refuse_a_model_with_batch_norm_in_one_line(study: Project) -> None:
    said = [line for line in train(study, "clip", code=2).splitlines() if line.startswith("rankclip: error")]
    assert len(said) == 1
    assert "batch norm" in said[0]
    assert "RANKCLIP_WORKERS=1" in said[0]
