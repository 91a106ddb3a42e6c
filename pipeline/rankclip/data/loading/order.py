"""The order in which samples are seen: a pure function of the seed and the epoch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rankclip.errors import InputError


class Batch(NamedTuple):
    """One optimiser step's samples over all workers."""

    step: int
    """0-based, counted over the whole run."""
    epoch: int
    """0-based."""
    indices: NDArray[np.int64]
    """`[batch_size]` positions in the index."""


def epoch_order(n: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """A permutation `[n]` of the samples for one epoch.

    Philox is keyed by (seed, epoch), so no epoch needs the ones before it. Its raw words are sorted, because
    numpy promises that they stay the same between versions and does not promise that of `permutation`.
    """
    words = np.random.Philox(key=np.array([seed, epoch], dtype=np.uint64)).random_raw(n)
    return np.argsort(words, kind="stable")


def steps_per_epoch(n: int, batch_size: int) -> int:
    """Whole batches in an epoch; the `n % batch_size` samples left over wait for another epoch's order.

    Raises:
        InputError: not even one batch can be filled.
    """
    if batch_size < 1 or n < batch_size:
        raise InputError(f"{n} samples do not fill a batch of {batch_size}; lower the batch size or add data")
    return n // batch_size


def dropped(n: int, batch_size: int) -> int:
    """Samples that no batch of an epoch holds; others in each epoch, since each has its own order."""
    return n % batch_size


def share(batch: Batch, rank: int, ranks: int) -> NDArray[np.int64]:
    """A worker's part of a global batch: `[batch_size / ranks]` positions; together the batch."""
    size = len(batch.indices) // ranks
    return batch.indices[rank * size : (rank + 1) * size]


def batches(n: int, batch_size: int, seed: int, start_step: int = 0) -> Iterator[Batch]:
    """Batches without end from `start_step` on; starting later gives the same continuation.

    Every worker iterates the same batches and takes its part, so that their number changes nothing.

    Raises:
        InputError: not even one batch can be filled.
    """
    length = steps_per_epoch(n, batch_size)
    epoch, position = divmod(start_step, length)
    while True:
        order = epoch_order(n, seed, epoch)
        for index in range(position, length):
            chosen = order[index * batch_size : (index + 1) * batch_size]
            yield Batch(epoch * length + index, epoch, chosen)
        epoch, position = epoch + 1, 0
