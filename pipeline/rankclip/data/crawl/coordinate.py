"""The parent's side of a crawl: work shards out, statuses in, progress shown, finished shards exported.

`work/` holds what is finished (`done/NNNNN.tar` and, written last, `done/NNNNN.parquet`); a shard without its
table is fetched again from the start.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from rankclip import files
from rankclip.data import processes
from rankclip.data.crawl import workers
from rankclip.data.crawl.spec import DownloadSpec
from rankclip.data.crawl.statuses import STATUS
from rankclip.data.reasons import Reason
from rankclip.errors import RunError

_SHARD_COLUMNS = ["url", "caption", "row"]


def shard_names(spec: DownloadSpec, urls: Path) -> list[str]:
    """The names of all work shards of a URL table."""
    rows = pq.read_metadata(urls).num_rows
    return [f"{index:05d}" for index in range(-(-rows // spec.rows_per_shard))]


def unfinished(spec: DownloadSpec, urls: Path, work: Path) -> list[str]:
    """The names of the work shards that are still to be fetched."""
    return [name for name in shard_names(spec, urls) if not _table(work, name).exists()]


def fetch(build: Callable[[], workers.Job], spec: DownloadSpec, urls: Path, work: Path) -> None:
    """Fetch every unfinished shard.

    Raises:
        RunError: workers kept failing, the disk is full, or nearly everything fails for one reason.
    """
    shutil.rmtree(work / "tmp", ignore_errors=True)
    left = set(unfinished(spec, urls, work))
    kept = _count(work, [name for name in shard_names(spec, urls) if name not in left])
    board = _Board(spec, kept)
    total = pq.read_metadata(urls).num_rows
    tasks = ((name, arrow_file(rows)) for name, rows in _slices(urls, spec.rows_per_shard) if name in left)
    silence_s = 60 + 4 * spec.wall_time_s
    events = workers.run(build, tasks, min(processes.count(), len(left)), work / "log", silence_s)
    with _progress() as progress:
        bar = progress.add_task("download", total=total, completed=kept.total(), ok="")
        for event in events:
            board.take(event)
            counts = board.counts()
            progress.update(bar, completed=counts.total(), ok=_share(counts))


def export(spec: DownloadSpec, urls: Path, work: Path, out: Path) -> Counter[Reason]:
    """Link the tars of every shard into `out` and write `status.parquet`, sorted by row; counts by reason."""
    out.mkdir(parents=True, exist_ok=True)
    for stale in out.glob("*.tar"):
        stale.unlink()
    counts: Counter[Reason] = Counter()
    with (
        files.replace(out / "status.parquet") as beside,
        pq.ParquetWriter(beside, STATUS, compression="zstd") as writer,
    ):
        for name in shard_names(spec, urls):
            files.link_or_copy(work / "done" / f"{name}.tar", out / f"{name}.tar")
            table = files.read_table(_table(work, name))
            counts.update(Reason(reason) for reason in table["reason"].to_pylist())
            writer.write_table(table)
    return counts


class _Board:
    """Counts of finished rows by reason, and the rule that stops a crawl which has no chance."""

    def __init__(self, spec: DownloadSpec, kept: Counter[Reason]) -> None:
        self._spec = spec
        self._finished = kept
        self._running: dict[str, Counter[Reason]] = {}
        self._judged = bool(kept) or not spec.stop_rows

    def take(self, event: workers.Event) -> None:
        if event.kind == "report":
            self._running.setdefault(event.task, Counter()).update(event.value)
        elif event.kind == "again":
            self._running.pop(event.task, None)
        elif event.kind == "done":
            self._finished.update(self._running.pop(event.task, Counter()))
        self._judge()

    def counts(self) -> Counter[Reason]:
        return sum(self._running.values(), self._finished)

    def _judge(self) -> None:
        counts = self.counts()
        if self._judged or counts.total() < self._spec.stop_rows:
            return
        self._judged = True
        reason, n = counts.most_common(1)[0]
        if reason is not Reason.OK and n > self._spec.stop_share * counts.total():
            raise RunError(
                f"{n} of the first {counts.total()} rows failed with `{reason}`; look at the network, the "
                "resolver and the URLs, or set download.stop_rows=0 to go on regardless"
            )


def _slices(urls: Path, rows: int) -> Iterator[tuple[str, Any]]:
    """The URL table in tables of `rows` rows, whatever its row groups."""
    with pq.ParquetFile(urls) as file:
        held: list[Any] = []
        index = 0
        for batch in file.iter_batches(rows, columns=_SHARD_COLUMNS):
            held.append(pa.Table.from_batches([batch]).select(_SHARD_COLUMNS))
            while sum(map(len, held)) >= rows:
                table = pa.concat_tables(held)
                yield f"{index:05d}", table.slice(0, rows)
                held = [table.slice(rows)]
                index += 1
        if sum(map(len, held)):
            yield f"{index:05d}", pa.concat_tables(held)


def arrow_file(table: Any) -> bytes:
    """A table as the bytes of an Arrow file, the form in which img2dataset takes its work."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def _table(work: Path, name: str) -> Path:
    return work / "done" / f"{name}.parquet"


def _count(work: Path, names: list[str]) -> Counter[Reason]:
    counts: Counter[Reason] = Counter()
    for name in names:
        table = files.read_table(_table(work, name), ["reason"])
        counts.update(Reason(reason) for reason in table["reason"].to_pylist())
    return counts


def _share(counts: Counter[Reason]) -> str:
    total = counts.total()
    return f"{counts[Reason.OK] / total:.1%} ok" if total else ""


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.finished_speed or task.speed or 0:.0f} rows/s")


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TextColumn("{task.fields[ok]}"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )
