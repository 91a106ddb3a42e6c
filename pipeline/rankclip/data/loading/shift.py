"""How far each image is moved in an epoch: a function of (seed, epoch, sample)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rankclip.data.loading.order import Batch

BLOCK = 1 << 20
"""Samples whose random numbers are drawn at once."""


class Shifts:
    """Moves of up to `reach` pixels both ways for `n` samples; none where `reach` is 0."""

    def __init__(self, n: int, seed: int, reach: int) -> None:
        self.n, self.seed, self.reach = n, seed, reach
        self._epoch = -1
        self._drawn = np.empty((0, 2), np.int16)

    def of(self, batch: Batch) -> NDArray[np.int16] | None:
        """How far the samples of a batch are moved down and right, pixels `[n, 2]`; None for not at all."""
        if not self.reach:
            return None
        if batch.epoch != self._epoch:
            self._epoch, self._drawn = batch.epoch, self._draw(batch.epoch)
        return self._drawn[batch.indices]

    def _draw(self, epoch: int) -> NDArray[np.int16]:
        stream = np.random.Philox(key=np.array([self.seed, epoch], dtype=np.uint64), counter=1 << 128)
        drawn = np.empty((self.n, 2), np.int16)
        for start in range(0, self.n, BLOCK):
            rows = drawn[start : start + BLOCK]
            words = stream.random_raw(rows.size).reshape(rows.shape)
            rows[:] = (words % np.uint64(2 * self.reach + 1)).astype(np.int16) - self.reach
        return drawn


def move(images: NDArray[np.uint8], by: NDArray[np.int16] | None) -> None:
    """Moves images `[n, C, H, W]` in place by `by` `[n, 2]` pixels down and right; their edges repeat."""
    if by is None or not by.any():
        return
    reach, (height, width) = int(np.abs(by).max()), images.shape[-2:]
    wide = np.pad(images, ((0, 0), (0, 0), (reach, reach), (reach, reach)), mode="edge")
    for image, source, (down, right) in zip(images, wide, by.tolist(), strict=True):
        top, left = reach - down, reach - right
        image[:] = source[:, top : top + height, left : left + width]
