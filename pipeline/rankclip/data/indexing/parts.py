"""What is in one tar, kept in a file so that no later run reads the tar again."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

import pyarrow as pa
from pyarrow import parquet

from rankclip import files
from rankclip.data import tar_members, tars
from rankclip.data.captions.slots import PREFIX
from rankclip.data.indexing.tar_samples import Reader, Row
from rankclip.data.reasons import Reason
from rankclip.data.sharding import packing
from rankclip.data.sources.webdataset import WebdatasetSpec
from rankclip.errors import DataError
from rankclip.spec import digest
from rankclip.storage import Store

GROUP_ROWS = 2**14
"""Rows that are Python objects at a time."""


class Contents(TypedDict):
    """What is known of a tar whose part is finished."""

    key: str
    """Digest of all that the part follows from but the bytes of the tar."""
    bytes: int
    changed: int
    """When the tar was last written: see `storage.Stat`."""
    sha256: str
    samples: int
    """In the tar, good or not."""
    ok: int
    """Those that are good."""


@dataclass(frozen=True)
class IndexWork:
    """The work of one process at a time."""

    spec: WebdatasetSpec
    store: Store
    name: str
    """The tar's, at its place."""
    bytes: int
    changed: int
    """This and its size as they were when the place was listed."""
    key: str
    folder: Path
    """Where the part is kept."""
    here: bool
    """Whether whoever works can write there; else the part comes back to be written."""

    @property
    def part(self) -> Path:
        """The file of the part."""
        return self.folder / f"{digest(self.name)}.parquet"

    @property
    def note(self) -> Path:
        """The file of `Contents`, written after the part."""
        return self.part.with_suffix(".json")


class Indexed(NamedTuple):
    """What became of a tar's samples."""

    reasons: Counter[str]
    sha256: str
    """Of the tar."""
    part: list[pa.Table] | None
    """What is still to be written, if anything."""


def schema(spec: WebdatasetSpec) -> pa.Schema:
    """Of a part: what the index holds of a sample, then what the ledger says of it."""
    slots = [pa.field(PREFIX + slot, pa.list_(pa.string())) for slot in spec.captions]
    fields = [field for field in packing.PART if not field.name.startswith(PREFIX)]
    told = [pa.field("reason", pa.string()), pa.field("detail", pa.string()), pa.field("hash", pa.uint64())]
    return pa.schema([*fields, *slots, *told])


def finished(work: IndexWork) -> Contents | None:
    """What is in the tar, if an earlier run found out and neither tar nor settings changed."""
    if not (work.note.exists() and work.part.exists()):
        return None
    found: Contents = files.read_json(work.note)
    same = (found["key"], found["bytes"], found["changed"]) == (work.key, work.bytes, work.changed)
    return found if same else None


def index_tar(work: IndexWork) -> Indexed:
    """Make the part of a tar.

    Raises:
        DataError: the tar cannot be read, is not whole, or changed meanwhile.
        RunError: its place does not answer.
    """
    with work.store.open(work.name) as file:
        stream = tars.Stream(file)
        try:
            rows = Reader(work.spec, work.name).rows(stream)
            stream.finish()
        except tar_members.DamagedError as error:
            raise DataError(
                f"{work.store.named(work.name)} is not a whole tar ({error}); fetch it again, or take it "
                "away and run `rankclip use` again"
            ) from None
        except OSError as error:
            raise DataError(
                f"{work.store.named(work.name)} cannot be read ({files.one_line(error)}); look after its "
                "disk, then run the command again"
            ) from None
    if stream.at != work.bytes:
        raise DataError(
            f"{work.store.named(work.name)} changed while it was read ({stream.at} bytes, {work.bytes} "
            "before); run `rankclip use` again when it is whole"
        )
    if work.here:
        return Indexed(write(work, _tables(work, rows), stream.sha256), stream.sha256, None)
    part = list(_tables(work, rows))
    return Indexed(
        Counter(reason for table in part for reason in table["reason"].to_pylist()), stream.sha256, part
    )


def write(work: IndexWork, part: Iterable[pa.Table], sha256: str) -> Counter[str]:
    """Write the part of a tar with this digest, and then its note; its samples by reason."""
    work.note.unlink(missing_ok=True)
    reasons: Counter[str] = Counter()
    with (
        files.replace(work.part) as temporary,
        parquet.ParquetWriter(temporary, schema(work.spec), compression="zstd") as writer,
    ):
        for table in part:
            writer.write_table(table)
            reasons.update(table["reason"].to_pylist())
    of_tar = {"key": work.key, "bytes": work.bytes, "changed": work.changed, "sha256": sha256}
    files.write_json(work.note, {**of_tar, "samples": reasons.total(), "ok": reasons[Reason.OK]})
    return reasons


def _tables(work: IndexWork, rows: Iterable[Row]) -> Iterator[pa.Table]:
    slots, remaining = work.spec.captions, iter(rows)
    while group := list(islice(remaining, GROUP_ROWS)):
        columns: dict[str, Any] = {name: [getattr(row, name) for row in group] for name in Row._fields}
        told = columns.pop("captions")
        columns |= {PREFIX + slot: [captions.get(slot, []) for captions in told] for slot in slots}
        columns |= {"shard": [work.name] * len(group), "source_key": [None] * len(group)}
        columns["reason"] = [reason.value for reason in columns["reason"]]
        columns["hash"] = [key_hash(key) for key in columns["key"]]
        yield pa.table({name: columns[name] for name in schema(work.spec).names}, schema=schema(work.spec))


def key_hash(key: str) -> int:
    """A number of 64 bits, by which equal keys are found."""
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "little")
