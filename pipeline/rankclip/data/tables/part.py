"""What reading a table gives, part by part."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from rankclip.data.reasons import Reason, printable
from rankclip.errors import InputError

ROWS = 2**14
"""Most rows of a part: captions may be some KB long."""

Numbers = NDArray[np.int64]


class Broken(NamedTuple):
    """A row that cannot be read."""

    row: int
    reason: Reason
    detail: str


class Part(NamedTuple):
    """Consecutive rows of a table. Every row, counted from 0, is in one part, and in one of its fields."""

    rows: Numbers
    """Numbers of the rows that can be read, rising."""

    table: pa.Table
    """Their columns in the order asked for, pa.string() (or a list of it), null where a row has none."""

    broken: list[Broken]
    """The others, by row."""


def broken(row: int, detail: str, reason: Reason = Reason.MALFORMED_ROW) -> Broken:
    """A row that cannot be read, with what to say of it made fit for a table."""
    return Broken(row, reason, printable(detail))


def as_text(rows: Numbers, columns: Mapping[str, pa.Array], others: Sequence[Broken] = ()) -> Part:
    """The part of columns of bytes, or of lists of them; a row where one is not UTF-8 is broken."""
    try:
        texts = {name: column.cast(_text(column.type)) for name, column in columns.items()}
    except pa.ArrowInvalid:
        faults = _faults(columns)
        kept = np.ones(len(rows), bool)
        kept[list(faults)] = False
        wrong = [broken(int(rows[at]), said, Reason.BAD_ENCODING) for at, said in faults.items()]
        readable = {name: column.filter(pa.array(kept)) for name, column in columns.items()}
        return as_text(rows[kept], readable, sorted([*others, *wrong]))
    return Part(rows, pa.table(texts), list(others))


def as_lists(column: pa.ChunkedArray) -> pa.Array:
    """A column of texts as one of lists of one, null where it is; lists stay as they are."""
    texts = column.combine_chunks()
    if pa.types.is_list(texts.type):
        return texts
    ends = np.concatenate(([0], np.cumsum(np.asarray(texts.is_valid()))))
    return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), texts.drop_null(), mask=texts.is_null())


def _text(kind: pa.DataType) -> pa.DataType:
    return pa.list_(pa.string()) if pa.types.is_list(kind) else pa.string()


def _faults(columns: Mapping[str, pa.Array]) -> dict[int, str]:
    """What is wrong with the first column that is not UTF-8, by the place of each row that has one."""
    found: dict[int, str] = {}
    for name, column in columns.items():
        for at, value in enumerate(column.to_pylist()):
            try:
                for text in value if isinstance(value, list) else [value]:
                    (text or b"").decode()
            except UnicodeDecodeError as error:
                found.setdefault(at, f"{name}, byte {error.start}: {error.reason}")
    return found


def require(path: Path, wanted: Iterable[str], known: Sequence[str]) -> None:
    """Refuses a table that lacks a column, or has two of that name.

    Raises:
        InputError: names the columns there are.
    """
    lacking = [name for name in wanted if name not in known]
    if lacking:
        there = ", ".join(printable(name) for name in known[:20]) + (", ..." if len(known) > 20 else "")
        raise InputError(
            f"{path} has no column {', '.join(lacking)}; choose among those it has: {there or 'none'}"
        )
    twice = [name for name in wanted if list(known).count(name) > 1]
    if twice:
        raise InputError(f"{path} has more than one column {', '.join(twice)}; rename all but one")
