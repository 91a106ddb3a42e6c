"""Where the samples are that a key names, in 16 bytes a sample."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Integers = NDArray[np.int64]


class Positions:
    """Samples by a 64-bit digest of their keys: 200 MB for 12 million.

    Python's own digest differs between processes, and two keys may share one. So what is found is a
    candidate, and whoever asks compares the keys themselves; then no digest can change a result.

    Args:
        keys: the samples' keys in order, in chunks of strings; a null names nothing.
    """

    def __init__(self, keys: Iterable[pa.ChunkedArray]) -> None:
        digests, places, start = list[Integers](), list[Integers](), 0
        for chunk in keys:
            known, values = _digests(chunk)
            digests.append(values)
            places.append(start + known)
            start += len(chunk)
        values = _emptied(digests)
        order = np.argsort(values, kind="stable")
        self._digests = values[order]
        self._places = _emptied(places)[order]

    def find(self, keys: pa.ChunkedArray) -> tuple[Integers, Integers]:
        """Pairs of a row of `keys` and a position that may have that key, by row, all there are."""
        known, values = _digests(keys)
        first = np.searchsorted(self._digests, values, "left")
        count = np.searchsorted(self._digests, values, "right") - first
        rows = np.repeat(known, count)
        within = np.arange(len(rows)) - np.repeat(np.cumsum(count) - count, count)
        return rows, self._places[np.repeat(first, count) + within]


def _digests(keys: pa.ChunkedArray) -> tuple[Integers, Integers]:
    """Rows that are not null, and the digests of their keys."""
    values = keys.to_pylist()
    digests = np.fromiter(map(hash, values), np.int64, len(values))
    known = np.flatnonzero(np.asarray(keys.is_valid()))
    return known, digests[known]


def _emptied(pieces: list[Integers]) -> Integers:
    """All of them in one array; the pieces are let go."""
    whole = np.concatenate([np.empty(0, np.int64), *pieces])
    pieces.clear()
    return whole
