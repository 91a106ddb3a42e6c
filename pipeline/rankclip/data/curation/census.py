"""What is known of every row's image, in arrays: a hundred bytes a row and no Python object."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rankclip import files
from rankclip.data.curation import crawl_tar, parts
from rankclip.data.reasons import Reason
from rankclip.errors import DataError

REASONS = pa.array([reason.value for reason in Reason])
"""The vocabulary; a reason's code is its place here."""

OK = list(Reason).index(Reason.OK)

NOT_JUDGED = 255
"""The code of rows whose image was never stored."""


@dataclass(frozen=True)
class Census:
    """The images of input rows 0 to n - 1."""

    reasons: np.ndarray
    """uint8 `[n]`: code of the verdict, or `NOT_JUDGED`."""
    widths: np.ndarray
    """int32 `[n]`: pixels of the upright image, 0 where unknown."""
    heights: np.ndarray
    digests: np.ndarray
    """uint64 `[n, 2]`: the first half of the sha256 of the bytes."""
    hashes: np.ndarray
    """uint64 `[n]`: perceptual hashes."""
    hashed: np.ndarray
    """bool `[n]`: whether the hash means anything."""
    failed: pa.Table
    """Columns `row`, rising, and `detail` of the images that are not `ok`."""

    @property
    def usable(self) -> np.ndarray:
        """bool `[n]`: rows whose image decodes."""
        usable: np.ndarray = self.reasons == OK
        return usable


def read(made: Iterable[Path], rows: int) -> Census:
    """The census of `rows` input rows from the parts in the files `made`.

    Raises:
        DataError: a part cannot be read, or knows a row that is not an input row.
    """
    reasons = np.full(rows, NOT_JUDGED, np.uint8)
    widths, heights = np.zeros(rows, np.int32), np.zeros(rows, np.int32)
    digests, hashes = np.zeros((rows, 2), np.uint64), np.zeros(rows, np.uint64)
    hashed = np.zeros(rows, bool)
    failed = [pa.schema([("row", pa.int64()), ("detail", pa.string())]).empty_table()]
    for path in made:
        part = files.read_table(path)
        at = part["row"].to_numpy()
        if len(at) and not 0 <= at.min() <= at.max() < rows:
            raise DataError(f"status.parquet knows rows beyond the {rows} of the input; {crawl_tar.REMEDY}")
        reasons[at] = pc.index_in(part["reason"], REASONS).to_numpy()
        widths[at], heights[at] = part["width"].to_numpy(), part["height"].to_numpy()
        digests[at], hashes[at], hashed[at] = parts.known(part)
        failed.append(part.filter(pc.not_equal(part["reason"], Reason.OK.value)).select(["row", "detail"]))
    told = pa.concat_tables(failed).sort_by("row").combine_chunks()
    return Census(reasons, widths, heights, digests, hashes, hashed, told)
