"""Rows on their way to an index."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from rankclip import files
from rankclip.data.captions.slots import PREFIX
from rankclip.data.sharding.packing import SCHEMA


@dataclass(frozen=True)
class Parts:
    """Parquet files of one schema: `packing.SCHEMA`, `source_key`, `captions.raw` and other slots."""

    paths: Sequence[Path]

    def tables(self, columns: list[str]) -> Iterator[pa.Table]:
        """Those columns of all rows, in order."""
        for path in self.paths:
            yield from files.read_batches(path, columns)

    def columns(self) -> list[str]:
        """The columns that become columns of the index: `source_key` only where a row has one."""
        named = files.column_names(self.paths[0])
        has_keys = any(len(t) > t["source_key"].null_count for t in self.tables(["source_key"]))
        own = [*SCHEMA.names, *(["source_key"] if has_keys else [])]
        return own + [name for name in named if name.startswith(PREFIX)]


def regrouped(tables: Iterable[pa.Table], rows: int) -> Iterator[pa.Table]:
    """The same rows in tables of `rows` rows each, the last maybe of fewer; every column in one chunk."""
    held: list[pa.Table] = []
    count = 0
    for table in tables:
        while count + len(table) >= rows:
            split = rows - count
            yield pa.concat_tables([*held, table.slice(0, split)]).combine_chunks()
            held, count, table = [], 0, table.slice(split)
        if len(table):
            held.append(table)
            count += len(table)
    if held:
        yield pa.concat_tables(held).combine_chunks()
