"""A finished work shard: its tar in the store, and then the table of what became of its rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from rankclip import files, lifecycle
from rankclip.data import tars
from rankclip.data.crawl import work_shards
from rankclip.data.crawl.journal import Journal
from rankclip.data.crawl.statuses import STATUS, News, status_table
from rankclip.data.crawl.worker import Line
from rankclip.data.reasons import Reason
from rankclip.errors import RunError
from rankclip.storage import Store

_REMEDY = "delete it to have its rows fetched again"
_BEAT_S = 10.0


class Fetched(NamedTuple):
    """The result of a work shard, as it travels."""

    table: bytes
    """An Arrow file of `STATUS`."""
    size: int
    """Bytes of the tar, which is in the store."""


def tar_name(shard: str) -> str:
    """The file name of a shard's tar."""
    return f"{shard}.tar"


def pack(shard: str, rows: pa.Table, journal: Journal, store: Store, folder: Path, line: Line) -> Fetched:
    """Put the tar of a shard into `store`, and tell what is in it.

    Equal results give equal bytes: pairs lie in the order of their rows, however they came.

    Args:
        rows: the shard's table of row, key, url and caption.
        folder: where the tar is made.
        line: hears of us meanwhile.

    Raises:
        OSError: the disk is full.
        RankclipError: the store does not take it.
    """
    name = tar_name(shard)
    there = store.local(name)  # where a tar is as good as moved there once it is written
    path = there or folder / name
    # a large tar on a slow network takes longer than a task may be silent
    with lifecycle.repeating(lambda: line.report(News()), _BEAT_S):
        with tars.writing(path) as tar:
            for pair in rows.select(["row", "key", "caption"]).sort_by("row").to_pylist():
                result = journal.results.get(pair["row"])
                if result is not None and result.reason is Reason.OK:
                    tar.add(f"{pair['key']}.jpg", journal.image(pair["row"]))
                    tar.add(f"{pair['key']}.json", result.meta.encode())
                    tar.add(f"{pair['key']}.txt", (pair["caption"] or "").encode())
        size = path.stat().st_size
        if there is None:
            store.put(path, name)
    return Fetched(work_shards.to_bytes(status_table(shard, rows, journal.results)), size)


class Finished:
    """The tables of the shards `NNNNN`, and of what was fetched again of them: `NNNNN-r1`, `NNNNN-r2` ..."""

    def __init__(self, folder: Path, store: Store) -> None:
        self.folder = folder
        self.store = store

    def __contains__(self, shard: str) -> bool:
        return self._path(shard).exists()

    def table(self, shard: str) -> pa.Table:
        """The rows of `STATUS` of one shard, as they were fetched."""
        return files.read_table(self._path(shard), STATUS.names, _REMEDY)

    def keep(self, shard: str, table: pa.Table, size: int) -> None:
        """Note that `shard` is finished, with a tar of so many bytes.

        Raises:
            RunError: its tar is not where this process sees it.
        """
        tar = tar_name(shard)
        found = self.store.size(tar)
        if found != size:
            seen = "is not there" if found is None else f"has {found} bytes"
            raise RunError(
                f"{self.store.named(tar)} was written with {size} bytes, but from here it {seen}: another "
                "machine's folder? Set RANKCLIP_STORE to a bucket or to a folder that all nodes see"
            )
        files.write_table(self._path(shard), table)

    def drop(self, shard: str) -> None:
        """Forget that `shard` is finished."""
        self._path(shard).unlink(missing_ok=True)

    def rounds(self) -> dict[str, list[str]]:
        """Shard -> the finished shards of rows of it that were fetched again, oldest first."""
        found: dict[str, list[str]] = {}
        for name in sorted((path.stem for path in self.folder.glob("*-r*.parquet")), key=round_number):
            found.setdefault(name.rpartition("-r")[0], []).append(name)
        return found

    def merged(self, shards: Iterable[str]) -> Iterator[tuple[str, pa.Table]]:
        """Name and rows of shards `NNNNN`, each row as it was fetched last, in order."""
        rounds = self.rounds()
        for shard in shards:
            table = self.table(shard)
            for later in map(self.table, rounds.get(shard, ())):
                stale = pc.is_in(table["row"], later["row"].combine_chunks())
                table = pa.concat_tables([table.filter(pc.invert(stale)), later]).sort_by("row")
            yield shard, table

    def tars(self, shards: Iterable[str]) -> list[str]:
        """The names of the tars of those of the shards `NNNNN` that are finished, and of their rounds."""
        rounds = self.rounds()
        return [
            tar_name(name) for shard in shards if shard in self for name in (shard, *rounds.get(shard, ()))
        ]

    def _path(self, shard: str) -> Path:
        return self.folder / f"{shard}.parquet"


def round_number(shard: str) -> int:
    """K of `NNNNN-rK`."""
    return int(shard.rpartition("-r")[2])
