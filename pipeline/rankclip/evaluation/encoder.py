"""What evaluation knows of a model: it turns images and texts into vectors of one space."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from rankclip.errors import DataError

BATCH = 256
"""Images or texts given to a model at once; bounds memory, changes no result beyond rounding."""

UNIT_TOLERANCE = 1e-3
"""Largest distance of a row's length from 1 that rounding explains, also in half precision."""


class Encoder(Protocol):
    """A model as evaluation sees it; D is the same on both sides."""

    def prepare(self, image: bytes) -> Any:
        """What `image_features` takes of an encoded image (PNG, JPEG, WebP); called by several threads.

        Raises:
            DataError: the bytes are not an image.
        """
        ...

    def image_features(self, prepared: Sequence[Any]) -> Tensor:
        """Rows `[N, D]` of N prepared images as the image tower projects them, of any length."""
        ...

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """Embeddings `[N, D]` of N texts, of length 1."""
        ...


def image_rows(encoder: Encoder, prepared: Sequence[Any]) -> Tensor:
    """Rows `[N, D]`, float32 on the CPU, of a batch of prepared images, before normalisation.

    Raises:
        DataError: a row is not finite, or has no direction.
        ValueError: the encoder broke its contract.
    """
    with torch.inference_mode():
        return _checked(encoder.image_features(prepared), len(prepared))


def embed_texts(
    encoder: Encoder,
    texts: Sequence[str],
    batch: int = BATCH,
    advance: Callable[[int], Any] = lambda texts: None,
) -> Tensor:
    """Embeddings `[N, D]` on the CPU, `batch` texts at a time; a text that occurs again is encoded once.

    `advance` is told after each batch how many distinct texts were embedded.

    Raises:
        DataError: an embedding is not finite, or has no direction.
        ValueError: the encoder broke its contract (shape or length of rows).
    """
    # Equal texts must get equal rows to the bit, else rounding would decide between equal captions.
    place: dict[str, int] = {}
    inverse = [place.setdefault(text, len(place)) for text in texts]
    distinct = list(place)
    with torch.inference_mode():
        parts = []
        for start in range(0, len(distinct), batch):
            some = distinct[start : start + batch]
            parts.append(_unit(_checked(encoder.encode_texts(some), len(some))))
            advance(len(some))
    return torch.cat(parts)[torch.tensor(inverse)]  # outside, so that a probe may be trained on them


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
    if not bool(rows.norm(dim=1).gt(0).all()):
        raise DataError("the model gives an embedding of length 0; its training diverged: train it again")
    return rows


def _unit(rows: Tensor) -> Tensor:
    worst = float((rows.norm(dim=1) - 1).abs().max())
    if worst > UNIT_TOLERANCE:
        raise ValueError(f"an encoder gave rows of length 1 +- {worst:.3g}; they must have length 1")
    return rows
