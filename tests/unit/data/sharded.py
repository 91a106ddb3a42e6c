"""Small folders of shards for tests, written by hand: what stands in them is exactly what a test says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from rankclip import files
from rankclip.data import tars
from tests.unit.data.crawled import encoded


def write(
    folder: Path,
    blobs: Sequence[bytes],
    captions: Mapping[str, Sequence[Any]] | None = None,
    per_shard: int = 5,
    place: Path | None = None,
) -> Path:
    """Shards of encoded images in `folder`, their tars in `place`; captions by slot, strings or lists."""
    rows: list[tuple[str, str, int, int]] = []
    shards = {}
    for start in range(0, len(blobs), per_shard):
        path = (place or folder) / f"{start // per_shard:05d}.tar"
        own = blobs[start : start + per_shard]
        with tars.writing(path) as tar:
            for number, blob in enumerate(own, start):
                span = tar.add(f"{number:09d}.jpg", blob)
                tar.add(f"{number:09d}.txt", b"a caption")
                rows.append((f"{number:09d}", path.name, span.offset, span.size))
        shards[path.name] = {"sha256": files.sha256(path), "bytes": path.stat().st_size, "samples": len(own)}
    columns: dict[str, Any] = dict(
        zip(("key", "shard", "offset", "size"), zip(*rows, strict=True), strict=True)
    )
    for slot, texts in (captions or {"raw": [f"caption {k}" for k in range(len(blobs))]}).items():
        lists = [[text] if isinstance(text, str) else text for text in texts]
        columns[f"captions.{slot}"] = pa.array(lists, pa.list_(pa.string()))
    files.write_table(folder / "index.parquet", pa.table(columns))
    describe(folder, shards)
    return folder


def describe(folder: Path, shards: Mapping[str, Any] | None = None) -> None:
    """Writes the manifest of the index as it is now, of these shards or those that it named before."""
    known = files.read_json(folder / "manifest.json")["shards"] if shards is None else shards
    index = folder / "index.parquet"
    samples = len(files.read_table(index, ["key"]))
    described = {"samples": samples, "index_sha256": files.sha256(index), "shards": dict(known)}
    files.write_json(folder / "manifest.json", described)


def pictures(n: int, size: int = 8, seed: int = 0) -> list[bytes]:
    """`n` JPEGs of size x size random pixels, all different."""
    pixels = np.random.default_rng(seed).integers(0, 256, (n, size, size, 3), np.uint8)
    return [encoded(Image.fromarray(image)) for image in pixels]


def letters(texts: Sequence[str]) -> NDArray[np.int32]:
    """Tokens without a tokenizer: the first 16 letters of each text, padded with zeros."""
    return np.array([[ord(letter) for letter in text[:16].ljust(16, "\0")] for text in texts], np.int32)
