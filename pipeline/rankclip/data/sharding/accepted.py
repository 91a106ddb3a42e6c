"""The accepted rows of the ledger, a shard at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from rankclip import files
from rankclip.data.reasons import Reason
from rankclip.data.sharding.parts import regrouped
from rankclip.errors import DataError

REMEDY = "make it again with `dvc repro -f -s curate`"

IN_TAR = ["key", "url", "caption", "source_key", "sha256", "width", "height"]
"""Columns of the ledger that a shard and its rows of the index follow from; `shard` only says where the image
is to be found."""


def shards(ledger: Path, samples: int) -> Iterator[tuple[str, pa.Table]]:
    """Name and rows, `IN_TAR` and `shard`, of each shard of so many samples, in order of rows.

    Raises:
        DataError: the ledger is missing or damaged, or its rows are not in order.
    """
    for number, rows in enumerate(regrouped(_accepted(ledger), samples)):
        yield f"{number:05d}", rows


def _accepted(ledger: Path) -> Iterator[pa.Table]:
    last = -1
    for table in files.read_batches(ledger, ["row", "reason", "shard", *IN_TAR], REMEDY):
        numbers = pa.chunked_array([[last], *table["row"].chunks], pa.int64()).combine_chunks()
        if not pc.all(pc.less(numbers[:-1], numbers[1:])).as_py():
            raise DataError(f"{ledger} is not in order of its rows; {REMEDY}")
        last = numbers[-1].as_py()
        yield table.filter(pc.equal(table["reason"], Reason.OK.value)).drop(["row", "reason"])


def digest(rows: pa.Table, about: str) -> str:
    """A digest of the values of `IN_TAR` in these rows, and of `about`; null and empty are one."""
    total = hashlib.sha256(about.encode())
    for name in IN_TAR:
        texts = pc.fill_null(rows[name].cast(pa.string()), "").to_pylist()
        total.update(f"\n{name}{[len(text) for text in texts]}\n".encode())
        total.update("".join(texts).encode())
    return total.hexdigest()[:32]
