"""Images found by their key: in the shards, else in the tar that the ledger names."""

from __future__ import annotations

import re
import tarfile
from collections import defaultdict
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc

from rankclip import files, storage
from rankclip.data.benchmarks import places
from rankclip.data.inspection import picked
from rankclip.data.reasons import Reason
from rankclip.errors import DataError

PARTNER = re.compile(r"^(?:same bytes as|looks like) (.+?)(?: \(\d+ bits differ\))?$")
"""Of a part of the ledger's `detail`: the other image that was found to be alike."""

NOTES = (".json", ".txt", ".cls")
"""Ends of the names of members that are no images."""

LARGEST = 2**28
"""Bytes of an image above which it is not read."""


def images(data: Path, shards: Mapping[str, str]) -> dict[str, bytes]:
    """Key -> encoded image, for those of the keys whose image is stored and can be read.

    Args:
        data: the study's folder of data.
        shards: key -> the tar in which it is, "" for none, as the ledger says: one of a crawl has no suffix.
    """
    found = _of_index(data / "shards", list(shards))
    by_tar: dict[str, set[str]] = defaultdict(set)
    for key, shard in shards.items():
        if shard and key not in found:
            by_tar[shard].add(key)
    for shard, keys in sorted(by_tar.items()):
        indexed = shard.endswith(".tar")
        store = storage.of_tars(data / ("shards" if indexed else "crawl"))
        try:
            with store.open(shard if indexed else f"{shard}.tar") as file:
                found |= members(file, keys)
        except DataError:  # the tars of a crawl may be deleted once the shards are made
            continue
    return found


def members(file: BinaryIO, keys: Collection[str]) -> dict[str, bytes]:
    """Key -> image of those `keys` that an open tar holds; it is read no further than the last of them."""
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=file, mode="r:") as tar:
            for member in tar:
                folder, slash, name = member.name.rpartition("/")
                key = folder + slash + name.partition(".")[0]
                if (
                    key in keys
                    and not member.name.endswith(NOTES)
                    and member.isreg()
                    and member.size < LARGEST
                ):
                    content = tar.extractfile(member)
                    found[key] = content.read() if content else b""
                if len(found) == len(keys):
                    break
    except (tarfile.TarError, OSError, ValueError):  # what could be read of a damaged tar is shown
        return found
    return found


def partner(detail: str, reasons: Collection[str], benchmarks: Path) -> tuple[str, Path | None]:
    """The image that a row was found to be like: its key, and the folder of its split if it is a benchmark's.

    Both are empty where `detail` names none that belongs to one of `reasons`.
    """
    for part in detail.split("; "):
        named = PARTNER.match(part)
        if named is None:
            continue
        benchmark, _, rest = named[1].partition("/")
        split, _, key = rest.partition("/")
        found = (each / f"wds_{benchmark}" / split for each in (benchmarks, places.root()))
        folder = next((each for each in found if each.is_dir()), None)
        if key and folder is not None:
            if Reason.LEAK in reasons:
                return key, folder
        elif {Reason.DUPLICATE_EXACT, Reason.DUPLICATE_NEAR} & set(reasons):
            return named[1], None
    return "", None


def of_benchmark(split: Path, keys: Collection[str]) -> dict[str, bytes]:
    """Key -> image of those `keys` that a split of a benchmark has."""
    found: dict[str, bytes] = {}
    for path in sorted(split.glob("*.tar")):
        with path.open("rb") as file:
            found |= members(file, set(keys) - found.keys())
    return found


def _of_index(shards: Path, keys: list[str]) -> dict[str, bytes]:
    index = shards / "index.parquet"
    if not index.exists():
        return {}
    wanted, positions, start = pa.array(keys, pa.string()), [], 0
    for table in files.read_batches(index, ["key"]):
        hits = pc.indices_nonzero(pc.is_in(table["key"], value_set=wanted))
        positions += [start + hit for hit in hits.to_pylist()]
        start += len(table)
    return {sample.key: sample.image for sample in picked.samples(shards, positions)}
