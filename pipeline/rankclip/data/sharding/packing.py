"""One shard: a tar of samples, and beside it the rows of the index that belong to it."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import pyarrow as pa

from rankclip import files, storage
from rankclip.data import images, tars
from rankclip.data.captions.slots import PREFIX, RAW
from rankclip.data.curation import crawl_tar
from rankclip.errors import DataError

SCHEMA = pa.schema(
    {
        "key": pa.string(),
        "url": pa.string(),
        "shard": pa.string(),
        "offset": pa.int64(),
        "size": pa.int64(),
        "width": pa.int32(),
        "height": pa.int32(),
        "sha256": pa.string(),
    }
)
"""Of index.parquet, without `source_key` and the columns of captions and latents: `offset` and `size` in
bytes and `sha256` are those of the image as stored in the tar `shard`, `width` and `height` its pixels."""

PART = SCHEMA.append(pa.field("source_key", pa.string())).append(
    pa.field(PREFIX + RAW, pa.list_(pa.string()))
)
"""Of the rows beside a shard, from which the index is made."""


class ShardDescription(TypedDict):
    """What the manifest says of a tar."""

    sha256: str
    bytes: int
    samples: int


@dataclass(frozen=True)
class ShardWork:
    """The work of one process at a time, maybe on another machine."""

    name: str
    """For example "00000"."""
    key: str
    """Digest of all that the tar's bytes follow from."""
    rows: pa.Table
    """The ledger's rows of this shard, in order."""
    jpeg_quality: int
    crawl: storage.Store
    """Where the crawl's tars are."""
    target: storage.Store
    """Where the shard's tar goes."""
    folder: Path | None
    """Where shards are made; None on another machine, which may have no such folder."""


@dataclass(frozen=True)
class Packed:
    """A shard whose tar is at its place."""

    name: str
    key: str
    tar: ShardDescription
    rows: pa.Table | None
    """`PART`; None where it was written already."""


def packed(folder: Path, name: str, key: str, sizes: Mapping[str, int]) -> ShardDescription | None:
    """The description of a shard that was made for `key` before, or None.

    Args:
        folder: where shards are made.
        name: of the shard.
        key: digest of all that the tar's bytes follow from.
        sizes: bytes of all tars that are at their place.
    """
    note = folder / f"{name}.json"
    if not (note.exists() and (folder / f"{name}.parquet").exists()):
        return None
    found = files.read_json(note)
    tar: ShardDescription = found["tar"]
    return tar if found["key"] == key and sizes.get(f"{name}.tar") == tar["bytes"] else None


def note_packed(folder: Path, name: str, key: str, rows: pa.Table, tar: ShardDescription) -> None:
    """Notes in `folder` that a shard is finished: its tar at its place, its rows in NAME.parquet."""
    files.write_table(folder / f"{name}.parquet", rows)
    files.write_json(folder / f"{name}.json", {"key": key, "tar": tar})


def pack(work: ShardWork) -> Packed:
    """Make one shard and put its tar at its place; noted in `work.folder`, where there is one.

    Raises:
        DataError: the crawl lacks an image, holds another one, or holds one that cannot be encoded.
        RunError: a place of tars does not answer.
    """
    rows, name = work.rows.to_pylist(), f"{work.name}.tar"
    index = []
    with ExitStack() as stack:
        folder = work.folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rankclip-")))
        with ExitStack() as sources, tars.writing(folder / name) as tar:
            crawled = {
                shard: sources.enter_context(_crawled(work.crawl, f"{shard}.tar", folder / "fetched"))
                for shard in sorted({row["shard"] for row in rows})
            }
            for row in rows:
                blob = crawled[row["shard"]].image(row["key"], row["sha256"])
                index.append(_add(tar, row, blob, work.jpeg_quality) | {"shard": name})
        work.target.put(folder / name, name)
        (folder / name).unlink()
    described = ShardDescription(sha256=tar.sha256, bytes=tar.bytes, samples=len(rows))
    part = pa.Table.from_pylist(index, PART)
    if work.folder is not None:
        note_packed(work.folder, work.name, work.key, part, described)
    return Packed(work.name, work.key, described, None if work.folder else part)


@contextmanager
def _crawled(crawl: storage.Store, name: str, scratch: Path) -> Iterator[crawl_tar.CrawlTar]:
    """A tar of the crawl, where it lies or, if that is far away, as a copy for the time."""
    with storage.at_hand(crawl, name, scratch) as path, crawl_tar.CrawlTar(path) as tar:
        yield tar


def _add(tar: tars.Writer, row: dict[str, Any], blob: bytes, quality: int) -> dict[str, Any]:
    """Append a sample to the tar; its row of the index but for the shard."""
    jpeg = _jpeg(blob, quality, row["key"])
    told = {name: row[name] for name in ("key", "url", "width", "height")}
    told["sha256"] = row["sha256"] if jpeg is blob else hashlib.sha256(jpeg).hexdigest()
    note = json.dumps({**told, "caption": row["caption"]}, ensure_ascii=False, sort_keys=True)
    span = tar.add(f"{row['key']}.jpg", jpeg)
    tar.add(f"{row['key']}.json", note.encode())
    tar.add(f"{row['key']}.txt", row["caption"].encode())
    known = {"source_key": row["source_key"], PREFIX + RAW: [row["caption"]]}
    return {**told, **known, "offset": span.offset, "size": span.size}


def _jpeg(blob: bytes, quality: int, key: str) -> bytes:
    try:
        return images.as_jpeg(blob, quality)
    except Exception as error:  # decoders fail with errors of every class; curate has tried this image before
        raise DataError(
            f"image {key} cannot be encoded ({files.one_line(error)}); "
            "judge it again with `dvc repro -f -s curate`"
        ) from None
