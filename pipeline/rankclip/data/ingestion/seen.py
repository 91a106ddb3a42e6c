"""Which of many texts were met before, in little memory."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

Digests = NDArray[np.uint64]


def digests(texts: Iterable[bytes]) -> Digests:
    """64 bits of each text; two of 12 million different ones share them with probability 4e-6."""
    joined = b"".join([blake2b(text, digest_size=8).digest() for text in texts])
    return np.frombuffer(joined, ">u8").astype(np.uint64)


class Seen:
    """The texts met so far as sorted digests: 8 bytes each, 100 MB for 12 million; twice that at the most.

    Of two different texts that share a digest the later would be taken for the earlier.
    """

    def __init__(self) -> None:
        self._runs: list[Digests] = []
        """Sorted, each less than half as long as the one before, so that a digest moves a few times only."""

    def first(self, texts: Iterable[bytes]) -> NDArray[np.bool_]:
        """For each of `texts` whether it is met for the first time."""
        found = digests(texts)
        new, position = np.unique(found, return_index=True)
        fresh = np.ones(len(new), bool)
        for run in self._runs:
            fresh &= ~among(new, run)
        self._add(new[fresh])
        first = np.zeros(len(found), bool)
        first[position[fresh]] = True
        return first

    def _add(self, run: Digests) -> None:
        while self._runs and 2 * len(run) >= len(self._runs[-1]):
            run = np.sort(np.concatenate([self._runs.pop(), run]), kind="stable")
        self._runs.append(run)


def among(digests: Digests, known: Digests) -> NDArray[np.bool_]:
    """For each of `digests` whether it is one of `known`, which are sorted."""
    if not len(known):
        return np.zeros(len(digests), bool)
    at = np.minimum(np.searchsorted(known, digests), len(known) - 1)
    return np.equal(known[at], digests)
