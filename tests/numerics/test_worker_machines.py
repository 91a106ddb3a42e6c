"""However workers use their machines, two train a real model as one does."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from rankclip.models.open_clip import build, tokenize
from rankclip.models.spec import ModelSpec
from rankclip.training import parallel
from rankclip.training.machine import Machine
from rankclip.training.parallel import prepared
from rankclip.training.step import shuffle_of, train_step
from tests.numerics.towers import OBJECTIVES, group, on_workers

VIT, PAIRS, STEPS = ModelSpec(name="shapes-vit"), 8, 3
MACHINES: dict[str, tuple[dict[str, bool], int | None]] = {
    "plain": ({}, None),
    "recomputed": ({"recompute": True}, None),
    "recomputed in pieces": ({"recompute": True}, 3),
    "compiled": ({"compiled": True}, None),
}


def trained(rank: int, workers: int, uses: dict[str, bool], micro_batch: int | None) -> dict[str, Any]:
    """The weights after some steps with clipped gradients, and their losses and norms."""
    model = build(VIT, seed=0).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)  # AdamW would blow up the noise of float32
    called = prepared(model, Machine.model_validate({"device": "cpu", **uses}), torch.device("cpu"))
    rows = slice(rank * PAIRS // workers, (rank + 1) * PAIRS // workers)
    found = []
    for step in range(STEPS):
        generator = torch.Generator().manual_seed(step)
        images = torch.randint(0, 256, (PAIRS, 3, 32, 32), generator=generator, dtype=torch.uint8)
        tokens = tokenize(VIT, ["a star " * (1 + (step + k) % 3) + str(k) for k in range(PAIRS)])
        made = train_step(
            called, optimizer, OBJECTIVES["clip"], images[rows], tokens[rows], 1.0,
            shuffle_of(PAIRS, 3, step), micro_batch=micro_batch, clip_norm=1.0,
        )  # fmt: skip
        assert made.finite
        found += [made.values["loss"], made.gradient_norm]
    return {**model.state_dict(), "found": torch.stack(found)}


def work(rank: int, workers: int, folder: str) -> None:
    parallel.BACKEND = "eager"
    warnings.simplefilter("error")
    found = {}
    with group(rank, workers, folder):
        for name, case in MACHINES.items():
            if name == "compiled":
                warnings.simplefilter("ignore")  # torch's compiler looks at what warns
            found[name] = trained(rank, workers, *case)
    torch.save(found, Path(folder, f"rank-{rank}.pt"))


@pytest.fixture(scope="module")
def two_workers(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, dict[str, Tensor]]]:
    return on_workers(work, 2, tmp_path_factory.mktemp("machines"))


@pytest.mark.parametrize("name", MACHINES)
def test_two_workers_train_as_one(two_workers: list[dict[str, dict[str, Tensor]]], name: str) -> None:
    one = trained(0, 1, {}, None)
    for worker in two_workers:
        for tensor, expected in one.items():
            assert (worker[name][tensor] - expected).norm() <= 1e-4 * expected.norm() + 1e-6, tensor
