"""What is true of each image of a drawn retrieval split, beside its tars."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from rankclip.data.benchmarks import split_array
from rankclip.data.benchmarks.split_array import REMEDY, data_digest
from rankclip.errors import DataError

__all__ = ["NAME", "data_digest", "read", "write"]

NAME = "latents.npz"

ROUNDING = 1e-4
"""Largest distance of a row's length from 1."""


def write(folder: Path, latents: np.ndarray) -> None:
    """Writes unit vectors `[images, L]`, whose products say how alike images are; equal ones, equal bytes."""
    split_array.write(folder / NAME, latents)


def read(folder: Path, images: int) -> np.ndarray | None:
    """Unit vectors float32 `[images, L]` of the split in `folder`; None where it has none.

    Raises:
        DataError: the file cannot be read or does not fit the split.
    """
    path = folder / NAME
    latents = split_array.read(path)
    if latents is None:
        return None
    if latents.ndim != 2 or len(latents) != images:
        raise DataError(f"{path} has shape {latents.shape}, but the split {images} images; {REMEDY}")
    if not (abs(np.linalg.norm(latents, axis=1) - 1) < ROUNDING).all():
        raise DataError(f"{path} holds rows that have not length 1; {REMEDY}")
    return latents
