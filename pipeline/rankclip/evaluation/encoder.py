"""What evaluation knows of a model: it turns images and texts into unit vectors of one space."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from rankclip.errors import DataError

BATCH = 256
"""Images or texts given to a model at once; bounds memory, changes no result beyond rounding."""

UNIT_TOLERANCE = 1e-3
"""Largest distance of a row's length from 1 that rounding explains, also in half precision."""

Item = TypeVar("Item", bytes, str)


class Encoder(Protocol):
    """A model as evaluation sees it. Rows are float32 of length 1, D is the same on both sides."""

    def encode_images(self, images: Sequence[bytes]) -> Tensor:
        """Embeddings `[N, D]` of N encoded images (PNG, JPEG, WebP)."""
        ...

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """Embeddings `[N, D]` of N texts."""
        ...


def embed_images(encoder: Encoder, images: Sequence[bytes], batch: int = BATCH) -> Tensor:
    """Embeddings `[N, D]` on the CPU, `batch` images at a time; an image that occurs again is encoded once.

    Raises:
        DataError: an embedding is not finite.
        ValueError: the encoder broke its contract (shape or length of rows).
    """
    return _embed(encoder.encode_images, images, batch)


def embed_texts(encoder: Encoder, texts: Sequence[str], batch: int = BATCH) -> Tensor:
    """Embeddings `[N, D]` on the CPU, `batch` texts at a time; a text that occurs again is encoded once.

    Raises:
        DataError: an embedding is not finite.
        ValueError: the encoder broke its contract (shape or length of rows).
    """
    return _embed(encoder.encode_texts, texts, batch)


def _embed(encode: Callable[[Sequence[Item]], Tensor], items: Sequence[Item], batch: int) -> Tensor:
    # Equal items must get equal rows to the bit, else rounding would decide between equal captions.
    place: dict[Item, int] = {}
    inverse = [place.setdefault(item, len(place)) for item in items]
    distinct = list(place)
    with torch.inference_mode():
        parts = [
            _checked(encode(distinct[start : start + batch]), len(distinct[start : start + batch]))
            for start in range(0, len(distinct), batch)
        ]
        return torch.cat(parts)[torch.tensor(inverse)]


def _checked(rows: Tensor, count: int) -> Tensor:
    rows = rows.detach().float().cpu()
    if rows.ndim != 2 or len(rows) != count:
        raise ValueError(
            f"an encoder gave shape {tuple(rows.shape)} for {count} items; it must give [{count}, D]"
        )
    if not bool(rows.isfinite().all()):
        raise DataError(
            "the model gives embeddings that are not finite; its training diverged: train it again"
        )
    worst = float((rows.norm(dim=1) - 1).abs().max())
    if worst > UNIT_TOLERANCE:
        raise ValueError(f"an encoder gave rows of length 1 +- {worst:.3g}; they must have length 1")
    return rows
