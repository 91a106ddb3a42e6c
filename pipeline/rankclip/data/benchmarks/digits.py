"""Handwritten digits that we did not draw: scikit-learn's copy of a UCI test set, 8 x 8 pixels.

Alpaydin & Kaynak, "Optical Recognition of Handwritten Digits", UCI 1998. The data come with the package.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from rankclip.data.benchmarks.content import SPLITS, Content, SplitName, key
from rankclip.spec import Spec

if TYPE_CHECKING:
    import numpy as np

CLASSNAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
TEMPLATES = ("a digit {c}", "digit {c}", "number {c}", "{c}")
INK = 16.0
"""Value of a pixel that is all ink."""


class DigitsBenchmark(Spec):
    """Zero-shot classification of scanned handwritten digits, shown black on white as print is."""

    name: Literal["digits"] = "digits"

    splits: ClassVar[tuple[SplitName, ...]] = SPLITS
    """No `train`: nearly all scans are in the two."""

    images: Annotated[int, Field(ge=10, le=870, multiple_of=10)]
    """Images in each split, the same number of each digit. No image is in both splits."""

    side: Annotated[int, Field(ge=16, le=512)]
    """Width and height of an image, pixels; the scan takes the middle five eighths."""

    def content(self, source: Spec, split: SplitName) -> Content:
        """One split; it does not depend on the study's `source`."""
        from rankclip.data.benchmarks.benchmark import Sample

        scans, labels = load()
        samples = [
            Sample(key(place), picture(scans[number], self.side), "png", int(labels[number]), ())
            for place, number in enumerate(chosen(labels, split, self.images))
        ]
        return Content(samples, CLASSNAMES, TEMPLATES)


def load() -> tuple[np.ndarray, np.ndarray]:
    """The 1,797 scans float64 `[N, 8, 8]`, 0 (paper) to 16 (ink), and their labels int64 `[N]`."""
    from sklearn.datasets import load_digits

    scans, labels = load_digits(return_X_y=True)
    return scans.reshape(-1, 8, 8), labels


def chosen(labels: np.ndarray, split: SplitName, count: int) -> list[int]:
    """Numbers of `count` scans of a split, digits in turn; every other scan of a digit is in each split."""
    import numpy as np

    half = SPLITS.index(split)
    by_digit = [np.flatnonzero(labels == digit)[half::2] for digit in range(len(CLASSNAMES))]
    return [int(by_digit[place % 10][place // 10]) for place in range(count)]


def picture(scan: np.ndarray, side: int) -> bytes:
    """The scan `[8, 8]` as a black-on-white PNG of `side` x `side` pixels: enlarged bicubically, margin."""
    import numpy as np
    from PIL import Image

    paper = Image.fromarray(np.rint(255 * (1 - scan / INK)).astype(np.uint8))
    inner = side * 5 // 8
    image = Image.new("L", (side, side), 255)
    image.paste(paper.resize((inner, inner), Image.Resampling.BICUBIC), ((side - inner) // 2,) * 2)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()
