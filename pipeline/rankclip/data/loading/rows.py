"""What a batch is made of, row by row: a decoded image, its tokens, and the tokens of its other captions."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from rankclip.data.loading.crop import Crops
from rankclip.data.loading.decoding import Cut, UndecodableError, decode
from rankclip.data.loading.index import REMEDY
from rankclip.data.loading.samples import Samples
from rankclip.errors import DataError

Tokenize = Callable[[Sequence[str]], NDArray[np.int32]]
"""Texts to tokens `[n, L]`; it travels to other processes."""

Arrays = Mapping[str, NDArray[Any]]
"""Rows of a batch: an array `[n, ...]` for each name of a `Layout`."""

IN_A_ROW = 1000
"""Neighbours in the index that may all be undecodable before it is the data set that is broken."""


class Field(NamedTuple):
    """One thing that every row has."""

    shape: tuple[int, ...]
    dtype: DTypeLike


Layout = Mapping[str, Field]


class Undecodable(NamedTuple):
    """A sample that was asked for and could not be decoded."""

    row: int
    """0-based, of the batch that asked for it."""
    sample: int
    """Its position in the index."""
    reason: str


class Rows:
    """Makes rows of samples; travels to other processes.

    A sample whose image cannot be decoded is replaced, with all that belongs to it, by the next one of the
    index that can, whoever asks for it and when.

    Args:
        samples: where they are read.
        slot: the slot of which the first caption is `tokens`; every sample has one there.
        size: S, pixels.
        tokenize: makes tokens of captions.
        described: slots of which the first captions are `described`.
    """

    def __init__(
        self, samples: Samples, slot: str, size: int, tokenize: Tokenize, described: Sequence[str] = ()
    ) -> None:
        self.samples, self.slot, self.size, self.tokenize = samples, slot, size, tokenize
        self.described = tuple(described)
        self.now = np.zeros(1, np.int64)
        """The sample that is being read, for whoever wonders why it takes long."""
        length, slots = tokenize([""]).shape[1], len(self.described)
        self.layout: Layout = {
            "index": Field((), np.int64),
            "images": Field((3, size, size), np.uint8),
            "tokens": Field((length,), np.int32),
            "described": Field((slots, length), np.int32),
            "there": Field((slots,), np.bool_),
        }
        """`index`: the position of the sample that it came to be; `there`: which of `described` there are."""

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def row_bytes(self) -> int:
        """Bytes of a row."""
        return sum(prod(field.shape) * np.dtype(field.dtype).itemsize for field in self.layout.values())

    def empty(self, n: int) -> dict[str, NDArray[Any]]:
        """Arrays for `n` rows."""
        return {name: np.empty((n, *field.shape), field.dtype) for name, field in self.layout.items()}

    def fill(self, indices: NDArray[np.int64], out: Arrays, crops: Crops | None = None) -> list[Undecodable]:
        """Makes the rows of samples `[n]`; says which could not be decoded.

        Args:
            indices: the samples.
            out: where the rows go.
            crops: of their images; None for the middle.

        Raises:
            DataError: a shard cannot be read, or too many samples one after the other cannot be decoded.
            RunError: the store does not answer.
        """
        asked = [int(i) for i in indices]
        found: list[Undecodable] = []
        for row, (i, blob) in enumerate(zip(asked, self.samples.read_all(asked), strict=True)):
            cut = functools.partial(crops.box, i) if crops else None
            out["index"][row] = self._image(i, blob, cut, out["images"][row], found, row)
        chosen = [int(i) for i in out["index"]]
        captions = self.samples.captions(self.slot)
        out["tokens"][:] = self.tokenize([captions[i][0] for i in chosen])
        for number, slot in enumerate(self.described):
            others = self.samples.captions(slot)
            texts = [others[i][:1] for i in chosen]
            out["described"][:, number] = self.tokenize(["".join(first) for first in texts])
            out["there"][:, number] = [bool(first) for first in texts]
        return found

    def _image(
        self, i: int, blob: bytes, cut: Cut | None, out: NDArray[np.uint8], found: list[Undecodable], row: int
    ) -> int:
        """Decodes sample `i`, or the next that can be decoded; which one that is."""
        tries = min(len(self), IN_A_ROW)
        for step in range(tries):
            candidate = self.now[0] = (i + step) % len(self)
            try:
                decode(self.samples.read(candidate) if step else blob, self.size, out, cut)
            except UndecodableError as error:
                found.append(Undecodable(row, candidate, str(error)))
            else:
                return candidate
        raise DataError(
            f"{tries} samples in a row cannot be decoded, from {self.samples.keys[i]} in "
            f"{self.samples.shard(i)} on ({found[-1].reason}); see `rankclip data verify`, then {REMEDY}"
        )
