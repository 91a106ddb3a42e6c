"""Graded relevance of captions to images: a table beside the tars of a retrieval split."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from rankclip import files
from rankclip.errors import DataError

NAME = "gains.npz"
REMEDY = "make the benchmark again with `dvc repro benchmarks`"


def write(folder: Path, gains: np.ndarray) -> None:
    """Writes the gains `[images, captions]` of the split in `folder`; equal gains give equal bytes."""
    with files.replace(folder / NAME) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, gains=gains.astype(np.float32))


def read(folder: Path, images: int, captions: int) -> np.ndarray | None:
    """Gains float32 `[images, captions]` in [0, 1] of the split in `folder`; None where it has none.

    Raises:
        DataError: the file cannot be read or does not fit the split.
    """
    path = folder / NAME
    if not path.exists():
        return None
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            gains = np.asarray(arrays["gains"], dtype=np.float32)
    except Exception as error:  # numpy and zipfile raise at least six kinds for a damaged archive
        raise DataError(f"{path} cannot be read ({files.one_line(error)}); {REMEDY}") from None
    if gains.shape != (images, captions):
        raise DataError(f"{path} has shape {gains.shape}, but the split {(images, captions)}; {REMEDY}")
    if not ((gains >= 0) & (gains <= 1)).all():
        raise DataError(f"{path} holds gains outside [0, 1]; {REMEDY}")
    return gains


def data_digest(split_digest: str, gains: np.ndarray | None) -> str:
    """Digest of a split with its gains; that of the split alone where it has none."""
    if gains is None:
        return split_digest
    return hashlib.sha256(split_digest.encode() + np.ascontiguousarray(gains).tobytes()).hexdigest()[:16]
