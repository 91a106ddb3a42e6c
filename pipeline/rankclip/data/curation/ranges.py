"""A table on the disk that is sorted by row, taken range by range."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from rankclip import files
from rankclip.errors import DataError


class Ranges:
    """The rows of a Parquet file, each handed out once; little more than a range of them is held."""

    def __init__(self, path: Path, schema: pa.Schema, remedy: str) -> None:
        """`schema`: the columns to read, `row` among them; `remedy` ends the message of an error."""
        self.path = path
        self._remedy = remedy
        self._tables = files.read_batches(path, schema.names, remedy)
        self._schema = schema
        self._held = schema.empty_table()
        self._last = -1

    def below(self, row: int) -> pa.Table:
        """The rows below `row` that were not handed out before.

        Raises:
            DataError: the file is missing, cannot be read, lacks a column or is not sorted by row.
        """
        taken = [self._schema.empty_table()]
        while True:
            count = int(np.searchsorted(self._held["row"].to_numpy(), row))
            taken.append(self._held.slice(0, count))
            self._held = self._held.slice(count)
            if len(self._held) or not self._next():
                return pa.concat_tables(taken).combine_chunks()

    def _next(self) -> bool:
        """Hold the next rows of the file, if it has some."""
        table = next(self._tables, None)
        if table is None:
            return False
        rows = table["row"].to_numpy()
        if (np.diff(rows, prepend=self._last) <= 0).any():
            raise DataError(f"{self.path} is not sorted by row after row {self._last}; {self._remedy}")
        self._held, self._last = table.select(self._schema.names).cast(self._schema), int(rows[-1])
        return True
