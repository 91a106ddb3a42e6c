"""Refuses batches that have no loss, before a term makes a number of what is none."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from rankclip.objectives.batch import NORM_ERROR, Batch


class NotFiniteError(ValueError):
    """An embedding holds NaN or infinity, which is told on all workers alike."""


def check(batch: Batch) -> None:
    """Looks at everything a batch holds.

    Raises:
        NotFiniteError: an embedding holds NaN or infinity.
        ValueError: whatever else is wrong, with its numbers and the remedy.
    """
    _check_shapes(batch)
    norms = {
        name: tensor.detach().float().norm(dim=-1)
        for name, tensor in (("image", batch.images), ("text", batch.texts))
    }
    usable = {
        f"`{name}`, which a teacher looks at, holds NaN or infinity": tensor.isfinite().all()
        for name, tensor in _known(batch).items()
    }
    if batch.shuffle is not None:
        places = torch.arange(len(batch.shuffle), device=batch.shuffle.device)
        usable["`shuffle` is no permutation of the batch"] = (batch.shuffle.sort().values == places).all()
    near = [((norm - 1.0).abs() <= NORM_ERROR).all() for norm in norms.values()]
    numbers = [
        batch.alpha.detach().float().reshape(()),
        *(each.float() for each in [*near, *usable.values()]),
    ]
    alpha, *right = torch.stack(numbers).tolist()  # one wait for the device
    if not 0.0 < alpha < math.inf:
        raise ValueError(f"alpha = exp(logit scale) is {alpha}; it must be finite and above zero")
    for (name, norm), unit in zip(norms.items(), right, strict=False):
        if not unit:
            raise _wrong_length(name, norm)
    for fault, fine in zip(usable, right[len(norms) :], strict=True):
        if not fine:
            raise ValueError(fault)


def _wrong_length(name: str, norm: Tensor) -> ValueError:
    """What is said of the embedding whose length is furthest from 1."""
    row = int((norm - 1.0).abs().nan_to_num(math.inf, math.inf).argmax())
    length = norm[row].item()
    told = f"{name} embedding {row} of the batch has length {length:.4g}; "
    if not math.isfinite(length):
        return NotFiniteError(
            f"{told}it holds NaN or infinity, as when training diverges; lower the learning rate or check "
            "the data"
        )
    remedy = "it is a vector of zeros" if length == 0.0 else "normalise embeddings to length 1"
    return ValueError(told + remedy)


def _check_shapes(batch: Batch) -> None:
    own, text, images, texts = (tuple(x.shape) for x in (batch.image, batch.text, batch.images, batch.texts))
    if len(own) != 2 or own != text or images != texts:
        raise ValueError(f"image and text embeddings have shapes {own} and {text}; both must be [n, D]")
    if len(batch.images) < 2:
        raise ValueError(f"a batch of {len(batch.images)} pairs has nothing to compare; use 2 or more")
    if batch.alpha.numel() != 1 or (batch.bias is not None and batch.bias.numel() != 1):
        raise ValueError(f"alpha (and bias) must be one number, got shape {tuple(batch.alpha.shape)}")
    lists = {"shuffle": batch.shuffle, "captions": batch.captions}
    for name, value in {**lists, **_known(batch)}.items():
        if value is not None and len(value) != len(batch.images):
            raise ValueError(f"`{name}` has {len(value)} rows, but the batch has {len(batch.images)} pairs")


def _known(batch: Batch) -> dict[str, Tensor]:
    """What teachers know, of what is there."""
    image, text = batch.averaged or (None, None)
    named = {
        "latents": batch.latents,
        "averaged images": image,
        "averaged texts": text,
        "described": batch.described,
    }
    return {name: value for name, value in named.items() if value is not None}
