"""One optimiser step."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from rankclip import distributed
from rankclip.objectives import Objective
from rankclip.objectives.batch import Batch, gathered
from rankclip.objectives.checks import NotFiniteError
from rankclip.objectives.diagnostics import diagnose
from rankclip.objectives.rank_terms import Ranking
from rankclip.training import gradients
from rankclip.training.batch_norm import statistics
from rankclip.training.device import Precision
from rankclip.training.micro_batches import Embedded, embed


class Step(NamedTuple):
    """What a step was, the same on all workers; its tensors are on the device and need not be waited for."""

    values: dict[str, Tensor]
    """The loss and its terms, nats, `[]` each; where an embedding is not finite NaN for the loss alone."""

    gradient_norm: Tensor
    """Norm of the gradient of all parameters together, before it is clipped, `[]`."""

    finite: Tensor
    """Whether loss and gradient norm are, `[]` bool. A step that is not has changed nothing."""

    asking: Tensor
    """How many workers said that they are `asking`, `[]`."""

    fault: str
    """What is wrong with the embeddings, if they are not finite."""


def train_step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    objective: Objective,
    pixels: Tensor,
    tokens: Tensor,
    progress: float,
    shuffle: Tensor,
    *,
    teachers: Mapping[str, Any] | None = None,
    micro_batch: int | None = None,
    examine: Callable[[Batch], None] | None = None,
    precision: Precision = "fp32",
    clip_norm: float | None = None,
    asking: bool = False,
) -> Step:
    """Trains on this worker's part of a global batch, but not where the loss or its gradient is not finite.

    Args:
        model: gives unit embeddings, alpha, and the bias if it has one; may be wrapped by DDP.
        optimizer: with its learning rates set; on a GPU a fused one.
        objective: the loss.
        pixels: images, `[n, 3, S, S]`, uint8.
        tokens: `[n, L]`.
        progress: step / planned steps.
        shuffle: `[N]`, a permutation of the global batch, the same on every worker.
        teachers: what else the objective looks at, by its name in `gathered`.
        micro_batch: pairs that pass through the model at once; `None` for all.
        examine: looks at the batch before the step is made.
        precision: in which the towers compute.
        clip_norm: a larger gradient is scaled to this norm; `None`: none is.
        asking: what `Step.asking` counts.

    Raises:
        ValueError: the batch has no loss, although it is finite.
    """
    before = [buffer.clone() for buffer in statistics(model)]
    embedded = embed(model, pixels, tokens, micro_batch, precision)
    values, fault = backward(embedded, objective, progress, {"shuffle": shuffle, **(teachers or {})}, examine)
    found = gradients.gradients(optimizer)
    step = told(values, found, asking, fault)
    if found:
        if clip_norm is not None:
            gradients.clip(found, step.gradient_norm, clip_norm)
        gradients.advance(optimizer, step.finite)
    restore(model, before, step.finite)
    optimizer.zero_grad(set_to_none=True)
    return step


def backward(
    embedded: Embedded,
    objective: Objective,
    progress: float,
    options: dict[str, Any],
    examine: Callable[[Batch], None] | None,
) -> tuple[dict[str, Tensor], str]:
    """Takes the gradient of the loss to the parameters.

    Returns:
        This worker's part of the loss and its terms, and "". Of embeddings that are not finite no gradient,
        NaN for the loss alone, and what is wrong, on all workers alike.
    """
    image, text, alpha, *bias = embedded.outputs
    options["shuffle"] = options["shuffle"].to(image.device, non_blocking=True)
    batch = gathered(image, text, alpha, bias=bias[0] if bias else None, **options)
    try:
        values = objective(batch, progress)
    except NotFiniteError as error:
        return {"loss": torch.full_like(alpha.detach(), math.nan)}, str(error)
    if examine:
        examine(batch)
    # DDP averages gradients over workers, each of which holds its part of one sum; and it waits for that of
    # the bias, which is zero before its term begins.
    total = values["loss"] * distributed.world_size()
    torch.autograd.backward([total, *bias], [None, *map(torch.zeros_like, bias)])
    embedded.propagate()
    return values, ""


def told(values: dict[str, Tensor], found: Sequence[Tensor], asking: bool, fault: str) -> Step:
    """What all workers know of a step, by one collective; DDP has given all of them one gradient."""
    own = torch.stack([*values.values(), torch.full_like(values["loss"], float(asking))])
    *summed, count = distributed.summed(own).unbind()
    values = dict(zip(values, summed, strict=True))
    norm = gradients.norm(found) if found else values["loss"]
    return Step(values, norm, values["loss"].isfinite() & norm.isfinite(), count, fault)


def restore(model: nn.Module, before: Sequence[Tensor], finite: Tensor) -> None:
    """Sets the statistics of batch norm back to those of `before` where `finite` is false."""
    if not finite.is_cuda and finite:
        return
    for buffer, old in zip(statistics(model), before, strict=True):
        buffer.copy_(torch.where(finite, buffer, old))


def diagnostics(objective: Objective, batch: Batch) -> dict[str, float]:
    """What `diagnose` says of an objective's terms, and of its rank terms with the shuffled teacher.

    A term that is taught by the shuffled teacher is its own control and has no other.
    """
    terms = objective.weighted
    taught = [term for term in terms if isinstance(term, Ranking) and term.teacher != "shuffled"]
    controls: dict[str, Ranking] = {
        term.name: term.model_copy(update={"teacher": "shuffled"}) for term in taught
    }
    still = replace(batch, alpha=batch.alpha.detach())
    found = diagnose({term.name: term for term in terms}, controls, still)
    return {f"diagnostics/{name}": value for name, value in found.items()}


def shuffle_of(size: int, seed: int, step: int) -> Tensor:
    """The relabelling of a global batch at a step: `[size]`, int64."""
    generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
    return torch.randperm(size, generator=generator)
