"""Which part of an image is cut out in an epoch: a function of (seed, epoch, sample) and the image's size."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

TRIES = 10
"""Boxes that are drawn until one fits into the image, as torchvision does; then it is one in the middle."""

WIDEST = 4 / 3
"""The longer side of a box over its shorter one, at most; torchvision's, which open_clip leaves as it is."""


class Box(NamedTuple):
    """A part of an image, pixels; `right` and `bottom` are the first outside."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def short(self) -> int:
        """The shorter side, pixels."""
        return min(self.right - self.left, self.bottom - self.top)


class Crops(NamedTuple):
    """The boxes of an epoch, distributed as those of torchvision's RandomResizedCrop."""

    seed: int
    epoch: int
    least: float
    """Least share of an image's area."""
    most: float
    """Largest share."""

    def box(self, sample: int, width: int, height: int) -> Box:
        """The box of a sample whose image has this size, pixels."""
        words = self.words(sample).reshape(TRIES, 4).tolist()
        for area, ratio, down, right in words:
            pixels = width * height * (self.least + (self.most - self.least) * _uniform(area))
            shape = WIDEST ** (2 * _uniform(ratio) - 1)
            wide, tall = round(math.sqrt(pixels * shape)), round(math.sqrt(pixels / shape))
            if 0 < wide <= width and 0 < tall <= height:
                left, top = right % (width - wide + 1), down % (height - tall + 1)
                return Box(left, top, left + wide, top + tall)
        wide, tall = min(width, round(height * WIDEST)), min(height, round(width * WIDEST))
        left, top = (width - wide) // 2, (height - tall) // 2
        return Box(left, top, left + wide, top + tall)

    def words(self, sample: int) -> NDArray[np.uint64]:
        """Random words of a sample, four for each try, of which order and shifts have none."""
        key = np.array([self.seed, self.epoch], dtype=np.uint64)
        return np.random.Philox(key=key, counter=(2 << 128) + (sample << 64)).random_raw(4 * TRIES)


def _uniform(word: int) -> float:
    """A number in [0, 1) of the first 53 bits of a word."""
    return (word >> 11) / (1 << 53)
