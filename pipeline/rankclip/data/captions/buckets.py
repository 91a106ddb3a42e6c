"""Rows put on disk by the range of positions that they belong to, to be read range by range."""

from __future__ import annotations

import shutil
from collections import defaultdict
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

BUFFERED = 128 << 20
"""Bytes held back, so that a bucket is written in pieces of a useful size."""

_OPTIONS = pa.ipc.IpcWriteOptions(compression="lz4")


class Buckets:
    """Tables of one schema, cut by position. What a killed process left in the folder is deleted.

    Args:
        folder: for one file a bucket.
        width: positions in each bucket.
    """

    def __init__(self, folder: Path, width: int) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self.folder, self.width = folder, width
        self._held: dict[int, list[pa.Table]] = defaultdict(list)
        self._bytes = 0

    def add(self, positions: NDArray[np.int64], rows: pa.Table) -> None:
        """Put each of `rows` into the bucket of its position; a bucket keeps the order in which they come."""
        numbers = positions // self.width
        order = np.argsort(numbers, kind="stable")
        rows, numbers = rows.take(pa.array(order)), numbers[order]
        starts = np.flatnonzero(np.diff(numbers, prepend=-1))
        for start, end in zip(starts, [*starts[1:], len(numbers)], strict=True):
            self._held[int(numbers[start])].append(rows.slice(start, end - start))
        self._bytes += rows.nbytes
        if self._bytes > BUFFERED:
            self.flush()

    def flush(self) -> None:
        """Write all that is held back."""
        for number, tables in self._held.items():
            table = pa.concat_tables(tables).combine_chunks()
            with (
                self._path(number).open("ab") as file,
                pa.ipc.new_stream(file, table.schema, options=_OPTIONS) as stream,
            ):
                stream.write_table(table)
        self._held.clear()
        self._bytes = 0

    def read(self, number: int) -> pa.Table | None:
        """The rows of a bucket, in order; None where it has none."""
        path = self._path(number)
        if not path.exists():
            return None
        tables = []
        with path.open("rb") as file:
            while file.peek(1):
                tables.append(pa.ipc.open_stream(file).read_all())
        return pa.concat_tables(tables)

    def _path(self, number: int) -> Path:
        return self.folder / f"{number}.arrows"
