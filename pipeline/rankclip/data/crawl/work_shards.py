"""Which rows of the URL table make up which work shard."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from rankclip import files
from rankclip.data.crawl.spec import DownloadSpec

SHARE = 200
"""A list has at least so many work shards, so that an interruption costs 0.5 % of it at most ..."""

LEAST = 20
"""... unless they would have fewer rows than this, for which a shard's own cost would show."""

COLUMNS = ["row", "key", "url", "caption"]


def rows_per_shard(spec: DownloadSpec, urls: Path) -> int:
    """Rows of a work shard (the last may have fewer)."""
    return min(spec.rows_per_shard, max(LEAST, rows(urls) // SHARE))


def rows(urls: Path) -> int:
    """Rows of a URL table."""
    found: int = pq.read_metadata(urls).num_rows
    return found


def shard_names(spec: DownloadSpec, urls: Path) -> list[str]:
    """The names of all work shards of a URL table, in the order of its rows."""
    return [f"{index:05d}" for index in range(-(-rows(urls) // rows_per_shard(spec, urls)))]


def slices(spec: DownloadSpec, urls: Path, wanted: Collection[str]) -> Iterator[tuple[str, Any]]:
    """Name and table of `COLUMNS` of each wanted work shard, whatever the table's row groups."""
    size = rows_per_shard(spec, urls)
    held: list[Any] = []
    index = 0
    for batch in files.read_batches(urls, COLUMNS, rows=max(size, 2**16)):
        held.append(batch.select(COLUMNS))
        while sum(map(len, held)) >= size:
            table = pa.concat_tables(held)
            if f"{index:05d}" in wanted:
                yield f"{index:05d}", table.slice(0, size)
            held = [table.slice(size)]
            index += 1
    if sum(map(len, held)) and f"{index:05d}" in wanted:
        yield f"{index:05d}", pa.concat_tables(held)


def to_bytes(table: Any) -> bytes:
    """A table as the bytes of an Arrow file, the form in which it travels and img2dataset takes its work."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table.combine_chunks())
    content: bytes = sink.getvalue().to_pybytes()
    return content


def from_bytes(content: bytes) -> Any:
    """The table that `to_bytes` packed."""
    return pa.ipc.open_file(content).read_all()
