"""The driver's side of a crawl: work shards out, results in, progress shown, finished shards exported."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Generator, Iterator, Mapping
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from rankclip import files, launch, storage
from rankclip.data import bars, processes
from rankclip.data.crawl import cluster, preflight, work_shards, workers
from rankclip.data.crawl.finished import Finished
from rankclip.data.crawl.shard_job import ShardJob
from rankclip.data.crawl.spec import DownloadSpec
from rankclip.data.crawl.statuses import STATUS
from rankclip.data.crawl.stop_rule import PASSING, Stop, Window
from rankclip.data.reasons import Reason
from rankclip.errors import RunError

_ROW_GROUP = 50_000


@dataclass(frozen=True)
class Crawl:
    """A crawl's folder of work in progress, which is ours."""

    spec: DownloadSpec
    urls: Path
    folder: Path
    finished: Finished
    inputs: Mapping[str, str]
    """Name of each input -> its digest."""
    shards: list[str]
    """The names of all work shards, in the order of their rows."""

    def unfinished(self) -> list[str]:
        """The work shards that are still to be fetched."""
        return [shard for shard in self.shards if shard not in self.finished]

    def counts(self) -> Counter[Reason]:
        """Rows of finished shards by reason."""
        counts: Counter[Reason] = Counter()
        for _, table in self.finished.merged(shard for shard in self.shards if shard in self.finished):
            counts.update(by_reason(table))
        return counts

    @property
    def scratch(self) -> Path:
        """Where the processes of this machine keep what they have of unfinished shards."""
        return self.folder / "tmp"

    def settle(self) -> None:
        """Make folder and store agree: tars go to the store now wanted; without a tar no shard is done.

        What an interruption has left of finished shards goes.
        """
        finished, done = self.finished, self.finished.folder
        before = storage.of_tars(done)
        if before.place != finished.store.place:
            for tar in finished.tars(self.shards):
                if before.size(tar) is not None:
                    with storage.at_hand(before, tar, self.scratch) as path:
                        finished.store.put(path, tar)
            done.mkdir(parents=True, exist_ok=True)
            storage.write_place(done, finished.store)
        for notes in self.scratch.glob("*"):
            if notes.name in finished:
                shutil.rmtree(notes)
        there = finished.store.sizes(".tar")
        for tar in finished.tars(self.shards):
            if tar not in there:
                finished.drop(tar.removesuffix(".tar"))


class Source(Protocol):
    """Whatever knows where its images are served."""

    @property
    def images_digest(self) -> str:
        """Changes when the same URLs would give other images; empty where nobody can tell."""
        ...

    def serve(self) -> AbstractContextManager[Mapping[str, tuple[str, int]]]:
        """Hosts that stand for an (address, port) of our own for as long as the context lasts."""
        ...


class Extent(NamedTuple):
    """How much is to be fetched."""

    title: str
    shards: int
    rows: int
    kept: Counter[Reason]
    """Those of the rows that are finished."""


def fetch(
    crawl: Crawl, spec: DownloadSpec, source: Source, tables: Iterator[tuple[str, pa.Table]], extent: Extent
) -> None:
    """Fetch shards, each a name and a table of `work_shards.COLUMNS`, which are finished afterwards.

    Args:
        crawl: where they belong.
        spec: limits and manners.

    Raises:
        RunError: nothing can be fetched from here, workers kept failing, the disk is full, nearly everything
            fails for one reason, or the store is not seen from here.
    """
    board = _Board(crawl.finished, Window(spec.stop_rows, spec.stop_share), extent.kept.copy())
    tasks = ((name, work_shards.to_bytes(table)) for name, table in tables)
    with source.serve() as hosts:
        preflight.run(spec, crawl.urls, crawl.folder, hosts)
        shown = extent.kept.total()
        events = _events(crawl, spec, hosts, tasks, extent.shards)
        with closing(events), bars.bar(extent.title, extent.rows, "rows", done=shown) as advance:
            for event in events:
                stop = board.take(event)
                if event.kind == "done":
                    shutil.rmtree(crawl.scratch / event.task, ignore_errors=True)
                counts = board.counts()
                advance(counts.total() - shown, _share(counts))
                shown = counts.total()
                if stop is not None:
                    board.forget(stop, spec.stop_share)
                    raise RunError(stop.message)


def _events(
    crawl: Crawl,
    spec: DownloadSpec,
    hosts: Mapping[str, tuple[str, int]],
    tasks: Iterator[tuple[str, bytes]],
    shards: int,
) -> Generator[workers.Event]:
    # more requests in flight than a shard has rows would make an interruption cost more than a shard
    size = work_shards.rows_per_shard(crawl.spec, crawl.urls)
    spec = spec.model_copy(update={"threads": min(spec.threads, size)})
    store, log, silence_s = crawl.finished.store, crawl.folder / "log", 60 + 4 * spec.wall_time_s
    here = min(processes.count(), shards)
    job = partial(ShardJob, spec, dict(hosts), here, store, crawl.scratch)
    pool = partial(workers.run, job, processes=here, log=log, silence_s=silence_s)
    if launch.on_cluster():
        return cluster.run(spec, hosts, store, tasks, log, silence_s, pool)
    return pool(tasks)


def export(crawl: Crawl, out: Path) -> Counter[Reason]:
    """Put the tars of every shard into `out` and write `status.parquet`, sorted by row; counts by reason."""
    finished = crawl.finished
    beside = finished.store.place == str(finished.folder.absolute())
    tars = set(finished.tars(crawl.shards)) if beside else set()
    out.mkdir(parents=True, exist_ok=True)
    storage.write_place(out, storage.store(out) if beside else finished.store)
    for stale in out.glob("*.tar"):
        if stale.name not in tars:
            stale.unlink()
    for tar in sorted(tars):
        _link(finished.folder / tar, out / tar)
    counts: Counter[Reason] = Counter()
    held: list[pa.Table] = []
    with (
        files.replace(out / "status.parquet") as temporary,
        pq.ParquetWriter(temporary, STATUS, compression="zstd") as writer,
    ):
        for _, table in finished.merged(crawl.shards):
            held.append(table)
            counts.update(by_reason(table))
            if sum(map(len, held)) >= _ROW_GROUP:
                writer.write_table(pa.concat_tables(held).combine_chunks())
                held = []
        if held:
            writer.write_table(pa.concat_tables(held).combine_chunks())
    return counts


def _link(source: Path, target: Path) -> None:
    """Put a tar that is on the disk at `target`; the folder is flushed with the table, which comes last."""
    if target.exists() and target.samefile(source):
        return
    target.unlink(missing_ok=True)
    try:
        target.hardlink_to(source)
    except OSError:
        files.link_or_copy(source, target)


@dataclass
class _Board:
    """What is finished and what is under way, and the rule that stops a crawl which has no chance."""

    finished: Finished
    window: Window
    kept: Counter[Reason]
    running: dict[str, Counter[Reason]] = field(default_factory=dict)

    def take(self, event: workers.Event) -> Stop | None:
        """Take in what a pool tells."""
        if event.kind == "report":
            counts = self.running.setdefault(event.task, Counter())
            for noted, n in event.value.items():
                counts[noted.reason] += n
        if event.kind in ("report", "told"):
            return self.window.add(event.task, event.value)
        self.running.pop(event.task, None)
        if event.kind == "done":
            table = work_shards.from_bytes(event.value.table)
            self.finished.keep(event.task, table, event.value.size)
            self.kept.update(by_reason(table))
        return None

    def counts(self) -> Counter[Reason]:
        """Rows by reason, as far as they are known."""
        return sum(self.running.values(), self.kept)

    def forget(self, stop: Stop, share: float) -> None:
        """Shards finished while nothing could succeed are to be fetched again; of others, failed rows are."""
        if stop.reason not in PASSING:
            return
        for shard in stop.tasks:
            if shard in self.finished:
                counts = by_reason(self.finished.table(shard))
                if sum(counts[reason] for reason in PASSING) > share * counts.total():
                    self.finished.drop(shard)


def by_reason(table: pa.Table) -> Counter[Reason]:
    """Rows of a table of `STATUS` by reason."""
    pairs = pc.value_counts(table["reason"]).to_pylist()
    return Counter({Reason(pair["values"]): pair["counts"] for pair in pairs})


def _share(counts: Counter[Reason]) -> str:
    total = counts.total()
    return f"{counts[Reason.OK] / total:.1%} ok" if total else ""
