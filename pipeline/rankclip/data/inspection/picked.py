"""A few samples of many: chosen evenly, read from where they lie without opening the rest, made small."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from rankclip import storage
from rankclip.data import images
from rankclip.data.captions.slots import PREFIX, RAW
from rankclip.data.inspection import rows

REMEDY = "run `rankclip repro`"

MAX_PIXELS = 100_000_000
"""Pixels above which an image that cannot be decoded at a smaller size is not shown: 300 MB of memory."""


@dataclass(frozen=True)
class Sample:
    """One pair: its encoded image and its first caption as it came."""

    key: str
    image: bytes
    caption: str


def spread(total: int, n: int, seed: int) -> list[int]:
    """`n` of the positions 0 to `total` - 1, one at random from each of `n` equal parts; all if fewer."""
    if n >= total or not n:
        return list(range(min(n, total)))
    dice = random.Random(seed)
    bounds = [part * total // n for part in range(n + 1)]
    return [dice.randrange(low, high) for low, high in itertools.pairwise(bounds)]


def evenly(total: int, n: int) -> list[int]:
    """`n` of the positions 0 to `total` - 1, equally far apart; all if there are fewer."""
    return [part * total // n for part in range(n)] if n < total else list(range(total))


def samples(shards: Path, positions: Sequence[int]) -> list[Sample]:
    """The samples at `positions`, which rise, of a folder of shards.

    Raises:
        DataError: the index or a tar is missing or cannot be read.
        RunError: the place of the tars does not answer.
    """
    column = PREFIX + RAW
    names = ["key", "shard", "offset", "size", column]
    store = storage.of_tars(shards)
    return [
        Sample(row["key"], store.read(row["shard"], row["offset"], row["size"]), next(iter(row[column]), ""))
        for row in rows.at(shards / "index.parquet", positions, names, REMEDY).to_pylist()
    ]


def thumbnail(blob: bytes, side: int) -> Image.Image | None:
    """An encoded image as upright RGB of at most `side` pixels a side; None where it does not decode."""
    try:
        with images.opened(blob) as image:
            image.draft("RGB", (2 * side, 2 * side))
            if image.width * image.height > MAX_PIXELS:
                return None
            small = images.upright_rgb(image)
    except Exception:  # decoders fail on damaged bytes with errors of every class
        return None
    small.thumbnail((side, side))
    return small
