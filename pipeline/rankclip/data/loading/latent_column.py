"""Latents: what is true of each image as a unit vector, for data in which that is known.

The product of two images' vectors is how alike they truly are, in [0, 1].
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from rankclip import files
from rankclip.errors import DataError

NAME = "latents"
"""The column's name, in the source's table and in the index."""

SOURCE_REMEDY = "make it again with `dvc repro -f -s ingest`"

UNIT_ERROR = 1e-3
"""Lengths may differ from 1 by this much: rounding, of half precision too."""


def load(path: Path, urls: pa.ChunkedArray) -> dict[str, pa.ChunkedArray]:
    """The column by its name, with a vector for each of `urls`; empty where the source has no such table.

    Args:
        path: a table with `url` and `latents`, lists of numbers; may be missing.
        urls: `[n]` of the samples.

    Raises:
        DataError: the table cannot be read, lacks a column or a URL, or holds what are no unit vectors.
    """
    if not path.exists():
        return {}
    table = files.read_table(path, ["url", NAME], SOURCE_REMEDY)
    column = table[NAME].take(pc.index_in(urls, value_set=table["url"].combine_chunks()))
    matrix(column, path, SOURCE_REMEDY)
    return {NAME: column}


def matrix(column: pa.ChunkedArray, path: Path, remedy: str) -> NDArray[np.float32]:
    """The vectors of a column as `[n, K]`, float32 with unit rows.

    Args:
        column: `[n]` lists of K numbers.
        path: of the table it is from, for the error.
        remedy: what makes that table again.

    Raises:
        DataError: a vector is missing, not finite, not of unit length or of another width than the rest.
    """
    kind = column.type
    lists = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    if not lists or not pa.types.is_floating(kind.value_type):
        raise DataError(f"{path}: column {NAME} holds {kind}, not lists of numbers; {remedy}")
    if column.null_count:
        raise DataError(f"{path} lacks the {NAME} of {column.null_count} of {len(column)} samples; {remedy}")
    widths = sorted(pc.unique(pc.list_value_length(column)).to_pylist())
    if len(widths) != 1:
        raise DataError(f"{path}: {NAME} are of different widths, from {widths[0]} to {widths[-1]}; {remedy}")
    values = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)  # null becomes NaN
    vectors = np.array(values, dtype=np.float32).reshape(len(column), widths[0])  # a copy may be written to
    lengths = np.linalg.norm(vectors, axis=1)
    wrong = np.flatnonzero(~(np.abs(lengths - 1.0) <= UNIT_ERROR))  # NaN is wrong too
    if len(wrong):
        raise DataError(
            f"{path}: {len(wrong)} of {len(vectors)} {NAME} are no unit vectors, "
            f"the first of sample {wrong[0]}, of length {lengths[wrong[0]]:g}; {remedy}"
        )
    return vectors
