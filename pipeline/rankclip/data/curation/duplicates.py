"""Which rows show the same image as an earlier one: by its bytes, or by its looks.

An original is the earliest row of its kind that is itself kept: of equal bytes the first that no other check
removes, of like looks the first such row that looks like no original before it. All later rows are duplicates
of the earliest original that they equal or look like, whether or not the study removes them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

NONE = -1
"""In the place of a row: there is none."""

_NEVER = np.iinfo(np.int64).max


def equal_bytes(digests: np.ndarray, rows: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """For each of `rows` the row of the original with the same bytes, int32 `[r]`, `NONE` where it has none.

    Args:
        digests: uint64 `[n, 2]`, of the images' bytes, by row.
        rows: int64 `[r]`, rising.
        kept: bool `[n]`, whether no other check removes the row, by row.
    """
    found = np.full(len(rows), NONE, np.int32)
    lead = digests[rows, 0]
    order = np.argsort(lead)
    lead = lead[order]
    twin = lead[1:] == lead[:-1]
    shared = np.zeros(len(rows), bool)
    shared[1:] |= twin
    shared[:-1] |= twin
    some = order[shared]  # few are left to be sorted by the whole digest and row
    of = rows[some]
    sort = np.lexsort((of, digests[of, 1], digests[of, 0]))
    some, of = some[sort], of[sort]
    if len(some):
        new = np.ones(len(some), bool)
        new[1:] = (digests[of[1:]] != digests[of[:-1]]).any(axis=1)
        first = np.minimum.reduceat(np.where(kept[of], of, _NEVER), np.flatnonzero(new))
        original = first[np.cumsum(new) - 1]
        found[some] = np.where(original < of, original, NONE)
    return found


@dataclass(frozen=True)
class Alike:
    """Distinct hashes, and which of them are alike."""

    hashes: np.ndarray
    """uint64 `[h]`, rising."""
    left: np.ndarray
    """int32 `[p]`: with `right` the positions of each pair of hashes that are alike, once."""
    right: np.ndarray

    def least(self, values: np.ndarray) -> np.ndarray:
        """For each hash the least of the `values` `[h]` of itself and of those like it."""
        found = values.copy()
        np.minimum.at(found, self.left, values[self.right])
        np.minimum.at(found, self.right, values[self.left])
        return found


def distinct(hashes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct values of uint64 `[n]`, rising, and the position int32 `[n]` of each among them.

    As `numpy.unique`, in half the memory.
    """
    order = np.argsort(hashes)
    hashes = hashes[order]
    new = np.ones(len(hashes), bool)
    new[1:] = hashes[1:] != hashes[:-1]
    at = np.empty(len(hashes), np.int32)
    at[order] = np.cumsum(new, dtype=np.int32) - np.int32(1)
    return hashes[new], at


def like_looks(alike: Alike, at: np.ndarray, rows: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """For each image the row of the earliest original that looks like it, int64 `[n]`, `NONE` without one.

    Args:
        alike: of the hashes of all images, and maybe others.
        at: int32 `[n]`, the position of each image's hash there.
        rows: int64 `[n]`, rising.
        kept: bool `[n]`, whether no other check removes the row.
    """
    first = np.full(len(alike.hashes), _NEVER, np.int64)
    first[at[kept][::-1]] = rows[kept][::-1]  # of several writes to one place the last, the lowest row, stays
    first[~_originals(alike, first)] = _NEVER
    earliest = alike.least(first)[at]
    return np.where(earliest < rows, earliest, NONE)


def _originals(alike: Alike, first: np.ndarray) -> np.ndarray:
    """Bool `[h]`: hashes whose `first` row is like no original of a lower row; none where it is `_NEVER`.

    In each turn the hashes without an undecided earlier one like them are originals, and all those like these
    are not. Turns are as many as the longest chain of images each like the one before needs.
    """
    found = first < _NEVER
    swap = first[alike.left] > first[alike.right]
    before = np.where(swap, alike.right, alike.left)
    after = np.where(swap, alike.left, alike.right)
    possible = found[after] & found[before]
    before, after = before[possible], after[possible]
    involved, both = np.unique(np.concatenate([before, after]), return_inverse=True)
    before, after = both[: len(before)], both[len(before) :]
    open_, original = np.ones(len(involved), bool), np.zeros(len(involved), bool)
    while open_.any():
        blocked = np.zeros(len(involved), bool)
        blocked[after] = True
        new = open_ & ~blocked
        original |= new
        open_ &= ~new
        open_[after[new[before]]] = False
        left = open_[before] & open_[after]
        before, after = before[left], after[left]
    found[involved] = original
    return found
