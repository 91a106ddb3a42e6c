"""Arrays beside the tars of a split: what is known of its images and captions."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from rankclip import files
from rankclip.errors import DataError

REMEDY = "make the benchmark again with `dvc repro benchmarks`"


def write(path: Path, values: np.ndarray) -> None:
    """Writes an array as float32, under the name of its file; equal arrays give equal bytes."""
    named: dict[str, Any] = {path.stem: values.astype(np.float32)}
    with files.replace(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **named)


def read(path: Path) -> np.ndarray | None:
    """The array of a file, float32; None where there is no such file.

    Raises:
        DataError: the file cannot be read.
    """
    if not path.exists():
        return None
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return np.asarray(arrays[path.stem], dtype=np.float32)
    except Exception as error:  # numpy and zipfile raise at least six kinds for a damaged archive
        raise DataError(f"{path} cannot be read ({files.one_line(error)}); {REMEDY}") from None


def data_digest(split_digest: str, values: np.ndarray | None) -> str:
    """Digest of a split with an array beside it; that of the split alone where there is none."""
    if values is None:
        return split_digest
    return hashlib.sha256(split_digest.encode() + np.ascontiguousarray(values).tobytes()).hexdigest()[:16]
