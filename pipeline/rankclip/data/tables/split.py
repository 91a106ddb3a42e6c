"""Lines with tabs between their columns, split without a Python object for each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from rankclip.data.reasons import Reason
from rankclip.data.tables.part import ROWS, Broken, Numbers, Part, as_text, broken
from rankclip.data.tables.streams import whole_lines

_NUL, _TAB, _FEED, _RETURN = 0, 9, 10, 13


def split(
    stream: pa.NativeFile, width: int, taken: Mapping[str, int], longest: int, row: int = 0
) -> Iterator[Part]:
    """The rows of a text of `width` columns without quotes, from where `stream` stands.

    Args:
        stream: bytes, one row a line, which ends in LF or CR LF.
        width: columns of every good row.
        taken: name of each column that is wanted -> its place.
        longest: a line of so many bytes is refused, whatever it holds.
        row: number of the first row.
    """
    for block in whole_lines(stream, longest):
        if block is None:
            yield as_text(np.empty(0, np.int64), _nothing(taken), [_too_long(row, longest)])
            row += 1
            continue
        data = np.frombuffer(block, np.uint8)
        ends = np.flatnonzero(data == _FEED)
        if not len(ends) or ends[-1] + 1 < len(data):
            ends = np.append(ends, len(data))
        starts = np.concatenate(([0], ends[:-1] + 1))
        for at in range(0, len(ends), ROWS):
            cut = slice(at, at + ROWS)
            yield _rows(block, data, starts[cut], ends[cut], width, taken, longest, row + at)
        row += len(ends)


def _rows(
    block: bytes,
    data: NDArray[np.uint8],
    starts: Numbers,
    ends: Numbers,
    width: int,
    taken: Mapping[str, int],
    longest: int,
    row: int,
) -> Part:
    """The part of the lines from `starts` to `ends`, of which the first is row number `row`."""
    begin, count = int(starts[0]), len(starts)
    special = np.flatnonzero(data[begin : ends[-1]] < 32) + begin
    kind = data[special]
    feeds = kind == _FEED
    line = np.cumsum(feeds) - feeds
    tabs = np.bincount(line[kind == _TAB], minlength=count)
    stops = ends - ((ends > starts) & (data[ends - 1] == _RETURN))
    good = (tabs == width - 1) & (ends - starts < longest)
    good[line[kind == _NUL]] = False
    good[line[(kind == _RETURN) & (special < stops[line])]] = False
    bad = [
        _why(row + at, block[starts[at] : stops[at]], int(ends[at] - starts[at]), width, longest)
        for at in np.flatnonzero(~good).tolist()
    ]
    at_tabs = special[(kind == _TAB) & good[line]].reshape(-1, width - 1)
    columns = _columns(block, starts[good], stops[good], at_tabs, taken)
    return as_text(np.flatnonzero(good) + row, columns, bad)


def _columns(
    block: bytes, starts: Numbers, stops: Numbers, tabs: Numbers, taken: Mapping[str, int]
) -> dict[str, pa.Array]:
    """The wanted columns as bytes: those between starts, tabs and stops, everything between left out."""
    if not len(starts):
        return _nothing(taken)
    bounds = np.column_stack([starts, np.repeat(tabs, 2, axis=1), stops])
    bounds[:, 2:-1:2] += 1  # behind a tab
    offsets = pa.py_buffer(np.ascontiguousarray(bounds, np.int32))
    pieces = pa.Array.from_buffers(pa.binary(), bounds.size - 1, [None, offsets, pa.py_buffer(block)])
    every = np.arange(0, bounds.size, bounds.shape[1])
    return {name: pieces.take(pa.array(every + 2 * place)) for name, place in taken.items()}


def _why(row: int, line: bytes, size: int, width: int, longest: int) -> Broken:
    """What is wrong with a line that is refused."""
    if size >= longest:
        return _too_long(row, longest)
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        return broken(row, f"byte {error.start}: {error.reason}", Reason.BAD_ENCODING)
    for character, name in (("\0", "NUL"), ("\r", "carriage return")):
        if character in text:
            return broken(row, f"{name} inside the line: {text}")
    return broken(row, f"{text.count(chr(9)) + 1} columns instead of {width}: {text}")


def _too_long(row: int, longest: int) -> Broken:
    return broken(row, f"line of {longest} bytes or more", Reason.CAPTION_TOO_LONG)


def _nothing(names: Sequence[str] | Mapping[str, int]) -> dict[str, pa.Array]:
    return {name: pa.array([], pa.binary()) for name in names}
