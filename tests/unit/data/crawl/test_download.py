"""img2dataset itself, through our workers and the guarded opener, against servers on loopback."""

from __future__ import annotations

import errno
import hashlib
import multiprocessing
import tarfile
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pytest
from PIL import Image

from rankclip import files
from rankclip.data.crawl import coordinate, download
from rankclip.data.crawl.spec import DownloadSpec
from rankclip.data.reasons import Reason
from rankclip.data.shapes import server
from rankclip.data.shapes.answers import encode, original
from rankclip.data.shapes.trouble import KINDS, PLAIN, TroubleSpec, assign
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


def write_urls(path: Path, urls: list[str]) -> Path:
    rows = range(len(urls))
    columns = {"row": list(rows), "key": [f"{row:09d}" for row in rows], "url": urls}
    files.write_table(path, pa.table({**columns, "caption": [f"caption {row}" for row in rows]}))
    return path


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

    first = files.sha256(out / "status.parquet")
    (folder,) = work.iterdir()
    (folder / "done" / "00001.parquet").unlink()
    site.asked.clear()
    download.run(SPEC, site, urls, work, out)
    assert set(site.asked) - {original(site.kinds.__getitem__, i) for i in range(40, 80)} <= set(
        range(40, 80)
    )
    assert set(range(40, 80)) <= set(site.asked)
    assert files.sha256(out / "status.parquet") == first

    site.asked.clear()
    download.run(SPEC, site, urls, work, out)
    assert not site.asked


@pytest.fixture
def job(tmp_path: Path) -> Iterator[tuple[download.ShardJob, Path]]:
    """A job in this process; its server forbids /no, serves a PNG at /png and else what passes for JPEG."""
    png = encode("png", Image.new("RGB", (64, 32), "red"))[0]

    def reply(path: str, _: int) -> tuple[int, dict[str, str], bytes]:
        headers = {"X-Robots-Tag": {"/no": "noai", "/other": "otherbot: noindex"}.get(path, "all")}
        return 200, headers, png if path == "/png" else JPEG

    before = getattr(urllib.request, "_opener", None)
    with web(reply) as here:
        yield download.ShardJob(SPEC, {"web.invalid": ("127.0.0.1", here.port)}, tmp_path), tmp_path
    urllib.request.install_opener(before)


def fetched(job: tuple[download.ShardJob, Path], paths: list[str]) -> list[dict[str, object]]:
    rows = pa.table(
        {"url": [f"http://web.invalid{path}" for path in paths], "caption": paths, "row": range(len(paths))}
    )
    job[0]("00000", coordinate.arrow_file(rows), lambda _: None)
    status: list[dict[str, object]] = files.read_table(job[1] / "done" / "00000.parquet").to_pylist()
    return status


def test_robots_directives_are_honoured_unless_they_name_another_crawler(
    job: tuple[download.ShardJob, Path],
) -> None:
    assert [row["reason"] for row in fetched(job, ["/no", "/other", "/yes"])] == ["robots", "ok", "ok"]


def test_resizing_stores_jpeg_of_the_size_asked_for(job: tuple[download.ShardJob, Path]) -> None:
    job[0]._spec = SPEC.model_copy(update={"resize": "keep_ratio", "image_size": 16})
    rows = fetched(job, ["/png", "/not-decodable"])
    assert [row["reason"] for row in rows] == ["ok", "not_an_image"]
    (stored,) = images(job[1] / "done").values()
    (job[1] / "stored.jpg").write_bytes(stored)
    with Image.open(job[1] / "stored.jpg") as image:
        assert (image.format, image.size) == ("JPEG", (32, 16))
    assert rows[0]["sha256"] == hashlib.sha256(stored).hexdigest()


def test_a_full_disk_is_an_error_and_leaves_no_finished_shard(
    job: tuple[download.ShardJob, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    import webdataset

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(webdataset.TarWriter, "write", full)
    with pytest.raises(OSError, match="No space left"):
        fetched(job, ["/1", "/2"])
    assert not list((job[1]).glob("done/*.parquet"))
