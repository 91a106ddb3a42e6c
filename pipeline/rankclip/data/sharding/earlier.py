"""Shards of an earlier run that are still right: their tars stay where they are, untouched.

packs.json, beside the index, says what each tar was made from; the rows come from the index.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from rankclip import files
from rankclip.data.sharding.packing import PART, ShardDescription, note_packed, packed

NOTE = "packs.json"


def write_note(folder: Path, keys: Mapping[str, str]) -> None:
    """Says for which key each shard, by name, was made."""
    files.write_json(folder / NOTE, dict(keys))


def take_over(folder: Path, made: Path, keys: Mapping[str, str], sizes: Mapping[str, int]) -> None:
    """Brings the rows of those shards in `folder` back to `made` that were made for these keys.

    Args:
        folder: a finished set of shards; nothing is done where it is not finished.
        made: where shards are made; those that it holds already are left as they are.
        keys: name -> key of each shard that is wanted.
        sizes: bytes of all tars that are at their place.
    """
    tars = _finished(folder)
    known = files.read_json(folder / NOTE) if tars and (folder / NOTE).exists() else {}
    wanted = {
        name: tars[f"{name}.tar"]
        for name, key in keys.items()
        if f"{name}.tar" in tars
        and known.get(name) == key
        and packed(made, name, key, sizes) is None
        and sizes.get(f"{name}.tar") == tars[f"{name}.tar"]["bytes"]
    }
    if not wanted:
        return
    for name, rows in _by_shard(folder / "index.parquet"):
        if name in wanted and len(rows) == wanted[name]["samples"]:
            note_packed(made, name, keys[name], rows, wanted[name])


def _finished(folder: Path) -> dict[str, ShardDescription]:
    """The tars that the manifest describes, where there is one and it is that of the index."""
    manifest, index = folder / "manifest.json", folder / "index.parquet"
    if not (manifest.exists() and index.exists()):
        return {}
    told = files.read_json(manifest)
    tars: dict[str, ShardDescription] = told["shards"]
    return tars if files.sha256(index) == told["index_sha256"] else {}


def _by_shard(index: Path) -> Iterator[tuple[str, pa.Table]]:
    """Name and rows (`PART`) of each shard of an index, in which each shard's rows lie together."""
    names = [name for name in PART.names if name in files.column_names(index)]
    current, held = "", list[pa.Table]()
    for table in files.read_batches(index, names):
        if "source_key" not in names:
            table = table.append_column("source_key", pa.nulls(len(table), pa.string()))
        for shard in pc.unique(table["shard"]).to_pylist():
            if held and shard != current:
                yield current.removesuffix(".tar"), pa.concat_tables(held)
                held = []
            current = shard
            held.append(table.filter(pc.equal(table["shard"], shard)).select(PART.names))
    if held:
        yield current.removesuffix(".tar"), pa.concat_tables(held)
