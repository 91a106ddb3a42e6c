"""Comma-separated tables, quoted as RFC 4180 says."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa

from rankclip.data.reasons import Reason
from rankclip.data.tables.part import ROWS, Broken, Part, as_text, broken, require
from rankclip.data.tables.streams import opened, whole_lines

SPREAD = 2**16
"""Characters of the longest row that is spread over several lines: a few times the longest captions."""


def read(path: Path, columns: Sequence[str], longest: int) -> Iterator[Part]:
    """The wanted columns of a csv.

    Not with Arrow's parser, five times as fast: it stops at a row that is not UTF-8, or does not end, and a
    process that leaves it half-way may not end either.

    Args:
        path: the table, which begins with the names of its columns.
        columns: their names.
        longest: bytes of the longest line that is read. A row with a text of more than 128 KiB, with more
            than SPREAD characters on several lines, or of which a quote is not closed as it should be, is
            broken and costs its first line alone: what follows is read from the next.

    Raises:
        InputError: it is damaged, or lacks a column.
    """
    with opened(path) as stream:
        blocks = whole_lines(stream, longest)
        lines = _Lines(chain.from_iterable(_lines(block, longest) for block in blocks))
        reader = csv.reader(lines, strict=True)
        try:
            known = next((row for row in reader if row), [])
        except csv.Error:  # a name without end
            known = []
        require(path, columns, known)
        lines.begin()
        for first, rows in _rows(reader, lines):
            yield _part(first, rows, len(known), {name: known.index(name) for name in columns})


def _lines(block: bytes | None, longest: int) -> Iterator[str]:
    """The lines of a block with their line feeds; bytes that are not UTF-8 become halves of surrogates."""
    if block is None:
        return iter([f"line of {longest} bytes or more\n"])
    return io.StringIO(block.decode("utf-8", "surrogateescape"), newline="\n")


Row = list[str] | csv.Error


class _Lines:
    """Lines for a reader of rows, which can go back to the second line of a row that it cannot read."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines
        self._again: list[str] = []
        """Lines to be read once more, the last first."""
        self._row: list[str] = []
        """Lines of the row that is being read."""
        self._size = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._again.pop() if self._again else next(self._lines)
        self._row.append(line)
        self._size += len(line)
        if self._size > SPREAD and len(self._row) > 1:
            raise csv.Error(f"a quote is not closed within {SPREAD} characters")
        return line

    def begin(self) -> None:
        """The next line begins a row."""
        self._row.clear()
        self._size = 0

    def give_up(self) -> None:
        """The next row begins with the line after the first of this one."""
        self._again += self._row[:0:-1]
        self.begin()


def _rows(reader: Iterator[list[str]], lines: _Lines) -> Iterator[tuple[int, list[Row]]]:
    """The rows, some at a time, with the number of the first; what cannot be read is its error."""
    first = 0
    rows: list[Row] = []
    while True:
        try:
            for row in reader:
                lines.begin()
                if row:  # no blank line
                    rows.append(row)
                if len(rows) == ROWS:
                    break
            else:
                break
        except csv.Error as error:
            rows.append(error)
            lines.give_up()
        if len(rows) == ROWS:
            yield first, rows
            first, rows = first + ROWS, []
    if rows:
        yield first, rows


def _part(first: int, rows: Sequence[Row], width: int, taken: Mapping[str, int]) -> Part:
    """The part of rows of a table of `width` columns, of which the first is row number `first`."""
    bad: list[Broken] = []
    kept: list[list[str]] = []
    places: list[int] = []
    for number, row in enumerate(rows, first):
        if isinstance(row, list) and len(row) == width:
            kept.append(row)
            places.append(number)
        else:
            bad.append(_why(number, row, width))
    numbers = np.array(places, np.int64)
    columns = {name: [row[place] for row in kept] for name, place in taken.items()}
    try:
        table = pa.table({name: pa.array(each, pa.string()) for name, each in columns.items()})
    except UnicodeEncodeError:
        as_read = ([text.encode("utf-8", "surrogateescape") for text in each] for each in columns.values())
        return as_text(numbers, dict(zip(columns, map(pa.array, as_read), strict=True)), bad)
    return Part(numbers, table, bad)


def _why(number: int, row: Row, width: int) -> Broken:
    """What is wrong with a row that is refused."""
    if isinstance(row, csv.Error):
        return broken(number, str(row))
    try:
        text = ",".join(row)
        text.encode()
    except UnicodeEncodeError:
        return broken(number, "not UTF-8", Reason.BAD_ENCODING)
    return broken(number, f"{len(row)} columns instead of {width}: {text}")
