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
    caption: str = ""


def lay_out(data: Path, rows: Sequence[Row], captions: bool = True) -> Path:
    """Write what the stages before curate leave for `rows`, and source/captions.parquet, into `data`."""
    keyed = [(f"{number:09d}", number, row) for number, row in enumerate(rows)]
    accepted = [each for each in keyed if each[2].stage != "ingest"]
    url = {key: f"http://shapes.invalid/{number}.jpg" for key, number, _ in accepted}
    urls = [
        {"row": number, "key": key, "url": url[key], "caption": row.caption or f"caption {number}"}
        for key, number, row in accepted
    ]
    refused = [
        {"row": number, "key": key, "reason": row.reason, "detail": "why"}
        for key, number, row in keyed
        if row.stage == "ingest"
    ]
    status = [
        {
            "row": number,
            "key": key,
            "reason": row.reason,
            "detail": "" if row.reason == "ok" else "why",
            "sha256": hashlib.sha256(row.blob).hexdigest() if row.blob else "",
            "size": len(row.blob),
            "shard": row.shard,
        }
        for key, number, row in accepted
    ]
    _write(data / "urls.parquet", urls, "key", "url", "caption", "source_key")
    _write(data / "refused.parquet", refused, "key", "reason", "detail")
    _write(data / "crawl" / "status.parquet", status, "key", "reason", "detail", "sha256", "size", "shard")
    files.write_json(data / "benchmarks" / "manifest.json", {"benchmarks": {}})
    for shard in {row.shard for _, _, row in accepted}:
        with tars.writing(data / "crawl" / f"{shard}.tar") as tar:
            for key, _, row in reversed(accepted):  # whatever the order of a tar, the row counts
                if row.shard == shard and row.blob:
                    for extension, blob in (("jpg", row.blob), ("json", b"{}"), ("txt", b"caption")):
                        tar.add(f"{key}.{extension}", blob)
    if captions:
        detail = [None if number == 0 else f"detail of {number}" for _, number, _ in accepted]
        slots = {"url": list(url.values()), "raw": ["ignored"] * len(url), "detail": detail}
        files.write_table(data / "source" / "captions.parquet", pa.table(slots))
    return data


def _write(path: Path, rows: list[dict[str, Any]], *names: str) -> None:
    numbers = ("row", "size")
    schema = pa.schema({name: pa.int64() if name in numbers else pa.string() for name in ("row", *names)})
    files.write_table(path, pa.Table.from_pylist(rows, schema))
