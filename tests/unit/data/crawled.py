"""Small crawls for tests: images by hand, and the files that ingest and download would leave."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from PIL import Image

from rankclip import files
from rankclip.data import tars

RED, GREEN, BLUE = (220, 30, 30), (30, 180, 30), (30, 30, 220)


def picture(colour: tuple[int, int, int] = RED, size: tuple[int, int] = (48, 32)) -> Image.Image:
    """A field of one colour whose top left quarter is blue, so that one sees whether it is upright."""
    image = Image.new("RGB", size, colour)
    image.paste(BLUE, (0, 0, size[0] // 2, size[1] // 2))
    return image


def encoded(image: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    target = io.BytesIO()
    if kind == "JPEG":
        options = {"quality": 95, "subsampling": 0, **options}
    image.save(target, kind, **options)
    return target.getvalue()


def rotated_by_exif(orientation: int = 6) -> bytes:
    """A picture that is upright only after the rotation by 270 degrees that its EXIF asks for."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(picture().transpose(Image.Transpose.ROTATE_90), exif=exif)


@dataclass(frozen=True)
class Row:
    """An input row: refused by ingest (`stage` "ingest"), failed in the download, or stored."""

    blob: bytes = b""
    reason: str = "ok"
    stage: str = "download"
    shard: str = "00000"


def lay_out(data: Path, rows: Sequence[Row], captions: bool = True) -> Path:
    """Write urls.parquet, refused.parquet, crawl/ and source/captions.parquet for `rows` into `data`."""
    accepted = [(number, row) for number, row in enumerate(rows) if row.stage != "ingest"]
    refused = [(number, row.reason, "why") for number, row in enumerate(rows) if row.stage == "ingest"]
    url = [f"http://shapes.invalid/{number}.jpg" for number, _ in accepted]
    urls = {
        "row": [number for number, _ in accepted],
        "key": [f"{number:09d}" for number, _ in accepted],
        "url": url,
        "caption": [f"caption {number}" for number, _ in accepted],
    }
    files.write_table(data / "urls.parquet", pa.table(urls))
    schema = pa.schema({"row": pa.int64(), "reason": pa.string(), "detail": pa.string()})
    columns = zip(*refused, strict=True) if refused else ([], [], [])
    files.write_table(data / "refused.parquet", pa.table(list(map(list, columns)), schema=schema))
    status = {
        "row": urls["row"],
        "key": urls["key"],
        "reason": [row.reason for _, row in accepted],
        "detail": ["" if row.reason == "ok" else "why" for _, row in accepted],
        "sha256": [hashlib.sha256(row.blob).hexdigest() if row.blob else "" for _, row in accepted],
        "size": [len(row.blob) for _, row in accepted],
        "shard": [row.shard for _, row in accepted],
    }
    files.write_table(data / "crawl" / "status.parquet", pa.table(status))
    for shard in {row.shard for _, row in accepted}:
        with tars.writing(data / "crawl" / f"{shard}.tar") as tar:
            for number, row in reversed(accepted):  # a crawl stores what comes first, in any order
                if row.shard == shard and row.blob:
                    for extension, blob in (("jpg", row.blob), ("json", b"{}"), ("txt", b"caption")):
                        tar.add(f"{number:09d}.{extension}", blob)
    if captions:
        detail = [None if number == 0 else f"detail of {number}" for number, _ in accepted]
        slots = {"url": url, "raw": ["ignored"] * len(url), "detail": detail}
        files.write_table(data / "source" / "captions.parquet", pa.table(slots))
    return data
