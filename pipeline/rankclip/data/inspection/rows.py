"""Every input row as a stream of tables: from the ledger, or before there is one from its parts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from rankclip import files
from rankclip.data.reasons import Reason
from rankclip.errors import DataError

REMEDY = "make it with `rankclip repro`"

SCHEMA = pa.schema(
    {
        "row": pa.int64(),
        "key": pa.string(),
        "url": pa.string(),
        "caption": pa.string(),
        "reason": pa.string(),
        "stage": pa.string(),
        "detail": pa.string(),
        "shard": pa.string(),
    }
)
"""What is known of a row before curate; the ledger has these columns and more."""


def stream(data: Path, columns: Sequence[str]) -> Iterator[pa.Table]:
    """`columns` of every input row, table by table.

    From the ledger rows come by their number. Without one the rows that ingest refused come first; the others
    have the reason of the stage `download`, and none before it has run.

    Args:
        data: the study's folder of data.
        columns: of the ledger, or of `SCHEMA` where there is none yet.

    Raises:
        DataError: a file is missing, cannot be read or lacks a column, or two are not of one run.
    """
    if (data / "ledger.parquet").exists():
        yield from files.read_batches(data / "ledger.parquet", list(columns), REMEDY)
        return
    unknown = sorted(set(columns) - set(SCHEMA.names))
    if unknown:
        raise DataError(f"{data / 'ledger.parquet'}, which has {', '.join(unknown)}, is missing; {REMEDY}")
    for refused in files.read_batches(data / "refused.parquet", ["row", "reason", "detail"], REMEDY):
        yield _filled(refused, "ingest").select(list(columns))
    urls = files.read_batches(data / "urls.parquet", ["row", "key", "url", "caption"], REMEDY)
    status = data / "crawl" / "status.parquet"
    if not status.exists():
        for table in urls:
            yield _filled(table, "").select(list(columns))
        return
    other = f"{status} has other rows than {data / 'urls.parquet'}; {REMEDY}"
    if count(status) != count(data / "urls.parquet"):
        raise DataError(other)
    crawled = files.read_batches(status, ["row", "reason", "detail", "shard"], REMEDY)
    for table, told in _side_by_side(urls, crawled):
        if not table["row"].equals(told["row"]):
            raise DataError(other)
        for name in ("reason", "detail", "shard"):
            table = table.append_column(name, told[name])
        yield _filled(table, "download").select(list(columns))


def count(path: Path, remedy: str = REMEDY) -> int:
    """Rows of a Parquet file, from its footer."""
    files.column_names(path, remedy)  # says what is wrong with the file, if anything is
    rows: int = parquet.read_metadata(path).num_rows
    return rows


def at(path: Path, positions: Sequence[int], columns: Sequence[str], remedy: str = REMEDY) -> pa.Table:
    """The rows at `positions`, which rise, of a Parquet file; only the row groups that hold one are read.

    Raises:
        DataError: the file is missing, cannot be read or has no such row.
    """
    files.column_names(path, remedy)
    found, start = [], 0
    with parquet.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            rows = file.metadata.row_group(group).num_rows
            inside = [position - start for position in positions if start <= position < start + rows]
            if inside:
                found.append(file.read_row_group(group, columns=list(columns)).take(inside))
            start += rows
        empty = file.schema_arrow.empty_table().select(list(columns))
    if sum(map(len, found)) != len(positions):
        raise DataError(f"{path} has {start} rows and none at {positions[-1]}; {remedy}")
    return pa.concat_tables([empty, *(table.select(list(columns)) for table in found)])


def _filled(table: pa.Table, stage: str) -> pa.Table:
    """The rows with all columns of `SCHEMA`."""
    n = len(table)
    if stage == "download":  # an image that is there was refused by nobody yet
        stages = pc.if_else(pc.equal(table["reason"], Reason.OK.value), "", stage)
    else:
        stages = pa.chunked_array([pa.repeat(stage, n)])
    table = table.append_column("stage", stages)
    for name in SCHEMA.names:
        if name not in table.column_names:
            table = table.append_column(name, pa.repeat("", n))
    return table.select(SCHEMA.names).cast(SCHEMA)


def _side_by_side(left: Iterator[pa.Table], right: Iterator[pa.Table]) -> Iterator[tuple[pa.Table, pa.Table]]:
    """Two streams of equally many rows, cut alike."""
    first, second = next(left, None), next(right, None)
    while first is not None and second is not None:
        n = min(len(first), len(second))
        yield first.slice(0, n), second.slice(0, n)
        first = first.slice(n) if len(first) > n else next(left, None)
        second = second.slice(n) if len(second) > n else next(right, None)
