"""A contact sheet of a data set: some of its pairs, or of the rows that ended in some reason."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image

from rankclip import files
from rankclip.data.inspection import listing, picked, rows, sheet, stored
from rankclip.data.inspection.sheet import SIDE, Tile
from rankclip.errors import InputError

NAMES = ["key", "caption", "reason", "detail", "shard"]


def pairs(data: Path, name: str, n: int, seed: int) -> Image.Image:
    """`n` pairs of the shards, one at random from each of `n` equal parts of them.

    Raises:
        DataError: there are no shards, or they cannot be read.
    """
    index = data / "shards" / "index.parquet"
    total = rows.count(index)
    chosen = picked.samples(data / "shards", picked.spread(total, n, seed))
    tiles = [Tile((picked.thumbnail(each.image, SIDE),), each.caption, each.key) for each in chosen]
    return sheet.draw(f"{name}: {len(tiles)} of {total:,} pairs", tiles)


def of_reasons(data: Path, name: str, reasons: Collection[str], n: int, seed: int) -> Image.Image:
    """`n` of the rows that ended in one of `reasons` or fail that check, beside what they are like.

    Raises:
        InputError: there is no such row, or no image of any was kept.
        DataError: there is no ledger, or it cannot be read.
    """
    asked = ", ".join(sorted(reasons))
    found = [table["row"].to_numpy() for table in listing.listed(data, reasons, ["row"])]
    total = sum(map(len, found))
    if not total:
        raise InputError(f"no row of {name} has {asked}; `rankclip data ledger` shows what there is")
    positions = np.concatenate(found)[picked.spread(total, n, seed)]
    table = rows.at(data / "ledger.parquet", positions.tolist(), NAMES).to_pylist()
    tiles = _tiles(data, table, reasons)
    if not any(picture for tile in tiles for picture in tile.pictures):
        raise InputError(
            f"no image was kept of the {total:,} rows with {asked}; "
            f"`rankclip data ledger --reason {asked.replace(' ', '')}` lists them"
        )
    return sheet.draw(f"{name}: {len(tiles)} of {total:,} rows with {asked}", tiles)


def write(image: Image.Image, out: Path) -> None:
    """Writes a sheet as PNG, atomically."""
    with files.replace(out) as beside:
        image.save(beside, "PNG")


def _tiles(data: Path, table: list[dict[str, Any]], reasons: Collection[str]) -> list[Tile]:
    """A tile a row; with two pictures each where any of them is like another image."""
    partners = [stored.partner(row["detail"] or "", reasons, data / "benchmarks") for row in table]
    others = {key: "" for key, split in partners if key and split is None}
    others |= _shards(data, others)
    images = stored.images(data, others | {row["key"]: row["shard"] for row in table})
    splits = {split for _, split in partners if split}
    drawn = {
        split: stored.of_benchmark(split, {key for key, of in partners if of == split}) for split in splits
    }
    tiles = []
    for row, (key, split) in zip(table, partners, strict=True):
        pictures = [_shown(images.get(row["key"]))]
        if any(partner for partner, _ in partners):
            pictures.append(_shown((drawn[split] if split else images).get(key)))
        tiles.append(Tile(tuple(pictures), row["caption"] or "", f"{row['key']}  {row['detail'] or ''}"))
    return tiles


def _shards(data: Path, keys: Collection[str]) -> dict[str, str]:
    """Key -> tar of the crawl, of rows known by their key."""
    wanted, found = pa.array(sorted(keys), pa.string()), dict[str, str]()
    for table in rows.stream(data, ["key", "shard"]) if len(wanted) else ():
        hits = table.filter(pc.is_in(table["key"], value_set=wanted))
        found |= dict(zip(hits["key"].to_pylist(), hits["shard"].to_pylist(), strict=True))
    return found


def _shown(blob: bytes | None) -> Image.Image | None:
    return None if blob is None else picked.thumbnail(blob, SIDE)
