"""What is true of each image of a drawn retrieval split: a table beside its tars, as that of the gains."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from rankclip import files
from rankclip.errors import DataError

NAME = "latents.npz"
REMEDY = "make the benchmark again with `dvc repro benchmarks`"

ROUNDING = 1e-4
"""Largest distance of a row's length from 1."""


def write(folder: Path, latents: np.ndarray) -> None:
    """Writes unit vectors `[images, L]`, whose products say how alike images are, beside the split's tars."""
    with files.replace(folder / NAME) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, latents=latents.astype(np.float32))


def read(folder: Path, images: int) -> np.ndarray | None:
    """Unit vectors float32 `[images, L]` of the split in `folder`; None where it has none.

    Raises:
        DataError: the file cannot be read or does not fit the split.
    """
    path = folder / NAME
    if not path.exists():
        return None
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            latents = np.asarray(arrays["latents"], dtype=np.float32)
    except Exception as error:  # numpy and zipfile raise at least six kinds for a damaged archive
        raise DataError(f"{path} cannot be read ({files.one_line(error)}); {REMEDY}") from None
    if latents.ndim != 2 or len(latents) != images:
        raise DataError(f"{path} has shape {latents.shape}, but the split {images} images; {REMEDY}")
    if not (abs(np.linalg.norm(latents, axis=1) - 1) < ROUNDING).all():
        raise DataError(f"{path} holds rows that have not length 1; {REMEDY}")
    return latents


def data_digest(split_digest: str, latents: np.ndarray | None) -> str:
    """Digest of a split with its latents; that of the split alone where it has none."""
    if latents is None:
        return split_digest
    return hashlib.sha256(split_digest.encode() + np.ascontiguousarray(latents).tobytes()).hexdigest()[:16]
