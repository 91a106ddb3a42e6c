"""One work shard in a process: img2dataset behind the guard, notes of each row, and rows that kill."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from PIL import Image

from rankclip import storage
from rankclip.data import tars
from rankclip.data.crawl import shard_job, work_shards, workers
from rankclip.data.crawl.fetching import Writer
from rankclip.data.crawl.gate import Gate, Load
from rankclip.data.crawl.journal import Journal, Result
from rankclip.data.crawl.shard_job import ShardJob
from rankclip.data.crawl.spec import DownloadSpec
from rankclip.data.crawl.statuses import Noted
from rankclip.data.crawl.stop_rule import Window
from rankclip.data.reasons import Reason
from rankclip.data.shapes.answers import encode
from rankclip.errors import DataError
from tests.unit.data.crawl.crawls import Told
from tests.unit.data.loopback import JPEG, Web, web

SPEC = DownloadSpec(timeout_s=5, wall_time_s=10, retries=0, threads=4)
PNG = encode("png", Image.new("RGB", (64, 32), "red"))[0]


def reply(path: str, before: int) -> tuple[int, dict[str, str], bytes]:
    robots = {"/no": "noai", "/other": "otherbot: noindex"}.get(path, "all")
    if path == "/once" and not before:
        return 404, {}, b""
    return 200, {"X-Robots-Tag": robots}, PNG if path == "/png" else JPEG


@pytest.fixture
def site() -> Iterator[Web]:
    before = getattr(urllib.request, "_opener", None)
    with web(reply) as here:
        yield here
    urllib.request.install_opener(before)


def build(folder: Path, port: int, **changes: Any) -> ShardJob:
    hosts = {"web.invalid": ("127.0.0.1", port)}
    spec = SPEC.model_copy(update=changes)
    return ShardJob(spec, hosts, 1, storage.store(folder / "store"), folder / "tmp")


def payload(paths: list[str]) -> bytes:
    columns = {
        "row": pa.array(range(len(paths)), pa.int64()),
        "key": [f"k{row}" for row in range(len(paths))],
        "url": [f"http://web.invalid{path}" for path in paths],
        "caption": pa.array([None, *paths[1:]], pa.string()),
    }
    return work_shards.to_bytes(pa.table(columns))


def done(
    job: ShardJob, paths: list[str], line: Told | None = None, failures: int = 0
) -> list[dict[str, Any]]:
    fetched = job("00000", payload(paths), line or Told(), failures)
    rows: list[dict[str, Any]] = work_shards.from_bytes(fetched.table).to_pylist()
    return rows


def members(folder: Path) -> dict[str, bytes]:
    with tars.Reader(folder / "store" / "00000.tar", "") as tar:
        return {name: tar.read(name) for name in tar.spans}


def test_the_tar_is_in_the_order_of_the_rows_and_the_status_tells_of_each(site: Web, tmp_path: Path) -> None:
    line = Told()
    status = done(build(tmp_path, site.port), ["/no", "/other", "/png", "/once"], line)
    assert [row["reason"] for row in status] == ["robots", "ok", "ok", "http_404"]
    assert [row["key"] for row in status] == ["k0", "k1", "k2", "k3"]
    found = members(tmp_path)
    assert list(found) == ["k1.jpg", "k1.json", "k1.txt", "k2.jpg", "k2.json", "k2.txt"]
    assert (found["k1.jpg"], found["k2.jpg"], found["k2.txt"]) == (JPEG, PNG, b"/png")
    assert status[2]["sha256"] == hashlib.sha256(PNG).hexdigest()
    gone = Noted(Reason.HTTP_404, "HTTP 404", "web.invalid")
    assert line.news == {Noted(Reason.OK): 2, Noted(Reason.ROBOTS, "", "web.invalid"): 1, gone: 1}


def test_resizing_stores_jpeg_of_the_size_asked_for(site: Web, tmp_path: Path) -> None:
    rows = done(build(tmp_path, site.port, resize="keep_ratio", image_size=16), ["/png", "/not-decodable"])
    assert [row["reason"] for row in rows] == ["ok", "not_an_image"]
    stored = members(tmp_path)["k0.jpg"]
    with Image.open(io.BytesIO(stored)) as image:
        assert (image.format, image.size) == ("JPEG", (32, 16))
    assert rows[0]["sha256"] == hashlib.sha256(stored).hexdigest()


def test_noted_rows_are_not_asked_for_again_but_for_doubtful_failures(site: Web, tmp_path: Path) -> None:
    with Journal(tmp_path / "tmp" / "00000" / "journal") as journal:
        journal.add(0, Result(Reason.OK, "", "digest", 5, "{}"), b"image")
        journal.add(1, Result(Reason.HTTP_404, "gone"))
        journal.add(2, Result(Reason.DNS, "no such host"))
        journal.add(4, Result(Reason.TLS, "certificate has expired"))
        journal.add(99, Result(Reason.HTTP_404, "of a shard that has been cut otherwise"))
    line = Told()
    status = done(build(tmp_path, site.port), ["/0", "/1", "/2", "/3", "/4"], line)
    assert [row["reason"] for row in status] == ["ok", "http_404", "ok", "ok", "ok"]
    assert sorted(path for path, _ in site.asked) == ["/2", "/3", "/4"]
    assert members(tmp_path)["k0.jpg"] == b"image"
    assert line.news.total() == 5


def test_a_run_after_a_stop_is_not_stopped_by_what_the_earlier_one_noted(site: Web, tmp_path: Path) -> None:
    with Journal(tmp_path / "tmp" / "00000" / "journal") as journal:
        for row in range(40):
            journal.add(row, Result(Reason.HTTP_500, "HTTP 500"))
    line = Told()
    done(build(tmp_path, site.port), [f"/{row}" for row in range(44)], line)
    assert line.news == {Noted(Reason.HTTP_500, known=True): 40, Noted(Reason.OK): 4}
    assert Window(40, 0.9).add("00000", line.news) is None


def test_after_failures_rows_in_flight_are_tried_alone_and_those_that_killed_twice_are_given_up(
    site: Web, tmp_path: Path
) -> None:
    with Journal(tmp_path / "tmp" / "00000" / "journal") as journal:
        for row, times in ((3, 2), (4, 1)):
            for _ in range(times):
                journal.begin(row)
    paths = [f"/{row}" for row in range(8)]
    status = done(build(tmp_path, site.port), paths, failures=workers.ATTEMPTS)
    assert [row["row"] for row in status if row["reason"] == "other"] == [3]
    assert status[3]["detail"] == "fetching it ended its process, or never ended"
    assert sorted(path for path, _ in site.asked) == sorted(set(paths) - {"/3"})


class Deadly:
    """In place of img2dataset: its process dies at rows 7 and 13; it notes which rows it was given."""

    def __init__(self, notes: Path) -> None:
        self.notes = notes

    def fetch(self, work_shard: Path, rows: int, writer: Writer) -> None:
        for row in work_shards.from_bytes(work_shard.read_bytes()).to_pylist():
            with self.notes.open("a") as notes:
                notes.write(f"{row['row']}\n")
            if row["row"] in (7, 13):
                os._exit(9)
            writer.write(JPEG, "", "", {"row": row["row"]})
        writer.close()


def deadly(folder: Path) -> ShardJob:
    shard_job.Fetcher = lambda spec: Deadly(folder / "notes")  # type: ignore[assignment, misc]
    return ShardJob(SPEC, {}, 1, storage.store(folder / "store"), folder / "tmp")


def test_rows_that_kill_cost_nothing_but_themselves(tmp_path: Path) -> None:
    tasks = [("00000", payload([f"/{row}" for row in range(40)]))]
    events = list(workers.run(partial(deadly, tmp_path), tasks, 1, tmp_path / "log", silence_s=60))
    (last,) = [event.value for event in events if event.kind == "done"]
    status = work_shards.from_bytes(last.table).to_pylist()
    assert [row["row"] for row in status if row["reason"] != "ok"] == [7, 13]
    fetched = Counter((tmp_path / "notes").read_text().split())
    assert set(fetched.values()) - {fetched["7"], fetched["13"]} == {1}
    assert max(fetched.values()) <= workers.ATTEMPTS + 2


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), DataError("the store is gone")]
)
def test_what_cannot_be_kept_is_an_error_at_once_and_leaves_no_tar(
    site: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def full(*_: object) -> None:
        raise error

    monkeypatch.setattr(Journal, "add", full)
    with pytest.raises(type(error), match=str(error.args[-1])):
        done(build(tmp_path, site.port), [f"/{row}" for row in range(50)])
    assert len(site.asked) < 20
    assert not (tmp_path / "store").exists()


def test_no_more_requests_pass_the_gate_than_it_has_room_for() -> None:
    inside, most = 0, 0
    lock = threading.Lock()

    class Slow(urllib.request.OpenerDirector):
        def open(self, *unused: Any, **named: Any) -> Any:
            nonlocal inside, most
            with lock:
                inside += 1
                most = max(most, inside)
            time.sleep(0.02)
            with lock:
                inside -= 1

    gate = Gate(Slow(), 3)
    threads = [threading.Thread(target=gate.open, args=("http://a/",)) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 3


def test_a_task_is_asked_for_when_rows_run_out_and_once_for_each_that_comes() -> None:
    load = Load(10)
    asked: list[int] = []

    def fetch(rows: int, slow: int, then: Callable[[], None]) -> None:
        with load.of(rows, lambda: asked.append(1)) as fetched:
            for _ in range(rows - slow):
                fetched()
            then()
            for _ in range(slow):
                fetched()

    told: list[int] = []
    fetch(100, 11, lambda: told.append(len(asked)))
    fetch(100, 10, lambda: told.append(len(asked)))
    fetch(5, 5, lambda: fetch(4, 2, lambda: told.append(len(asked))))
    assert told == [0, 2, 4]
    assert len(asked) == 4


def test_rows_of_a_task_that_failed_no_longer_count() -> None:
    load = Load(1)
    asked: list[int] = []
    with pytest.raises(ValueError), load.of(50, lambda: asked.append(1)):
        raise ValueError
    assert asked == [1]
