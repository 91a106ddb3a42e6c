"""Two workers have the loss curve of one, on the study's own model, at an equal global batch."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from rankclip.models.spec import ModelSpec
from rankclip.training.loop import Training
from rankclip.training.request import TrainRequest
from tests.numerics.towers import group, on_workers
from tests.unit.training import tiny

SHARES = {"clip": 1e-5, "rankclip": 1e-3}
"""Largest relative difference of a loss, by arm; in float32 the orders of near-ties flip."""


def asked(data: Path, work: Path, arm: str) -> TrainRequest:
    objective = tiny.objective("clip", [tiny.CONTRASTIVE]) if arm == "clip" else tiny.ranked("rankclip")
    vit = ModelSpec(name="shapes-vit")
    return tiny.request(
        data,
        work,
        model=vit,
        objective=objective,
        steps=50,
        log_every=1,
        validate_every=50,
        checkpoint_every=50,
    )


def losses(data: Path, work: Path) -> dict[str, list[float]]:
    """The losses of fifty steps of each arm."""
    torch.set_num_threads(1)
    return {arm: [report["loss"] for report in Training(asked(data, work, arm)).reports()] for arm in SHARES}


def work(rank: int, workers: int, folder: str, data: str) -> None:
    with group(rank, workers, folder):
        found = losses(Path(data), Path(folder))
    torch.save(found, Path(folder, f"rank-{rank}.pt"))


def test_two_workers_have_the_curve_of_one_for_fifty_steps(tiny_data: Path, tmp_path: Path) -> None:
    one = losses(tiny_data, tmp_path / "one")
    first, second = on_workers(work, 2, tmp_path, str(tiny_data))
    assert first == second
    for arm, share in SHARES.items():
        assert len(one[arm]) == 50
        assert one[arm][-1] < one[arm][0]
        assert first[arm] == pytest.approx(one[arm], rel=share), arm
