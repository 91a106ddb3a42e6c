"""The part of a list that a study takes."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from rankclip.data.ingestion.seen import Digests, among, digests
from rankclip.data.ingestion.spec import Subset
from rankclip.data.tables.part import Numbers, Part
from rankclip.data.tables.streams import opened, whole_lines
from rankclip.errors import InputError

LONGEST = 2**16
"""Bytes of the longest key or URL in a file of them."""

CHUNK = 2**16
"""Rows drawn at once."""

Mask = NDArray[np.bool_]


def keys_of(rows: Numbers) -> pa.Array:
    """The key of each row of a list: its number, nine digits."""
    return pc.utf8_lpad(pa.array(rows).cast(pa.string()), 9, "0")


class Drawn:
    """Rows drawn by a rule; see `Subset.pairs`.

    Args:
        subset: how many rows, and the seed.
        of: how many the list has.

    Raises:
        InputError: it has fewer, or the rows drawn are not those stated.
    """

    def __init__(self, subset: Subset, of: int) -> None:
        pairs = subset.pairs or 0
        if pairs > of:
            raise InputError(f"source.subset.pairs = {pairs:,}, but the list has {of:,} rows; take fewer")
        lots = np.concatenate(
            [
                digests(f"{subset.seed}/{row}".encode() for row in range(at, min(at + CHUNK, of)))
                for at in range(0, of, CHUNK)
            ]
        )
        self._chosen = np.zeros(of, bool)
        self._chosen[np.argsort(lots, kind="stable")[:pairs]] = True
        found = digest_of_keys(np.flatnonzero(self._chosen))
        if subset.sha256 not in (None, found):
            raise InputError(
                f"source.subset: {pairs:,} of {of:,} rows drawn with seed {subset.seed} give keys of sha256 "
                f"{found}, not {subset.sha256} as stated; get the list that this was stated for, or drop "
                "source.subset.sha256 if pairs or seed are yours"
            )
        self._said: dict[str, int | str] = {"pairs": pairs, "of": of, "sha256": found}

    def kept(self, part: Part) -> Part:
        """The rows of `part` that are drawn."""
        return _only(part, self._chosen[part.rows], self._chosen[[each.row for each in part.broken]])

    def record(self) -> dict[str, int | str]:
        """What was drawn, of how many rows, and the digest of the keys."""
        return self._said


class Named:
    """Rows that a file names by their URL or their key: the list's own, or, where it has none, ours.

    Where a list has keys of its own, a row that cannot be read is not named.

    Raises:
        InputError: the file of keys cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._names = _names(path)
        self._met = np.zeros(len(self._names), bool)

    def kept(self, part: Part) -> Part:
        """The rows of `part` that are named."""
        texts = [part.table[name] for name in part.table.column_names if name != "caption"]
        numbers = keys_of(part.rows)
        broken = keys_of(np.array([each.row for each in part.broken], np.int64))
        if "source_key" in part.table.column_names:
            # the list's own may look like the number of another row
            without = pc.equal(pc.fill_null(part.table["source_key"], ""), "").combine_chunks()
            numbers = pc.if_else(without, numbers, None)
            broken = pa.nulls(len(broken), pa.string())
        good = np.zeros(len(part.rows), bool)
        for column in (numbers, *texts):
            good |= self._named(column)
        return _only(part, good, self._named(broken))

    def record(self) -> dict[str, int | str]:
        """How many rows are named, and how many names no row of the list has.

        Raises:
            InputError: none is met.
        """
        met = int(self._met.sum())
        if not met:
            raise InputError(
                f"source.subset.path {self._path}: none of its {len(self._names):,} keys or URLs is in the "
                "list; give a line each: URLs, keys of the list, or, if it has none, rows as nine digits"
            )
        return {"named": len(self._names), "not_in_list": len(self._names) - met}

    def _named(self, column: pa.Array | pa.ChunkedArray) -> Mask:
        found = digests(pc.fill_null(column, "").cast(pa.binary()).to_pylist())
        named = among(found, self._names)
        self._met[np.searchsorted(self._names, found[named])] = True
        return named


def _names(path: Path) -> Digests:
    """Sorted digests of the lines of a file, without white space around them."""
    found = []
    with opened(path) as stream:
        for block in whole_lines(stream, LONGEST):
            if block is None:
                raise InputError(
                    f"source.subset.path {path} has a line of {LONGEST:,} bytes; give a key or URL a line"
                )
            found.append(np.unique(digests(line for line in map(bytes.strip, block.split(b"\n")) if line)))
    return np.unique(np.concatenate([np.empty(0, np.uint64), *found]))


def _only(part: Part, good: Mask, bad: Mask) -> Part:
    broken = [each for each, is_kept in zip(part.broken, bad.tolist(), strict=True) if is_kept]
    return Part(part.rows[good], part.table.filter(pa.array(good)), broken)


def digest_of_keys(rows: Numbers) -> str:
    """The sha256 of the file that names these rows: a key a line, in order."""
    total = hashlib.sha256()
    for at in range(0, len(rows), CHUNK):
        total.update("".join(f"{key}\n" for key in keys_of(rows[at : at + CHUNK]).to_pylist()).encode())
    return total.hexdigest()
