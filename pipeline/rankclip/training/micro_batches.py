"""Batches larger than memory, exactly: features first, the loss once on all, then gradients piece by piece.

GradCache; Gao et al., RepL4NLP 2021, section 3.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from rankclip.training.batch_norm import uncounted
from rankclip.training.device import Precision, lowered, widened


@dataclass(frozen=True)
class Embedded:
    """What a model made of a batch."""

    outputs: tuple[Tensor, ...]
    """Image and text embeddings `[n, D]`, alpha, and the bias where there is one; with gradient."""

    propagate: Callable[[], None]
    """To be called after the backward of the loss, whose gradients it takes to the parameters."""


def embed(
    model: nn.Module, pixels: Tensor, tokens: Tensor, size: int | None, precision: Precision = "fp32"
) -> Embedded:
    """Embeds a batch, at most `size` pairs at once; `None` for all.

    Embeddings, loss and gradients are those of the whole batch, for a model that treats each pair by itself.
    Batch norm sees the statistics of its micro-batch and counts each of them once.

    Args:
        model: gives image and text embeddings and scalars; may be wrapped by DDP, and is synchronised once.
        pixels: `[n, ...]`.
        tokens: `[n, ...]`.
        size: pairs of a micro-batch.
        precision: in which the towers compute.
    """
    run = functools.partial(outputs, model, precision=precision)
    if size is None or len(pixels) <= size:
        return Embedded(run(pixels, tokens), lambda: None)
    pieces = list(zip(torch.split(pixels, size), torch.split(tokens, size), strict=True))
    states, found = [], []
    with torch.no_grad(), unsynchronised(model):
        for piece in pieces:
            states.append(random_state(pixels.device))
            found.append(run(*piece))
    rows = (torch.cat([each[side] for each in found]) for side in (0, 1))
    scalars = (scalar.detach().clone() for scalar in found[-1][2:])  # the bias is the parameter itself
    leaves = tuple(tensor.requires_grad_() for tensor in (*rows, *scalars))
    return Embedded(leaves, lambda: _propagate(model, run, pieces, states, leaves))


def outputs(model: nn.Module, pixels: Tensor, tokens: Tensor, precision: Precision) -> tuple[Tensor, ...]:
    """What a model makes of some pairs with towers of this precision, float32 or wider."""
    with lowered(pixels.device, precision):
        found: tuple[Tensor, ...] = model(pixels, tokens)
    return tuple(widened(each) for each in found)


def _propagate(
    model: nn.Module,
    run: Callable[[Tensor, Tensor], tuple[Tensor, ...]],
    pieces: list[tuple[Tensor, Tensor]],
    states: list[list[Tensor]],
    leaves: tuple[Tensor, ...],
) -> None:
    """Computes each piece again as it was, with gradient, and feeds it what the loss said of its rows."""
    gradients = [leaf.grad for leaf in leaves]
    rows = 0
    with uncounted(model):
        for piece, state in zip(pieces, states, strict=True):
            own = slice(rows, rows + len(piece[0]))
            rows = own.stop
            last = rows == len(leaves[0])
            restore(state, leaves[0].device)
            with contextlib.nullcontext() if last else unsynchronised(model):
                found = run(*piece)
                # the scalars' gradients are of the whole batch, so they are applied once
                upstream = [None if g is None else g[own] for g in gradients[:2]] + gradients[2:] * last
                pairs = [
                    (output, gradient)
                    for output, gradient in zip(found, upstream, strict=False)
                    if gradient is not None and output.requires_grad
                ]
                torch.autograd.backward([output for output, _ in pairs], [gradient for _, gradient in pairs])


def unsynchronised(model: nn.Module) -> contextlib.AbstractContextManager[Any]:
    """Keeps DDP from averaging gradients yet."""
    if isinstance(model, nn.parallel.DistributedDataParallel):
        return model.no_sync()
    return contextlib.nullcontext()


def random_state(device: torch.device) -> list[Tensor]:
    """State of the random numbers that a forward pass on this device may draw."""
    states = [torch.get_rng_state()]
    return [*states, torch.cuda.get_rng_state(device)] if device.type == "cuda" else states


def restore(state: list[Tensor], device: torch.device) -> None:
    """Goes back to a `random_state`."""
    torch.set_rng_state(state[0])
    if device.type == "cuda":
        torch.cuda.set_rng_state(state[1], device)
