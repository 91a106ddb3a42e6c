"""CyCLIP's linear layer against a loop in the form of its official script."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from rankclip.evaluation.linear_layer import Linear, train


def made(count: int, dimensions: int, classes: int) -> tuple[Tensor, Tensor]:
    drawing = torch.Generator().manual_seed(1)
    return torch.randn(count, dimensions, generator=drawing), torch.arange(count) % classes


def twin(rows: Tensor, labels: Tensor, classes: int, seed: int) -> torch.nn.Linear:
    """The slow way: autograd, a loader of single rows, an unfused optimiser."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layer = torch.nn.Linear(rows.shape[1], classes)
    drawing = torch.Generator().manual_seed(seed)
    loader = DataLoader(TensorDataset(rows, labels), batch_size=16, shuffle=True, generator=drawing)
    optimiser = torch.optim.AdamW(
        [{"params": [layer.bias], "weight_decay": 0.0}, {"params": [layer.weight], "weight_decay": 0.01}]
    )
    steps = 32 * len(loader)
    for epoch in range(32):
        for number, (some, targets) in enumerate(loader):
            done = (epoch * len(loader) + number) / steps
            for group in optimiser.param_groups:
                group["lr"] = 0.5 * (1 + math.cos(math.pi * done)) * 0.005
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(layer(some), targets).backward()
            optimiser.step()
    return layer


@pytest.mark.parametrize("seed", [0, 3])
def test_the_layer_is_that_of_the_official_loop(seed: int) -> None:
    rows, labels = made(50, 8, 5)  # 50 leaves a last batch of 2
    ours, theirs = train(rows, labels, 5, seed), twin(rows, labels, 5, seed)
    torch.testing.assert_close(ours.weight, theirs.weight.detach(), atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(ours.bias, theirs.bias.detach(), atol=2e-5, rtol=1e-4)


def test_training_leaves_the_random_state_of_others_alone() -> None:
    before = torch.get_rng_state()
    train(*made(20, 4, 2), classes=2)
    assert torch.equal(torch.get_rng_state(), before)


def test_logits_are_in_the_classifiers_precision() -> None:
    layer = Linear(torch.tensor([[1.0, 2.0]]), torch.tensor([0.5]))
    assert layer.logits(torch.tensor([[1.0, 1.0]], dtype=torch.float64)).tolist() == [[3.5]]
