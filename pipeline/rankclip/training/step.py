"""One optimiser step."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from rankclip import distributed
from rankclip.errors import RunError
from rankclip.objectives import Objective
from rankclip.objectives.similarities import similarities


def train_step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    objective: Objective,
    pixels: Tensor,
    tokens: Tensor,
    progress: float,
    shuffle: Tensor,
) -> dict[str, Tensor]:
    """Trains on this worker's part of a global batch; returns the loss and its terms, nats, on all workers.

    Args:
        model: gives unit embeddings and alpha; may be wrapped by DDP.
        optimizer: with its learning rate set.
        objective: the loss.
        pixels: images, `[n, 3, S, S]`, uint8.
        tokens: `[n, L]`.
        progress: step / planned steps.
        shuffle: `[N]`, a permutation of the global batch, the same on every worker.
    """
    image, text, alpha = model(pixels, tokens)
    rows = distributed.rank() * len(image) + torch.arange(len(image), device=image.device)
    images, texts = distributed.gather(image), distributed.gather(text)
    batch = similarities(image, text, alpha, images, texts, rows, shuffle.to(image.device))
    values = objective(batch, progress)
    # DDP averages gradients over workers, each of which holds its part of one sum.
    torch.autograd.backward(values["loss"] * distributed.world_size())
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return {name: distributed.summed(value) for name, value in values.items()}


def shuffle_of(size: int, seed: int, step: int) -> Tensor:
    """The relabelling of a global batch at a step: `[size]`, int64."""
    generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
    return torch.randperm(size, generator=generator)


def clamp_alpha(logit_scale: Tensor, max_alpha: float) -> None:
    """Keeps exp(logit scale) in [1, max_alpha], as CLIP does."""
    with torch.no_grad():
        logit_scale.clamp_(0.0, math.log(max_alpha))


def finite(values: dict[str, Tensor], step: int, key: str) -> dict[str, float]:
    """The values as numbers.

    Raises:
        RunError: one is not finite.
    """
    numbers: dict[str, Any] = {name: value.item() for name, value in values.items()}
    strange = [f"{name} {number}" for name, number in numbers.items() if not math.isfinite(number)]
    if strange:
        raise RunError(
            f"{key}: {', '.join(strange)} at step {step}; lower train.lr or check the data, then start again"
        )
    return numbers
