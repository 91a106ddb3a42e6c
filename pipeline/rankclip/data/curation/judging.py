"""Every image of the crawl judged once, tar by tar, in many processes."""

from __future__ import annotations

import copy
import hashlib
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from rankclip import files, launch, storage
from rankclip.data import bars, processes
from rankclip.data.curation import parts
from rankclip.data.curation.crawl_tar import REMEDY, CrawlTar
from rankclip.data.curation.verdicts import Verdict, judge
from rankclip.data.reasons import Reason
from rankclip.storage import Store

_STORED = pa.schema({"row": pa.int64(), "key": pa.string(), "sha256": pa.string()})


@dataclass(frozen=True)
class JudgeWork:
    """The work of one process at a time: the images that status.parquet says are in a tar of the crawl."""

    max_pixels: int
    store: Store
    shard: str
    images: pa.Table
    """Columns `row`, `key` and `sha256`."""
    part: Path
    """The file of the part."""
    here: bool
    """Whether whoever works can write there; else the part comes back to be written."""

    @property
    def judged(self) -> str:
        """Digest of what the part is made from: the tar's size, and rows, keys and digests of its images."""
        columns = [column.to_pylist() for column in self.images.columns]
        return hashlib.sha256(f"{self.store.size(f'{self.shard}.tar')} {columns}".encode()).hexdigest()


class Judged(NamedTuple):
    """What became of a tar's images."""

    reasons: Counter[str]
    path: Path
    judged: str
    """See `JudgeWork.judged`."""
    part: pa.Table | None
    """What is still to be written to `path`, if anything."""


def run(max_pixels: int, crawl: Path, folder: Path) -> list[Path]:
    """Judge the images of every tar that is not judged yet; the files of all parts, kept in `folder`.

    Raises:
        DataError: a tar is missing, damaged or cut off, or an image has another digest.
        RunError: a process died.
    """
    tars = _Tars(max_pixels, crawl, folder)
    missing, seen = [], Counter[str]()
    for work in tars:
        if parts.is_of(work.part, work.judged):
            seen.update(files.read_table(work.part, ["reason"])["reason"].to_pylist())
        else:
            missing.append(work.shard)
    left = tars.images.total() - seen.total()
    with bars.bar("curate", tars.images.total(), "images", done=seen.total()) as advance:
        for done in processes.mapped(judge_tar, tars.only(missing), left):
            if done.part is not None:
                parts.write(done.path, done.part, done.judged)
            seen += done.reasons
            advance(done.reasons.total(), f"{seen[Reason.OK] / seen.total():.1%} usable")
    return tars.parts


def judge_tar(work: JudgeWork) -> Judged:
    """Make the part of a tar.

    Raises:
        DataError: the tar is missing, damaged or cut off, or an image has another digest.
    """
    keys, digests = work.images["key"].to_pylist(), work.images["sha256"].to_pylist()
    name, judged = f"{work.shard}.tar", work.judged
    verdicts = {key: Verdict(Reason.MISSING, f"not in {name}") for key in keys}
    with (
        _scratch(work) as scratch,
        storage.at_hand(work.store, name, scratch) as path,
        CrawlTar(path) as tar,
    ):
        for key, blob in tar.images(dict(zip(keys, digests, strict=True))):
            verdicts[key] = judge(blob, work.max_pixels)
    part = parts.as_table(work.images["row"].to_pylist(), digests, [verdicts[key] for key in keys])
    if work.here:
        parts.write(work.part, part, judged)
    reasons = Counter(part["reason"].to_pylist())
    return Judged(reasons, work.part, judged, None if work.here else part)


@contextmanager
def _scratch(work: JudgeWork) -> Iterator[Path]:
    """Where a tar that was fetched may lie; on another machine, which has no such folder, one of its own."""
    if work.here:
        yield work.part.parent / "fetched"
        return
    with tempfile.TemporaryDirectory(prefix="rankclip-") as folder:
        yield Path(folder)


class _Tars(Sequence[JudgeWork]):
    """The work on each tar of a crawl, put together when it is asked for."""

    def __init__(self, max_pixels: int, crawl: Path, folder: Path) -> None:
        self._max_pixels = max_pixels
        self._status = crawl / "status.parquet"
        self._store = storage.of_tars(crawl)
        self._folder = folder
        self.images = self._counted()
        """Images in each tar, by shard."""
        self._shards = sorted(self.images)

    def only(self, shards: list[str]) -> Sequence[JudgeWork]:
        """Those of `shards`."""
        some = copy.copy(self)
        some._shards = shards
        return some

    def __len__(self) -> int:
        return len(self._shards)

    def __getitem__(self, at: Any) -> Any:
        shard = self._shards[at]
        images = stored(self._status, shard)
        here = not launch.on_cluster()
        return JudgeWork(self._max_pixels, self._store, shard, images, self._part(shard), here)

    @property
    def parts(self) -> list[Path]:
        """The files of their parts."""
        return [self._part(shard) for shard in self._shards]

    def _part(self, shard: str) -> Path:
        return self._folder / f"{shard}.parquet"

    def _counted(self) -> Counter[str]:
        counts: Counter[str] = Counter()
        for table in files.read_batches(self._status, ["reason", "shard"], REMEDY):
            here = pc.and_(pc.equal(table["reason"], Reason.OK.value), pc.not_equal(table["shard"], ""))
            for count in pc.value_counts(table["shard"].filter(here)):
                counts[count["values"].as_py()] += count["counts"].as_py()
        return counts


def stored(status: Path, shard: str) -> pa.Table:
    """Columns `row`, `key` and `sha256` of the images that status.parquet says are in a tar, by row.

    Of the file only the row groups are read that may know the tar.
    """
    tables = [_STORED.empty_table()]
    with parquet.ParquetFile(status) as file:
        at = file.schema_arrow.names.index("shard")
        for group in range(file.num_row_groups):
            known = file.metadata.row_group(group).column(at).statistics
            if known is not None and known.has_min_max and not known.min <= shard <= known.max:
                continue
            for batch in file.iter_batches(2**16, [group], [*_STORED.names, "shard", "reason"]):
                table = pa.table(batch)
                here = pc.and_(pc.equal(table["shard"], shard), pc.equal(table["reason"], Reason.OK.value))
                tables.append(table.filter(here).select(_STORED.names).cast(_STORED))
    return pa.concat_tables(tables)
