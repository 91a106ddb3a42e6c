"""All pairs of 64-bit hashes that differ in few bits, without comparing all with all.

The bits are cut into bands, `distance` more than must agree: two hashes that differ in at most `distance`
bits agree in the bands of some choice. For each choice the hashes are sorted by its bands, and each is
compared with those after it while these agree, as by Manku, Jain and Das Sarma, "Detecting near-duplicates
for web crawling" (2007). So many bands must agree that few random hashes do by chance. Time is that of the
sorts and of comparing what agrees; memory that of a few copies of the hashes and of the pairs found.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np

from rankclip.errors import RunError

BITS = 64

MOST_PAIRS = 100_000_000
"""Pairs that are held, 8 bytes each and as many again while they are sorted out."""

_BLOCK = 2**20


def pairs(hashes: np.ndarray, distance: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions int32 `[p]`, `[p]` of the pairs that differ in at most `distance` bits, each pair once.

    Args:
        hashes: uint64 `[n]`, rising and distinct.
        distance: 0 to 4; with 0 there are none.

    Raises:
        RunError: there are more than `MOST_PAIRS`.
    """
    found = [(np.empty(0, np.int32), np.empty(0, np.int32))]
    held = 0
    if distance and len(hashes) > 1:
        for first, second in _found(hashes, distance):
            found.append(
                (
                    np.searchsorted(hashes, first).astype(np.int32),
                    np.searchsorted(hashes, second).astype(np.int32),
                )
            )
            held += len(first)
            if held > MOST_PAIRS:
                raise RunError(
                    f"more than {MOST_PAIRS:,} pairs of {len(hashes):,} perceptual hashes differ in at most "
                    f"{distance} bits; lower curate.near_distance, which is {distance}"
                )
    return np.concatenate([left for left, _ in found]), np.concatenate([right for _, right in found])


def _found(hashes: np.ndarray, distance: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The pairs as values, by choice of bands."""
    agreeing = next(
        count
        for count in itertools.count(1)
        if count * BITS >= (distance + count) * (math.log2(len(hashes)) + 2)
    )
    cuts = [BITS * band // (distance + agreeing) for band in range(distance + agreeing + 1)]
    bands = list(itertools.pairwise(cuts))
    for chosen in itertools.combinations(range(len(bands)), agreeing):
        rest = [band for band in range(len(bands)) if band not in chosen]
        layout = _Layout([bands[band] for band in (*chosen, *rest)])
        moved = np.empty_like(hashes)
        for start in range(0, len(hashes), _BLOCK):  # in blocks, since each step makes a copy
            moved[start : start + _BLOCK] = layout.moved(hashes[start : start + _BLOCK])
        moved.sort()
        limit = np.uint64(1 << sum(end - start for start, end in (bands[band] for band in rest)))
        # a pair that agrees in more bands than asked for counts for the first choice of them alone
        earlier = [at for at, band in enumerate(rest, agreeing) if band < chosen[-1]]
        for left, differ, step in _within(moved, limit):
            close = np.bitwise_count(differ) <= distance
            for band in earlier:
                close &= layout.part(differ, band) != 0
            if close.any():
                left = left[close]
                yield layout.back(moved[left]), layout.back(moved[left + step])


def _within(moved: np.ndarray, limit: np.uint64) -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
    """Positions, differing bits and step to the second of all pairs of `moved` that differ below `limit`."""
    differ = moved[1:] ^ moved[:-1]
    left = np.flatnonzero(differ < limit)
    differ = differ[left]
    for step in itertools.count(1):
        if not len(left):
            return
        yield left, differ, step
        left = left[left < len(moved) - step - 1]
        differ = moved[left + step + 1] ^ moved[left]
        same = differ < limit
        left, differ = left[same], differ[same]


class _Layout:
    """Bands of a hash in another order, the first on top."""

    def __init__(self, bands: list[tuple[int, int]]) -> None:
        """`bands`: their first bit and the one after their last, in the new order."""
        self._places = []
        top = BITS
        for start, end in bands:
            top -= end - start
            mask = np.uint64((1 << (end - start)) - 1)
            self._places.append((np.uint64(start), mask, np.uint64(top)))

    def moved(self, hashes: np.ndarray) -> np.ndarray:
        """Hashes with their bands in the new order."""
        total = np.zeros_like(hashes)
        for start, mask, to in self._places:
            total |= ((hashes >> start) & mask) << to
        return total

    def back(self, moved: np.ndarray) -> np.ndarray:
        """What `moved` made of, from what it made."""
        total = np.zeros_like(moved)
        for start, mask, to in self._places:
            total |= ((moved >> to) & mask) << start
        return total

    def part(self, moved: np.ndarray, place: int) -> np.ndarray:
        """The bits of the band at a place in the new order, as numbers."""
        _, mask, to = self._places[place]
        return (moved >> to) & mask
