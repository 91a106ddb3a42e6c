"""A crawl by tasks of Ray: a session of one machine stands for the cluster."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from multiprocessing import resource_tracker
from pathlib import Path

import psutil
import pytest

from rankclip import files, launch, storage
from rankclip.data.crawl import cluster as tasks_of_ray
from rankclip.data.crawl import download
from rankclip.data.crawl.spec import DownloadSpec
from rankclip.errors import RunError
from rankclip.launch import guard
from tests.unit.data.crawl.crawls import At, write_urls
from tests.unit.data.loopback import JPEG, web

SPEC = DownloadSpec(timeout_s=20, wall_time_s=20, retries=0, threads=8, rows_per_shard=20, stop_rows=40)
N = 90


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    resource_tracker.ensure_running()  # begun within the session it would end with it, to Python's surprise
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("RAY_ADDRESS", raising=False)
        with launch.session():
            import ray

            yield ray.get_runtime_context().gcs_address


@pytest.fixture(autouse=True)
def cluster(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)
    monkeypatch.setenv("RANKCLIP_PROCESSES", "2")
    monkeypatch.delenv("RANKCLIP_STORE", raising=False)


def tasks() -> list[psutil.Process]:
    """The processes that fetch the third shard."""
    found = guard.marked(os.environ[guard.MARK])
    return [process for process in found if process.cmdline()[:1] == ["ray::fetch_shard 00002"]]


def test_shards_are_tasks_of_the_cluster_and_one_whose_process_dies_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed: list[int] = []

    def reply(path: str, before: int) -> tuple[int, dict[str, str], bytes]:
        if path == "/45" and not killed:
            for task in tasks():
                killed.append(task.pid)
                task.kill()
        return (404, {}, b"") if path.endswith("7") else (200, {}, JPEG + path.encode())

    with web(reply) as site:
        urls = write_urls(tmp_path / "urls.parquet", [f"http://web.invalid/{row}" for row in range(N)])
        download.run(SPEC, At(site.port), urls, tmp_path / "work", tmp_path / "a" / "crawl")
        assert killed
        monkeypatch.delenv("RAY_ADDRESS")
        monkeypatch.setenv("RANKCLIP_STORE", str(tmp_path / "store"))
        download.run(SPEC, At(site.port), urls, tmp_path / "alone", tmp_path / "b" / "crawl")
    a, b = (tmp_path / name / "crawl" for name in "ab")
    assert Counter(files.read_table(a / "status.parquet")["reason"].to_pylist()) == {"ok": 81, "http_404": 9}
    assert files.sha256(a / "status.parquet") == files.sha256(b / "status.parquet")
    elsewhere = storage.of_tars(b)
    assert len(elsewhere.sizes(".tar")) == 5
    for name in elsewhere.sizes(".tar"):
        assert files.sha256(Path(elsewhere.place) / name) == files.sha256(a / name)


def test_a_tar_on_a_disk_of_a_node_alone_stops_the_crawl(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    urls = write_urls(tmp_path / "urls.parquet", [f"http://web.invalid/{row}" for row in range(N)])

    class Hidden(At):
        pass

    monkeypatch.setattr(type(storage.store(tmp_path)), "size", lambda *unused: None)  # here, not in the tasks
    with (
        web(lambda path, _: (200, {}, JPEG)) as site,
        pytest.raises(RunError, match=r"from here it is not there: .* Set RANKCLIP_STORE"),
    ):
        download.run(SPEC, At(site.port), urls, tmp_path / "work", tmp_path / "data" / "crawl")
    assert not list(tmp_path.rglob("done/*.parquet"))


def test_a_task_in_which_everything_fails_stops_the_crawl(tmp_path: Path) -> None:
    urls = write_urls(tmp_path / "urls.parquet", [f"http://web.invalid/{row}" for row in range(N)])
    spec = SPEC.model_copy(update={"stop_rows": 10})
    with web(lambda path, _: (400, {}, b"")) as site, pytest.raises(RunError, match="failed with `http_400`"):
        download.run(spec, At(site.port), urls, tmp_path / "work", tmp_path / "data" / "crawl")


def test_what_a_killed_process_left_of_its_shards_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(tasks_of_ray, "ShardJob", lambda *unused: None)
    dead, alive = (tmp_path / f"rankclip-crawl-{number}-x" for number in (2**31 - 1, os.getpid()))
    for folder in (dead, alive):
        (folder / "00000").mkdir(parents=True)
    _, scratch = tasks_of_ray._job.__wrapped__(SPEC, (), 1, storage.store(tmp_path))
    assert set(tmp_path.iterdir()) == {alive, scratch}
