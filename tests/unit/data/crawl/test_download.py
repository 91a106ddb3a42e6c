"""img2dataset itself, through our workers and the guarded opener, against servers on loopback."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image

from rankclip import files
from rankclip.data import tars
from rankclip.data.crawl import download, work_shards
from rankclip.data.crawl.spec import DownloadSpec
from rankclip.data.reasons import Reason
from rankclip.data.shapes import server
from rankclip.data.shapes.answers import encode, original
from rankclip.data.shapes.trouble import KINDS, PLAIN, TroubleSpec, assign
from rankclip.errors import RunError
from tests.unit.data.crawl.crawls import At, write_urls
from tests.unit.data.loopback import JPEG, running, web

N = 120
SPEC = DownloadSpec(timeout_s=0.7, wall_time_s=1.5, retries=1, backoff_s=0.01, threads=8, rows_per_shard=40)
EXPECTED = {
    "http_404": Reason.HTTP_404,
    "http_403": Reason.HTTP_403,
    "http_500": Reason.HTTP_500,
    "redirect_private": Reason.BLOCKED_ADDRESS,
    "html": Reason.NOT_AN_IMAGE,
    "slow": Reason.TIMEOUT,
}


class Site:
    """A small world with every trouble, which counts what it is asked and may strike once."""

    def __init__(self) -> None:
        self.kinds = assign(TroubleSpec(**dict.fromkeys(KINDS, 0.025)), seed=0, n=N)
        self.asked: Counter[int] = Counter()
        self.killed: list[int] = []
        self.kill_at: int | None = None

    def image(self, index: int) -> Image.Image:
        return Image.effect_mandelbrot((48, 48), (-2 + index / 99, -1, 1, 1), 20).convert("RGB")

    def trouble(self, index: int) -> str:
        self.asked[index] += 1
        if index == self.kill_at and not self.killed:
            for worker in multiprocessing.active_children():
                self.killed.append(worker.pid or 0)
                worker.kill()
        return self.kinds[index]

    images_digest = "drawn"

    @contextmanager
    def serve(self) -> Iterator[dict[str, tuple[str, int]]]:
        listening = server.build(self, slow_s=3.0)
        with running(lambda: listening.serve_forever(poll_interval=0.02), listening.shutdown):
            yield {"shapes.invalid": ("127.0.0.1", listening.server_port)}
        listening.server_close()


def images(folder: Path) -> dict[str, bytes]:
    found = {}
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                if member.name.endswith(".jpg"):
                    content = tar.extractfile(member)
                    assert content is not None
                    found[member.name.removesuffix(".jpg")] = content.read()
    return found


def test_every_trouble_ends_in_its_reason_and_a_finished_shard_is_not_fetched_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """One crawl in which the workers are killed in the middle, and a second that resumes another's work."""
    monkeypatch.setenv("RANKCLIP_PROCESSES", "1")
    site = Site()
    site.kill_at = site.kinds.index(PLAIN, 60)
    urls = write_urls(
        tmp_path / "urls.parquet", [f"http://shapes.invalid/images/{i:07d}.jpg" for i in range(N)]
    )
    out, work = tmp_path / "crawl", tmp_path / "work"
    download.run(SPEC, site, urls, work, out)

    assert site.killed
    status = files.read_table(out / "status.parquet").to_pylist()
    assert [row["reason"] for row in status] == [EXPECTED.get(kind, Reason.OK) for kind in site.kinds]
    assert set(site.kinds) == {PLAIN, *KINDS}
    stored = images(out)
    assert sorted(stored) == [row["key"] for row in status if row["reason"] == "ok"]
    for row, kind in zip(status, site.kinds, strict=True):
        if row["reason"] == "ok":
            served = encode(kind, site.image(original(site.kinds.__getitem__, row["row"])))[0]
            assert stored[row["key"]] == served
            assert (row["sha256"], row["size"]) == (hashlib.sha256(served).hexdigest(), len(served))
    console = capfd.readouterr()
    assert console.out == ""
    assert len(console.err.splitlines()) <= 2

    first = digests(out)
    (folder,) = work.iterdir()
    (folder / "done" / "00001.parquet").unlink()
    site.asked.clear()
    download.run(SPEC, site, urls, work, out)
    again = range(20, 40)
    assert set(site.asked) - {original(site.kinds.__getitem__, i) for i in again} <= set(again)
    assert set(again) <= set(site.asked)
    assert digests(out) == first

    site.asked.clear()
    download.run(SPEC, site, urls, work, out)
    assert not site.asked


def digests(folder: Path) -> dict[str, str]:
    return {path.name: files.sha256(path) for path in folder.iterdir() if path.name != "record.json"}


def test_after_kill_9_hardly_a_row_is_asked_for_twice_and_nothing_differs(tmp_path: Path) -> None:
    """The whole command is killed; then it must end as one that was left alone."""
    n = 600
    spec = SPEC.model_copy(update={"timeout_s": 20.0, "wall_time_s": 20.0})
    held = [f"/{n // 2}"]

    def reply(path: str, before: int) -> tuple[int, dict[str, str], bytes]:
        if path in held and not before:
            time.sleep(0.5)
        return (404, {}, b"") if path.endswith("7") else (200, {}, JPEG + path.encode())

    with web(reply) as site:
        source = At(site.port)
        urls = write_urls(tmp_path / "urls.parquet", [f"http://web.invalid/{row}" for row in range(n)])
        download.run(spec, source, urls, tmp_path / "undisturbed", tmp_path / "a" / "crawl")
        site.asked.clear()
        program = (
            "from pathlib import Path\n"
            "from rankclip.data.crawl import download\n"
            "from tests.unit.data.crawl.test_download import SPEC, At\n"
            "spec = SPEC.model_copy(update={'timeout_s': 20.0, 'wall_time_s': 20.0})\n"
            "if __name__ == '__main__':\n"
            f"    download.run(spec, At({site.port}), Path({str(urls)!r}), Path({str(tmp_path / 'work')!r}), "
            f"Path({str(tmp_path / 'b' / 'crawl')!r}))\n"
        )
        environment = {**os.environ, "PYTHONPATH": ".", "RANKCLIP_PROCESSES": "2"}
        for row in held:
            with subprocess.Popen([sys.executable, "-c", program], env=environment) as driver:
                deadline = time.monotonic() + 60
                while not any(path == row for path, _ in list(site.asked)):
                    assert time.monotonic() < deadline
                    assert driver.poll() is None
                    time.sleep(0.01)
                driver.send_signal(signal.SIGKILL)
            time.sleep(0.2)  # its workers die with it
            done = list((tmp_path / "work").rglob("done/[0-9]*.tar"))
            assert done
            for path in done:
                tars.listing(path, "it is cut off")
        download.run(spec, source, urls, tmp_path / "work", tmp_path / "b" / "crawl")
        asked = Counter(path for path, _ in site.asked)

    assert len(asked) == n
    # those in flight or not yet noted; at most a work shard for each of the 2 processes
    assert sum(asked.values()) - n <= 2 * work_shards.rows_per_shard(spec, urls) == 40
    assert digests(tmp_path / "b" / "crawl") == digests(tmp_path / "a" / "crawl")


def test_after_a_stop_the_same_command_goes_on_and_does_not_stop_for_what_it_knows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANKCLIP_PROCESSES", "1")
    spec = SPEC.model_copy(update={"timeout_s": 20.0, "wall_time_s": 20.0, "retries": 0, "stop_rows": 15})
    trouble = True
    urls = write_urls(tmp_path / "urls.parquet", [f"http://web.invalid/{row}" for row in range(200)])
    with web(lambda *_: (500, {}, b"") if trouble else (200, {}, JPEG)) as site:
        where = (At(site.port), urls, tmp_path / "work", tmp_path / "data" / "crawl")
        with pytest.raises(RunError, match="failed with `http_500`"):
            download.run(spec, *where)
        trouble = False
        download.run(spec, *where)
    found = Counter(files.read_table(tmp_path / "data/crawl/status.parquet")["reason"].to_pylist())
    assert found.total() == 200
    assert found.keys() == {"ok", "http_500"}
