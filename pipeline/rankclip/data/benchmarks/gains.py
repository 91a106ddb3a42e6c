"""Graded relevance of captions to images, beside the tars of a retrieval split."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from rankclip.data.benchmarks import split_array
from rankclip.data.benchmarks.split_array import REMEDY, data_digest
from rankclip.errors import DataError

__all__ = ["NAME", "data_digest", "read", "write"]

NAME = "gains.npz"


def write(folder: Path, gains: np.ndarray) -> None:
    """Writes the gains `[images, captions]` of the split in `folder`; equal gains give equal bytes."""
    split_array.write(folder / NAME, gains)


def read(folder: Path, images: int, captions: int) -> np.ndarray | None:
    """Gains float32 `[images, captions]` in [0, 1] of the split in `folder`; None where it has none.

    Raises:
        DataError: the file cannot be read or does not fit the split.
    """
    path = folder / NAME
    gains = split_array.read(path)
    if gains is None:
        return None
    if gains.shape != (images, captions):
        raise DataError(f"{path} has shape {gains.shape}, but the split {(images, captions)}; {REMEDY}")
    if not ((gains >= 0) & (gains <= 1)).all():
        raise DataError(f"{path} holds gains outside [0, 1]; {REMEDY}")
    return gains
