"""The driver's side of a crawl: work shards out, results in, progress shown."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import pyarrow as pa

from rankclip import launch
from rankclip.data import bars, processes
from rankclip.data.crawl import cluster, preflight, work_shards, workers
from rankclip.data.crawl.finished import Finished
from rankclip.data.crawl.shard_job import ShardJob
from rankclip.data.crawl.spec import DownloadSpec
from rankclip.data.crawl.stop_rule import DOUBTFUL, Stop, Window
from rankclip.data.crawl.work_folder import Crawl, Source, by_reason
from rankclip.data.reasons import Reason
from rankclip.errors import RunError


class Extent(NamedTuple):
    """How much is to be fetched."""

    title: str
    shards: int
    rows: int
    kept: Counter[Reason]
    """Those of the rows that are finished."""
    stops: frozenset[Reason] = frozenset(Reason)
    """The reasons for which nearly all rows may not fail."""


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
    board = _Board(crawl.finished, Window(spec.stop_rows, spec.stop_share, extent.stops), extent.kept.copy())
    tasks = ((name, work_shards.to_bytes(table)) for name, table in tables)
    with source.serve() as hosts:
        shown = extent.kept.total()
        preflight.run(spec, crawl.urls, extent.rows - shown, crawl.folder, crawl.finished.store, hosts)
        events = _events(crawl, spec, hosts, tasks, extent)
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
    extent: Extent,
) -> Generator[workers.Event]:
    # more requests in flight than a shard has rows would make an interruption cost more than a shard
    size = work_shards.rows_per_shard(crawl.spec, crawl.urls)
    spec = spec.model_copy(update={"threads": min(spec.threads, size)})
    store, log, silence_s = crawl.finished.store, crawl.folder / "log", 60 + 4 * spec.wall_time_s
    here = min(processes.count(), extent.shards)
    job = partial(ShardJob, spec, dict(hosts), here, store, crawl.scratch)
    pool = partial(workers.run, job, processes=here, log=log, silence_s=silence_s)
    if launch.on_cluster():
        return cluster.run(spec, hosts, store, extent.stops, tasks, log, silence_s, pool)
    return pool(tasks)


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
        if stop.reason not in DOUBTFUL:
            return
        for shard in stop.tasks:
            if shard in self.finished:
                counts = by_reason(self.finished.table(shard))
                if sum(counts[reason] for reason in DOUBTFUL) > share * counts.total():
                    self.finished.drop(shard)


def _share(counts: Counter[Reason]) -> str:
    total = counts.total()
    return f"{counts[Reason.OK] / total:.1%} ok" if total else ""
