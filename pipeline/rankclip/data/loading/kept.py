"""Rows kept in memory, so that each is decoded and tokenised once where there is room for it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rankclip.data.loading.rows import Arrays, Rows, Undecodable


class Kept:
    """The rows of `rows`; what does not fit into `room` bytes is made again each time.

    Args:
        rows: makes them.
        room: bytes.
    """

    def __init__(self, rows: Rows, room: int) -> None:
        self._rows = rows
        self._kept = rows.empty(min(len(rows), room // rows.row_bytes))  # takes memory where it is written to
        self._places = np.full(len(rows), -1, np.int32)
        self._used = 0

    @property
    def all_fit(self) -> bool:
        """Whether there is room for every row."""
        return len(self._kept["index"]) == len(self._rows)

    def fill(self, indices: NDArray[np.int64], out: Arrays) -> list[Undecodable]:
        """As `Rows.fill`; of a row that is kept, nothing is said again."""
        places = self._places[indices]
        known, unknown = np.flatnonzero(places >= 0), np.flatnonzero(places < 0)
        for name, kept in self._kept.items():
            out[name][known] = kept[places[known]]
        if not len(unknown):
            return []
        made = self._rows.empty(len(unknown))
        found = self._rows.fill(indices[unknown], made)
        for name, values in made.items():
            out[name][unknown] = values
        self._keep(indices[unknown], made)
        return [one._replace(row=int(unknown[one.row])) for one in found]

    def _keep(self, indices: NDArray[np.int64], made: Arrays) -> None:
        count = min(len(indices), len(self._kept["index"]) - self._used)
        own = slice(self._used, self._used + count)
        for name, values in made.items():
            self._kept[name][own] = values[:count]
        self._places[indices[:count]] = np.arange(own.start, own.stop)
        self._used += count
