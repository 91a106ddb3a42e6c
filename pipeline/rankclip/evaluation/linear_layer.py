"""A linear classifier on frozen features, and CyCLIP's way of training one.

Goel et al., NeurIPS 2022 (CyCLIP), the official stand-alone probe: AdamW without warm-up or search.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.data import DataLoader

BATCH = 16
EPOCHS = 32
LEARNING_RATE = 0.005
"""Of the first step; falls to 0 by a cosine over all steps."""
WEIGHT_DECAY = 0.01
"""Of the weights; the bias has none."""

ROWS = 8192
"""Rows given to a classifier at once: 65 MB of logits of 1,000 classes."""


@dataclass(frozen=True)
class Linear:
    """A linear classifier of C classes; both tensors of one dtype and on one device."""

    weight: Tensor
    """`[C, D]`."""
    bias: Tensor
    """`[C]`; `-inf` for a class that training never saw."""

    def logits(self, rows: Tensor) -> Tensor:
        """Logits `[N, C]` of rows `[N, D]` of any dtype and device, on the classifier's device."""
        turned = self.weight.T
        return torch.cat(
            [torch.addmm(self.bias, part.to(turned), turned) for part in torch.split(rows, ROWS)]
        )


def train(rows: Tensor, labels: Tensor, classes: int, seed: int = 0) -> Linear:
    """A linear layer trained on `rows` `[N, D]` with `labels` `[N]`, on their device, in their dtype.

    The gradient of the cross entropy is written out: with batches of 16 rows the time goes into calls.
    Initial weights and the order of rows are what PyTorch draws from `seed`, as in the official script.
    """
    layer = _initial(rows, classes, seed)
    weight, bias = layer.weight, layer.bias
    decayed = [{"params": [weight], "weight_decay": WEIGHT_DECAY}, {"params": [bias], "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(decayed, lr=LEARNING_RATE, fused=True)
    drawing = torch.Generator().manual_seed(seed)
    steps = EPOCHS * math.ceil(len(rows) / BATCH)
    step = 0
    for _ in range(EPOCHS):
        for batch in torch.split(_order(len(rows), drawing).to(rows.device), BATCH):
            for group in optimiser.param_groups:
                group["lr"] = LEARNING_RATE * 0.5 * (1 + math.cos(math.pi * step / steps))
            some = rows[batch]
            wrong = torch.addmm(bias, some, weight.T).softmax(dim=1)
            own = labels[batch][:, None]
            wrong.scatter_add_(1, own, wrong.new_full(own.shape, -1.0)).div_(len(batch))
            weight.grad, bias.grad = wrong.T @ some, wrong.sum(dim=0)
            optimiser.step()
            step += 1
    return Linear(weight, bias)


def _initial(rows: Tensor, classes: int, seed: int) -> Linear:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed GPUs too
        layer = torch.nn.Linear(rows.shape[1], classes)
    return Linear(layer.weight.detach().to(rows), layer.bias.detach().to(rows))


def _order(count: int, drawing: torch.Generator) -> Tensor:
    """The order of one epoch, drawn by a loader, as how often it asks its generator is its own affair."""
    loader: DataLoader[int] = DataLoader(
        range(count),  # type: ignore[arg-type]  # has all that a loader asks of a dataset
        batch_size=count,
        shuffle=True,
        generator=drawing,
        collate_fn=list,
    )
    (order,) = loader  # to its end: only then has it drawn all that it draws
    return torch.tensor(order)
