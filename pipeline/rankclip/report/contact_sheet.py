"""A contact sheet of the training data: thumbnails with their captions, as data URIs."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from rankclip import files
from rankclip.errors import DataError

SIDE = 144


class Images(Protocol):
    """What is needed of `rankclip.data.loading.samples.Samples`."""

    @property
    def keys(self) -> Sequence[str]:
        """Keys of all samples."""
        ...

    def read(self, i: int) -> bytes:
        """The stored bytes of an image."""
        ...

    def captions(self, slot: str) -> Sequence[Sequence[str]]:
        """The captions of a slot, a list for every sample."""
        ...


@dataclass(frozen=True)
class Thumbnail:
    """`uri`: a JPEG of at most `SIDE` pixels as a data URI; `caption`: unescaped, from outside."""

    key: str
    uri: str
    caption: str


def contact_sheet(samples: Images, images: int) -> list[Thumbnail]:
    """`images` samples spread evenly over the data set, or all where there are fewer.

    Raises:
        DataError: a stored image cannot be decoded.
    """
    total = len(samples.keys)
    chosen = sorted({index * total // images for index in range(min(images, total))}) if total else []
    if total and images >= total:
        chosen = list(range(total))
    captions = samples.captions("raw")
    sheet = []
    for index in chosen:
        key = str(samples.keys[index])
        sheet.append(Thumbnail(key, _thumbnail(samples.read(index), key), next(iter(captions[index]), "")))
    return sheet


def _thumbnail(image: bytes, key: str) -> str:
    from PIL import Image, ImageOps

    try:
        with Image.open(io.BytesIO(image)) as opened:
            picture = ImageOps.exif_transpose(opened).convert("RGB")
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(
            f"image {key} of the shards cannot be decoded ({files.one_line(error)}); "
            "run `dvc repro -f -s shard`"
        ) from None
    picture.thumbnail((SIDE, SIDE))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
