"""URL tables, sources, lines and a job for crawls in tests."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rankclip.data.crawl import coordinate, work_shards, workers
from rankclip.data.crawl.finished import Fetched, pack
from rankclip.data.crawl.journal import Journal, Result
from rankclip.data.crawl.spec import DownloadSpec
from rankclip.data.crawl.statuses import Herald, News
from rankclip.data.crawl.worker import Line
from rankclip.data.reasons import Reason
from rankclip.errors import RunError
from rankclip.storage import Store


def write_urls(path: Path, urls: list[str], captions: list[str] | None = None, step: int = 1) -> Path:
    """Rows 0, 1 * step, 2 * step ... in row groups that have nothing to do with work shards."""
    rows = [step * number for number in range(len(urls))]
    columns = {
        "row": pa.array(rows, pa.int64()),
        "key": pa.array([f"{row:09d}" for row in rows], pa.string()),
        "url": pa.array(urls, pa.string()),
        "caption": pa.array(captions or [f"caption {row}" for row in rows], pa.string()),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path, row_group_size=7)
    return path


@dataclass(frozen=True)
class At:
    """A source whose images are at web.invalid, which is served here."""

    port: int
    images_digest: str = ""

    @contextmanager
    def serve(self) -> Iterator[Mapping[str, tuple[str, int]]]:
        yield {"web.invalid": ("127.0.0.1", self.port)}


@dataclass
class Told:
    """The line of a job, which keeps what it is told."""

    news: News = field(default_factory=Counter)
    asked: int = 0

    def report(self, value: News) -> None:
        self.news.update(value)

    def room(self) -> None:
        self.asked += 1


class Nowhere:
    """A source of a.invalid, which a job of a test does not ask."""

    images_digest = ""

    @contextmanager
    def serve(self) -> Iterator[Mapping[str, tuple[str, int]]]:
        yield {"a.invalid": ("127.0.0.1", 9)}


class FakeJob:
    """Gives every row the reason that its caption names, or what the file `now` has in place of it.

    It stands in for `ShardJob`; fails at the shard that `fail` names in that file; the file `asked` gets the
    names of the shards.
    """

    def __init__(
        self, spec: DownloadSpec, hosts: object, processes: int, store: Store, scratch: Path
    ) -> None:
        self.store, self.scratch, self.work = store, scratch, scratch.parent.parent
        now = self.work / "now"
        self.now = dict(pair.split("=") for pair in now.read_text().split()) if now.exists() else {}

    def __call__(self, name: str, payload: bytes, line: Line, failures: int) -> Fetched:
        with (self.work / "asked").open("a") as asked:
            asked.write(f"{name}\n")
        if self.now.get("fail") == name:
            raise ValueError("as asked")
        rows = work_shards.from_bytes(payload)
        herald = Herald(line.report)
        with Journal(self.scratch / name / "journal") as journal:
            for row in rows.to_pylist():
                reason = self.now.get(row["caption"], row["caption"])
                image = f"image {row['row']}".encode() if reason == "ok" else b""
                digest = hashlib.sha256(image).hexdigest() if image else ""
                detail = "" if image else "because"
                result = Result(Reason(reason), detail, digest, len(image), "{}")
                journal.add(row["row"], result, image)
                herald.note(result, row["url"])
            herald.tell()
            return pack(name, rows, journal, self.store, self.scratch / name, line)


def in_this_process(
    build: Callable[[], FakeJob],
    tasks: Iterator[tuple[str, bytes]],
    processes: int,
    log: Path,
    silence_s: float,
) -> Iterator[workers.Event]:
    """In place of `workers.run`: one task after the other."""
    job = build()
    for name, payload in tasks:
        line = Told()
        try:
            fetched = job(name, payload, line, 0)
        except ValueError as error:
            raise RunError(f"shard {name} failed: {error}") from error
        yield workers.Event("report", name, line.news)
        yield workers.Event("done", name, fetched)


def fake_job(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets crawls of this test do without img2dataset and without processes."""
    monkeypatch.setattr(coordinate, "ShardJob", FakeJob)
    monkeypatch.setattr(workers, "run", in_this_process)
    for name in ("RANKCLIP_STORE", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
