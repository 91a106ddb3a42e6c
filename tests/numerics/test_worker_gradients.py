"""Two real processes train as one does on the concatenated batch."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
import torch.multiprocessing
from torch import Tensor, nn

from rankclip.objectives import Objective
from rankclip.training.step import shuffle_of, train_step

N = 8
ONE = {"name": "constant", "value": 1.0}
RANKS = ({"name": "rank_cross", "weight": ONE}, {"name": "rank_in", "weight": ONE})
CONTRASTIVE = {"name": "contrastive", "weight": ONE}
OBJECTIVES = [
    Objective.model_validate({"name": name, "terms": [CONTRASTIVE, *terms]})
    for name, terms in {
        "clip": [],
        "rankclip": [term | {"teacher": "other_modality"} for term in RANKS],
        "rankclip_shuffled": [term | {"teacher": "shuffled"} for term in RANKS],
    }.items()
]


class Towers(nn.Module):
    """Two small towers in float64 that end in unit embeddings, and alpha."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)

        def parameter(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.randn(*shape, generator=generator, dtype=torch.float64))

        self.image, self.text = parameter(7, 5), parameter(11, 5)
        self.bias = parameter(5)
        self.logit_scale = nn.Parameter(torch.tensor(2.0, dtype=torch.float64))

    def forward(self, pixels: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        image = torch.tanh(pixels @ self.image) + self.bias
        text = self.text[tokens].mean(dim=1)
        normalize = nn.functional.normalize
        return normalize(image, dim=1), normalize(text, dim=1), self.logit_scale.exp()


def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randn(N, 7, generator=generator, dtype=torch.float64)
    return pixels, torch.randint(11, (N, 4), generator=generator)


def gradients(objective: Objective, rows: slice, distribute: bool) -> dict[str, Tensor]:
    """Gradients of one step, as what plain descent at rate 1 takes off each parameter, and its losses."""
    model = Towers()
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    wrapped = nn.parallel.DistributedDataParallel(model) if distribute else model
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    pixels, tokens = batch()
    losses = train_step(
        wrapped, optimizer, objective, pixels[rows], tokens[rows], 1.0, shuffle_of(N, seed=3, step=4)
    )
    moved = {name: before[name] - parameter.detach() for name, parameter in model.named_parameters()}
    return moved | {f"loss of {name}": value for name, value in losses.items()}


def work(rank: int, workers: int, folder: str) -> None:
    torch.set_num_threads(1)
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=workers
    )
    share = N // workers
    rows = slice(rank * share, (rank + 1) * share)
    found = {objective.name: gradients(objective, rows, distribute=True) for objective in OBJECTIVES}
    torch.save(found, Path(folder, f"rank-{rank}.pt"))
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def two_workers(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, dict[str, Tensor]]]:
    folder = tmp_path_factory.mktemp("workers")
    torch.multiprocessing.spawn(work, args=(2, str(folder)), nprocs=2)
    return [torch.load(folder / f"rank-{rank}.pt") for rank in range(2)]


@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda objective: objective.name)
def test_two_workers_have_the_gradient_of_one_on_the_whole_batch(
    two_workers: list[dict[str, dict[str, Tensor]]], objective: Objective
) -> None:
    one = gradients(objective, slice(None), distribute=False)
    assert all(one[name].abs().max() > 1e-4 for name in ("image", "text", "bias", "logit_scale"))
    for worker in two_workers:
        found = worker[objective.name]
        assert found.keys() == one.keys()
        for name, expected in one.items():
            assert (found[name] - expected).norm() <= 1e-10 * expected.norm(), name
