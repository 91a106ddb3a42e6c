"""A small model in float64 and its batches, for tests of whole steps."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rankclip.objectives import Objective
from rankclip.training.step import shuffle_of, train_step
from tests import forked

ONE = {"name": "constant", "value": 1.0}
LATER = {"name": "linear", "initial": 0.0, "final": 1.0, "start": 0.5, "end": 1.0}
CONTRASTIVE = {"name": "contrastive", "weight": ONE}
RANKS = [{"name": name, "weight": ONE} for name in ("rank_cross", "rank_in")]
OBJECTIVES = {
    name: Objective.model_validate({"name": name, "terms": terms})
    for name, terms in {
        "clip": [CONTRASTIVE],
        "rankclip": [CONTRASTIVE, *RANKS],
        "rankclip_shuffled": [CONTRASTIVE, *({**rank, "teacher": "shuffled"} for rank in RANKS)],
        "siglip": [{"name": "sigmoid", "weight": ONE}],
        "siglip_later": [CONTRASTIVE, {"name": "sigmoid", "weight": LATER}],
    }.items()
}
PIXELS, VOCABULARY, WIDTH = 7, 101, 5


class Towers(nn.Module):
    """Two small towers that end in unit embeddings, with alpha, a bias if asked for, and noise if asked for.

    The noise depends on the order of rows alone, as dropout does, and on no statistics of the batch.
    """

    def __init__(self, biased: bool = False, noise: float = 0.0, dtype: torch.dtype = torch.float64) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)

        def parameter(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype))

        self.image, self.text, self.shift = (
            parameter(PIXELS, WIDTH), parameter(VOCABULARY, WIDTH), parameter(WIDTH),
        )  # fmt: skip
        self.logit_scale = nn.Parameter(torch.tensor(2.0, dtype=dtype))
        self.logit_bias = nn.Parameter(torch.tensor(-3.0, dtype=dtype)) if biased else None
        self.noise = noise
        self.largest = 0

    def forward(self, pixels: Tensor, tokens: Tensor) -> tuple[Tensor, ...]:
        self.largest = max(self.largest, len(pixels))
        image = torch.tanh(pixels @ self.image) + self.shift
        if self.noise:
            # column by column of one row after the other, so that pieces of a batch draw what the whole does
            image = image * (torch.rand(image.shape, dtype=torch.float64) > self.noise).to(image)
        text = self.text[tokens].mean(dim=1)
        rows = (nn.functional.normalize(side + 1e-3, dim=1) for side in (image, text))
        scalars = (
            (self.logit_scale.exp(),)
            if self.logit_bias is None
            else (self.logit_scale.exp(), self.logit_bias)
        )
        return *rows, *scalars


def batch(pairs: int, seed: int = 1, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """Pixels `[pairs, PIXELS]` and tokens `[pairs, 4]`, no two captions alike, whose order would be a tie."""
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randn(pairs, PIXELS, generator=generator, dtype=torch.float64).to(dtype)
    return pixels, torch.randint(VOCABULARY, (pairs, 4), generator=generator)


def moved(
    model: nn.Module, objective: Objective, rows: slice, pairs: int, **options: Any
) -> dict[str, Tensor]:
    """Gradients of a step, as what plain descent at rate 1 takes off each parameter, its losses and norm."""
    own = model.module if isinstance(model, nn.parallel.DistributedDataParallel) else model
    before = {name: parameter.detach().clone() for name, parameter in own.named_parameters()}
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    pixels, tokens = batch(pairs)
    shuffle = shuffle_of(pairs, seed=3, step=4)
    torch.manual_seed(5)
    step = train_step(model, optimizer, objective, pixels[rows], tokens[rows], 1.0, shuffle, **options)
    assert step.finite
    found = {name: before[name] - parameter.detach() for name, parameter in own.named_parameters()}
    found["norm of the gradient"] = step.gradient_norm
    return found | {f"loss of {name}": value for name, value in step.values.items()}


def assert_close(found: dict[str, Tensor], expected: dict[str, Tensor], share: float = 1e-10) -> None:
    """Each tensor within a share of its norm."""
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert (found[name] - tensor).norm() <= share * tensor.norm(), name


@contextmanager
def group(rank: int, workers: int, folder: str) -> Iterator[None]:
    """A process group of gloo on loopback, met through a file."""
    torch.set_num_threads(1)
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=workers
    )
    try:
        yield
    finally:
        torch.distributed.destroy_process_group()


def on_workers(work: Callable[..., None], workers: int, folder: Path, *options: Any) -> list[Any]:
    """What `work(rank, workers, folder, *options)` saved as `rank-<k>.pt` in `folder`, in real processes."""
    forked.run(work, workers, workers, str(folder), *options)
    return [torch.load(folder / f"rank-{rank}.pt") for rank in range(workers)]
