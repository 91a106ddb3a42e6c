"""Input rows with certain reasons, one by one: for the eye a few, as CSV all of them."""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from rankclip import files
from rankclip.data.inspection import rows
from rankclip.data.reasons import Reason
from rankclip.errors import InputError

COLUMNS = ("row", "key", "url", "caption", "reason", "stage", "detail")
"""What is told of a row; a ledger adds `flags`."""


def named(texts: Iterable[str]) -> frozenset[str]:
    """The reasons that texts name: several with commas between, or patterns, as in `dns,http_5*`.

    Raises:
        InputError: a text names none.
    """
    found: set[str] = set()
    for word in (word.strip() for text in texts for word in text.split(",")):
        hits = fnmatch.filter((str(reason) for reason in Reason), word)
        if not hits:
            near = difflib.get_close_matches(word, list(Reason), 1)
            meant = f"did you mean {near[0]}? " if near else ""
            raise InputError(
                f"{word!r} is no reason; {meant}`rankclip data ledger --reasons` explains them all"
            )
        found.update(hits)
    return frozenset(found)


def listed(data: Path, reasons: Collection[str], names: Sequence[str] = ()) -> Iterator[pa.Table]:
    """Rows that ended in one of `reasons`, or that fail the check of that name; all rows where none is named.

    Args:
        data: the study's folder of data.
        reasons: names of reasons.
        names: columns to give; none: those that are told of a row.

    Raises:
        DataError: see `rows.stream`.
    """
    wanted = pa.array(sorted(reasons), pa.string())
    names = names or columns(data)
    needed = {"reason", "flags"} & set(columns(data))
    for table in rows.stream(data, [*names, *sorted(needed - set(names))]):
        if len(wanted):
            kept = pc.is_in(table["reason"], value_set=wanted)
            if "flags" in needed:
                kept = pc.or_(kept, flagged(table["flags"], wanted))
            table = table.filter(kept)
        if len(table):
            yield table.select(list(names))


def examples(data: Path, reasons: Collection[str], most: int) -> list[dict[str, object]]:
    """The first `most` of the rows that `listed` gives."""
    found: list[dict[str, object]] = []
    for table in listed(data, reasons):
        found += table.slice(0, most - len(found)).to_pylist()
        if len(found) == most:
            break
    return found


def write_csv(data: Path, reasons: Collection[str], out: Path) -> int:
    """Writes the rows that `listed` gives, atomically; how many there are."""
    schema = pa.schema([(name, pa.int64() if name == "row" else pa.string()) for name in columns(data)])
    written = 0
    with files.replace(out) as beside, csv.CSVWriter(beside, schema) as writer:
        for table in listed(data, reasons):
            writer.write_table(_flat(table).cast(schema))
            written += len(table)
    return written


def columns(data: Path) -> Sequence[str]:
    """Those of `COLUMNS` and `flags` that are known of this study's rows by now."""
    path = data / "ledger.parquet"
    has_flags = path.exists() and "flags" in files.column_names(path, rows.REMEDY)
    return (*COLUMNS, "flags") if has_flags else COLUMNS


def flagged(lists: pa.ChunkedArray, wanted: pa.Array) -> pa.ChunkedArray:
    """Whether each list of flags holds one of `wanted`."""
    chunks = []
    for chunk in lists.chunks:
        hits = pc.is_in(pc.list_flatten(chunk), value_set=wanted)
        parents = pc.list_parent_indices(chunk).filter(hits)
        chunks.append(pc.is_in(pa.array(range(len(chunk)), parents.type), value_set=parents))
    return pa.chunked_array(chunks, pa.bool_())


def _flat(table: pa.Table) -> pa.Table:
    """Lists of flags as words with a space between, which CSV can hold."""
    if "flags" not in table.column_names:
        return table
    words = pc.binary_join(
        pc.fill_null(table["flags"].combine_chunks(), pa.scalar([], table["flags"].type)), " "
    )
    return table.set_column(table.column_names.index("flags"), "flags", words)
