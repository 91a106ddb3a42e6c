"""A contact sheet of the training data: thumbnails with their captions, as data URIs."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path

from rankclip.data.inspection import picked, rows

SIDE = 144


@dataclass(frozen=True)
class Thumbnail:
    """`uri`: a JPEG of at most `SIDE` pixels as a data URI, empty where the image does not decode; `caption`:
    unescaped, from outside."""

    key: str
    uri: str
    caption: str


def contact_sheet(shards: Path, images: int) -> list[Thumbnail]:
    """`images` samples spread evenly over a folder of shards, or all where there are fewer.

    Raises:
        DataError: the index or a tar is missing or cannot be read.
    """
    chosen = picked.evenly(rows.count(shards / "index.parquet"), images)
    return [
        Thumbnail(sample.key, _uri(sample.image), sample.caption) for sample in picked.samples(shards, chosen)
    ]


def _uri(image: bytes) -> str:
    small = picked.thumbnail(image, SIDE)
    if small is None:
        return ""
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
