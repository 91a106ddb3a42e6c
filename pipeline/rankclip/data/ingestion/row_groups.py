"""Parquet files of equal row groups, whatever the pieces in which their rows come."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from rankclip import files

ROWS = 2**16
"""Rows of a row group, and those that wait for the rest of theirs at the most."""


class RowGroups:
    """Takes tables of one schema."""

    def __init__(self, writer: pq.ParquetWriter, schema: pa.Schema) -> None:
        self._writer = writer
        self._waiting = schema.empty_table()

    def add(self, table: pa.Table) -> None:
        """Appends rows."""
        self._waiting = pa.concat_tables([self._waiting, table])
        while len(self._waiting) >= ROWS:
            self._write(ROWS)

    def end(self) -> None:
        """Writes the rows that are left."""
        if len(self._waiting):
            self._write(len(self._waiting))

    def _write(self, rows: int) -> None:
        self._writer.write_table(self._waiting.slice(0, rows), row_group_size=rows)
        self._waiting = self._waiting.slice(rows)


@contextmanager
def row_groups(path: Path, schema: pa.Schema) -> Iterator[RowGroups]:
    """A Parquet file that appears, complete, when the block ends well."""
    with files.replace(path) as beside, pq.ParquetWriter(beside, schema, compression="zstd") as writer:
        groups = RowGroups(writer, schema)
        yield groups
        groups.end()
