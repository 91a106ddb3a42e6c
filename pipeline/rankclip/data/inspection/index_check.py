"""The index of a folder of shards: its digest, and that every sample lies in a tar and has a caption."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from rankclip import files
from rankclip.data.captions.slots import PREFIX, RAW
from rankclip.errors import DataError

NAMES = ["key", "shard", "offset", "size", "width", "height", PREFIX + RAW]


class Span(NamedTuple):
    """Rows of the index, one after another, whose samples lie in one tar."""

    shard: str
    start: int
    rows: int


@dataclass(frozen=True)
class Index:
    """`faults`: a line each, without a remedy."""

    spans: tuple[Span, ...]
    samples: int
    faults: tuple[str, ...]


class Faults:
    """Faults counted by kind, with the first of each, so that a million of them is one line."""

    def __init__(self) -> None:
        self._count: Counter[str] = Counter()
        self._first: dict[str, str] = {}

    def note(self, kind: str, keys: pa.ChunkedArray) -> None:
        """Takes in the samples that have a fault."""
        if len(keys):
            self._count[kind] += len(keys)
            self._first.setdefault(kind, keys[0].as_py())

    def lines(self, where: object) -> tuple[str, ...]:
        """A line a kind."""
        return tuple(
            f"{where}: {n:,} {'sample' if n == 1 else 'samples'} with {kind}, first {self._first[kind]}"
            for kind, n in self._count.items()
        )


def run(shards: Path, manifest: dict[str, Any]) -> Index:
    """Checks `index.parquet` against `manifest` and itself, a table at a time."""
    path = shards / "index.parquet"
    described = manifest["shards"]
    faults, spans, held = Faults(), list[Span](), Counter[str]()
    try:
        for table in files.read_batches(path, NAMES):
            _check(table, described, faults)
            for name, n in _runs(table["shard"]):
                _extend(spans, name, sum(held.values()), n)
                held[name] += n
    except DataError as error:
        return Index((), 0, (str(error).rpartition("; ")[0],))
    lines = list(faults.lines(path))
    if files.sha256(path) != manifest["index_sha256"]:
        lines.insert(0, f"{path} is not the one that manifest.json describes")
    lines += [
        f"{path} has {held[name]:,} samples in {name}, manifest.json says {of['samples']:,}"
        for name, of in described.items()
        if held[name] != of["samples"]
    ]
    return Index(tuple(span for span in spans if span.shard in described), sum(held.values()), tuple(lines))


def _check(table: pa.Table, described: dict[str, Any], faults: Faults) -> None:
    keys = table["key"]
    shard = table["shard"].combine_chunks().dictionary_encode()
    known = [described.get(name, {}).get("bytes", -1) for name in shard.dictionary.to_pylist()]
    ends = np.asarray([*known, -1], dtype=np.int64)[shard.indices.fill_null(len(known)).to_numpy()]
    offset, size = table["offset"].to_numpy(), table["size"].to_numpy()
    faults.note("a tar that manifest.json does not name", _those(keys, ends < 0))
    outside = (ends >= 0) & ((offset < 0) | (size <= 0) | (offset + size > ends))
    faults.note("a place outside of its tar", _those(keys, outside))
    flat = (table["width"].to_numpy() <= 0) | (table["height"].to_numpy() <= 0)
    faults.note("no width or height", _those(keys, flat))
    faults.note(f"no caption in slot {RAW}", _those(keys, _uncaptioned(table[PREFIX + RAW])))


def _uncaptioned(captions: pa.ChunkedArray) -> NDArray[np.bool_]:
    """Whether a sample has no caption, or none but white space."""
    lists = captions.combine_chunks()
    said = pc.not_equal(pc.utf8_trim_whitespace(pc.fill_null(pc.list_flatten(lists), "")), "")
    told = np.zeros(len(lists), bool)
    told[pc.list_parent_indices(lists).filter(said).to_numpy()] = True
    return ~told


def _those(keys: pa.ChunkedArray, mask: NDArray[np.bool_]) -> pa.ChunkedArray:
    return keys.filter(pa.array(mask))


def _runs(names: pa.ChunkedArray) -> list[tuple[str, int]]:
    """Names one after another with how often each comes in a row."""
    encoded = pc.run_end_encode(names.combine_chunks())
    ends = encoded.run_ends.to_pylist()
    return [
        (name, end - start)
        for name, start, end in zip(encoded.values.to_pylist(), [0, *ends], ends, strict=False)
    ]


def _extend(spans: list[Span], name: str, start: int, rows: int) -> None:
    if spans and spans[-1].shard == name:
        spans[-1] = spans[-1]._replace(rows=spans[-1].rows + rows)
    else:
        spans.append(Span(name, start, rows))
