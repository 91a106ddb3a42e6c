"""Tables that others publish, read as a stream: csv, tsv, jsonl, parquet, the texts also as .gz."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from rankclip import files
from rankclip.data.ingestion.form import Format
from rankclip.data.tables import comma
from rankclip.data.tables.objects import Objects
from rankclip.data.tables.part import ROWS, Part, as_lists, as_text, require
from rankclip.data.tables.split import split
from rankclip.data.tables.streams import BOM, opened
from rankclip.errors import InputError

LONGEST = 2**20
"""Bytes of the longest row that is read."""

TEXTS = (
    *(pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view),
    *(pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view, pa.types.is_null),
)


def read(
    path: Path,
    format: Format,
    columns: Sequence[str],
    keys: Collection[str] = (),
    lists: Collection[str] = (),
) -> Iterator[Part]:
    """The wanted columns of a table, part by part.

    Args:
        path: the table. csv is quoted (RFC 4180), so its texts may hold line feeds; tsv is not. Both begin
            with the names of their columns; blank lines of csv and jsonl are no rows.
        format: how it is written.
        columns: names of the columns, all different.
        keys: of these, columns that may hold whole numbers, which become their digits.
        lists: of these, columns that may hold lists of texts; they come as lists, a text as a list of one.

    Raises:
        InputError: the file is damaged or empty, lacks a column or has it twice, or one holds no texts.
    """
    for part in _parts(path, format, columns, keys, lists):
        wanted = {name: as_lists(part.table[name]) if name in lists else part.table[name] for name in columns}
        yield part._replace(table=pa.table(wanted))


def _parts(
    path: Path, format: Format, columns: Sequence[str], keys: Collection[str], lists: Collection[str]
) -> Iterator[Part]:
    if format == "parquet":
        yield from _parquet(path, columns, keys, lists)
    elif format == "jsonl":
        yield from Objects(path, columns, keys, lists).read(LONGEST)
    else:
        yield from comma.read(path, columns, LONGEST) if format == "csv" else _tsv(path, columns)


def _tsv(path: Path, columns: Sequence[str]) -> Iterator[Part]:
    with opened(path) as stream:
        line, _, _ = stream.read(LONGEST).partition(b"\n")
    names = line.removeprefix(BOM).removesuffix(b"\r").decode("utf-8", "replace").split("\t")
    require(path, columns, names if line else [])
    with opened(path) as stream:
        stream.read(len(line) + 1)
        yield from split(stream, len(names), {name: names.index(name) for name in columns}, LONGEST)


def _parquet(
    path: Path, columns: Sequence[str], keys: Collection[str], lists: Collection[str]
) -> Iterator[Part]:
    try:
        # by pages, since a writer may have put everything into one row group
        with parquet.ParquetFile(path, pre_buffer=False, buffer_size=2**20) as file:
            schema = file.schema_arrow
            require(path, columns, schema.names)
            for name in columns:
                _require_text(path, schema.field(name), name in keys, name in lists)
            row = 0
            for batch in file.iter_batches(ROWS, columns=list(columns), use_threads=False):
                rows = np.arange(row, row + len(batch))
                row += len(batch)
                yield as_text(rows, {name: _as_bytes(batch.column(name)) for name in columns})
    except (OSError, pa.ArrowException) as error:
        raise InputError(
            f"{path} cannot be read as Parquet ({files.one_line(error)}); get a whole copy of it"
        ) from None


def _require_text(path: Path, field: pa.Field, is_key: bool, is_list: bool) -> None:
    kind = field.type
    if is_key and pa.types.is_integer(kind):
        return
    if is_list and (pa.types.is_list(kind) or pa.types.is_large_list(kind)):
        kind = kind.value_type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if not any(is_kind(kind) for is_kind in TEXTS):
        raise InputError(f"column {field.name} of {path} holds {field.type}, no texts; name another column")


def _as_bytes(column: pa.Array) -> pa.Array:
    """A column as bytes, or lists of them, which only then are checked for being UTF-8."""
    kind = column.type
    if pa.types.is_integer(kind):
        column = column.cast(pa.string())
    elif pa.types.is_dictionary(kind):
        column = column.dictionary_decode()
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind):
        values = _as_bytes(column.flatten())
        ends = np.concatenate(([0], np.cumsum(column.value_lengths().fill_null(0))))
        return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), values, mask=column.is_null())
    return column.cast(pa.binary())
