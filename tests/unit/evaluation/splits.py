"""Splits as a model with known rows sees them, without images and without a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from rankclip.evaluation.embedded import Embedded, Texts


def looked_up(table: Mapping[str, Tensor]) -> Texts:
    """A text side that knows these texts `[D]`."""
    return lambda texts: functional.normalize(torch.stack([table[text].float() for text in texts]), dim=1)


def directions(count: int, dimensions: int, seed: int) -> Tensor:
    """Random rows `[count, dimensions]`."""
    return torch.randn(count, dimensions, generator=torch.Generator().manual_seed(seed))


def labelled(
    features: Tensor,
    labels: Sequence[int],
    classnames: Sequence[str],
    table: Mapping[str, Tensor],
    templates: Sequence[str] = ("a {c}",),
) -> Embedded:
    """A classification split of images `[N, D]`."""
    return Embedded(
        name="made",
        split="test",
        task="classification",
        digest="d",
        keys=tuple(f"s{i}" for i in range(len(features))),
        features=features,
        labels=torch.tensor(labels),
        captions=(),
        classnames=tuple(classnames),
        templates=tuple(templates),
        texts=looked_up(table),
    )


def captioned(
    features: Tensor, captions: Sequence[tuple[str, ...]], table: Mapping[str, Tensor] | Tensor
) -> Embedded:
    """A retrieval split of images `[N, D]`; rows of a tensor `[M, D]` are those of the captions in turn."""
    every = [caption for said in captions for caption in said]
    known = dict(zip(every, table, strict=True)) if isinstance(table, Tensor) else table
    return Embedded(
        name="made",
        split="test",
        task="retrieval",
        digest="d",
        keys=tuple(f"s{i}" for i in range(len(features))),
        features=features,
        labels=None,
        captions=tuple(captions),
        classnames=(),
        templates=(),
        texts=looked_up(known),
    )


def numbered(counts: Sequence[int]) -> list[tuple[str, ...]]:
    """So many captions of each image, each another."""
    return [tuple(f"caption {i}.{j}" for j in range(count)) for i, count in enumerate(counts)]
