"""The samples of all tars, numbered through in the order of the tars; the first with a key keeps it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyarrow import parquet

from rankclip import files
from rankclip.data.captions.slots import PREFIX, RAW
from rankclip.data.curation import ledger
from rankclip.data.indexing.parts import Contents, IndexWork, schema
from rankclip.data.reasons import Reason
from rankclip.data.sharding.packing import ShardDescription

Numbers = NDArray[np.int64]
Tar = tuple[IndexWork, Contents]


class Samples:
    """What becomes of every sample: of those with one key only the first stays good.

    Args:
        tars: whose parts are finished, in order. 24 bytes a sample are in memory for a while.
    """

    def __init__(self, tars: Sequence[Tar]) -> None:
        self._tars = tars
        self._starts = np.array([0, *accumulate(found["samples"] for _, found in tars)])
        self._repeats, self._firsts = _repeats([tar.part for tar, _ in tars])
        self.count = int(self._starts[-1])
        """Good and not."""

    def shards(self) -> dict[str, ShardDescription]:
        """What the manifest says of each tar."""
        return {
            tar.name: {"sha256": its["sha256"], "bytes": its["bytes"], "samples": self._good(number)}
            for number, (tar, its) in enumerate(self._tars)
        }

    def good(self, number: int) -> Path:
        """A table of the good samples of a tar: its part, or one made of it if not all are good."""
        tar, found = self._tars[number]
        if self._good(number) == found["samples"]:
            return tar.part
        path = tar.part.with_suffix(".good.parquet")
        with (
            files.replace(path) as temporary,
            parquet.ParquetWriter(temporary, schema(tar.spec), compression="zstd") as writer,
        ):
            for table in self._tables(number):
                writer.write_table(table.filter(pc.equal(table["reason"], Reason.OK.value)))
        return path

    def ledger(self) -> Iterator[pa.Table]:
        """Every sample as a row of the ledger."""
        for number in range(len(self._tars)):
            row = int(self._starts[number])
            for table in self._tables(number):
                yield _ledger_rows(table, row)
                row += len(table)

    def _good(self, number: int) -> int:
        low, high = np.searchsorted(self._repeats, self._starts[number : number + 2])
        return self._tars[number][1]["ok"] - int(high - low)

    def _tables(self, number: int) -> Iterator[pa.Table]:
        """The part of a tar, in which samples that repeat a key are refused too."""
        start = int(self._starts[number])
        for table in files.read_batches(self._tars[number][0].part):
            low, high = np.searchsorted(self._repeats, (start, start + len(table)))
            if low < high:
                where = np.zeros(len(table), bool)
                where[self._repeats[low:high] - start] = True
                tars = np.searchsorted(self._starts, self._firsts[low:high], "right") - 1
                details = [f"same key as a sample of {self._tars[tar][0].name}" for tar in tars]
                table = _replaced(table, "reason", where, [Reason.DUPLICATE_KEY.value] * len(details))
                table = _replaced(table, "detail", where, details)
            yield table
            start += len(table)


def _replaced(table: pa.Table, name: str, where: NDArray[np.bool_], values: list[str]) -> pa.Table:
    column = pc.replace_with_mask(table[name], pa.array(where), pa.array(values, pa.string()))
    return table.set_column(table.column_names.index(name), name, column)


def _ledger_rows(table: pa.Table, row: int) -> pa.Table:
    captions = table[PREFIX + RAW].combine_chunks()
    empty = captions.value_lengths().to_numpy() == 0
    firsts = pa.array(captions.offsets.to_numpy()[:-1], mask=empty)
    told = {
        "row": pa.array(range(row, row + len(table)), pa.int64()),
        "caption": captions.values.take(firsts).fill_null(""),
        "stage": pa.repeat("index", len(table)),
        "flags": pa.repeat(pa.scalar([], pa.list_(pa.string())), len(table)),
        "phash": pa.nulls(len(table), pa.uint64()),
    }
    columns = [told[name] if name in told else table[name] for name in ledger.SCHEMA.names]
    return pa.table(columns, schema=ledger.SCHEMA)


def _repeats(parts: Sequence[Path]) -> tuple[Numbers, Numbers]:
    """Numbers of good samples that repeat the key of an earlier good one, rising, and those of the first."""
    hashes, numbers = _good_hashes(parts)
    order = np.argsort(hashes, kind="stable")
    ranked = hashes[order]
    equal = ranked[1:] == ranked[:-1]
    alike = np.append(equal, False) | np.insert(equal, 0, False) if len(order) else np.zeros(0, bool)
    shared = np.sort(numbers[order[alike]])
    _, first, which = np.unique(_keys(parts, shared), return_index=True, return_inverse=True)
    repeated = first[which] != np.arange(len(shared))
    return shared[repeated], shared[first[which]][repeated]


def _good_hashes(parts: Sequence[Path]) -> tuple[NDArray[np.uint64], Numbers]:
    hashes, numbers = [np.empty(0, np.uint64)], [np.empty(0, np.int64)]
    for start, table in _numbered(parts, ["hash", "reason"]):
        good = pc.equal(table["reason"], Reason.OK.value).to_numpy()
        hashes.append(table["hash"].to_numpy()[good])
        numbers.append(start + np.flatnonzero(good))
    return np.concatenate(hashes), np.concatenate(numbers)


def _keys(parts: Sequence[Path], numbers: Numbers) -> NDArray[np.int32]:
    """A number for the key of each of these samples, equal for equal keys only: equal hashes need not be."""
    chunks = []
    for start, table in _numbered(parts, ["key"]) if len(numbers) else ():
        low, high = np.searchsorted(numbers, (start, start + len(table)))
        chunks += table["key"].take(pa.array(numbers[low:high] - start)).chunks
    keys = pa.chunked_array(chunks, pa.string()).combine_chunks()
    known: NDArray[np.int32] = keys.dictionary_encode().indices.to_numpy()
    return known


def _numbered(parts: Sequence[Path], columns: list[str]) -> Iterator[tuple[int, pa.Table]]:
    start = 0
    for path in parts:
        for table in files.read_batches(path, columns):
            yield start, table
            start += len(table)
