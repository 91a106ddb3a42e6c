"""What is said before a crawl begins, and when it does not begin."""

from __future__ import annotations

import shutil
import socket
import time
from collections import namedtuple
from collections.abc import Collection
from contextlib import nullcontext
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rankclip import storage
from rankclip.data.crawl import preflight
from rankclip.data.crawl.spec import DownloadSpec
from rankclip.errors import RunError
from rankclip.storage.bucket import Bucket
from tests.unit.data.crawl.wire import Wire

SPEC = DownloadSpec(timeout_s=0.5)
WARN = DownloadSpec(timeout_s=0.5, preflight="warn")
PUBLIC = ["93.184.216.34"]


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "RANKCLIP_STORE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("RANKCLIP_PROCESSES", "2")


def table(folder: Path, urls: list[str], row_group: int = 100) -> Path:
    path = folder / "urls.parquet"
    pq.write_table(pa.table({"url": pa.array(urls, pa.string())}), path, row_group_size=row_group)
    return path


def looked(monkeypatch: pytest.MonkeyPatch, folder: Path, found: dict[str, list[str]], n: int = 40) -> Wire:
    wire = Wire(monkeypatch, found)
    urls = table(folder, [f"http://h{number}.example/1.jpg" for number in range(n)])
    looked_at(SPEC, urls, folder)
    return wire


def looked_at(
    spec: DownloadSpec, urls: Path, folder: Path, store: str = "", hosts: Collection[str] = (), rows: int = 10
) -> None:
    preflight.run(spec, urls, rows, folder, storage.store(store or folder / "done"), hosts)


def test_a_crawl_that_can_begin_begins_without_a_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wire = looked(monkeypatch, tmp_path, {f"h{number}.example": PUBLIC for number in range(4, 40)})
    assert len(set(wire.asked)) == preflight.PROBED
    assert not wire.connected
    assert capsys.readouterr() == ("", "")


def test_hosts_are_the_same_for_the_same_list_and_from_all_over_it(tmp_path: Path) -> None:
    urls = table(tmp_path, [f"http://h{number}.example/" for number in range(5000)], row_group=10)
    names = preflight.sample(urls, ())
    assert names == preflight.sample(urls, ())
    assert len(names) == preflight.PROBED
    assert max(int(name.split(".")[0][1:]) for name in names) > 4900
    assert min(int(name.split(".")[0][1:]) for name in names) < 100


@pytest.mark.parametrize(
    "urls", [[], ["http://SHAPES.invalid/1"] * 9, ["http://10.0.0.1/", "http://[::1]/", "nothing"]]
)
def test_where_nothing_is_asked_of_the_internet_nothing_is_looked_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], urls: list[str]
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    wire = Wire(monkeypatch, {})
    since = time.monotonic()
    looked_at(SPEC, table(tmp_path, urls), tmp_path / "none", hosts=["shapes.invalid"])
    assert time.monotonic() - since < 10
    assert not wire.asked
    assert capsys.readouterr().err == ""


def test_a_resolver_that_finds_nothing_stops_the_crawl(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(
        RunError, match=r"none of 32 hosts .* resolves \(h\d+\.example: Name or service not known\)"
    ):
        looked(monkeypatch, tmp_path, {})
    looked_at(WARN, tmp_path / "urls.parquet", tmp_path)
    assert "warning: none of 32 hosts" in capsys.readouterr().err


def test_one_dead_host_is_no_sign_of_a_dead_resolver_but_a_silent_resolver_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    looked(monkeypatch, tmp_path, {}, n=1)
    assert "1 of 1 hosts" in capsys.readouterr().err

    def silent(*_: object, **__: object) -> list[object]:
        time.sleep(2)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", silent)
    with pytest.raises(RunError, match="no answer from the resolver"):
        looked_at(SPEC, tmp_path / "urls.parquet", tmp_path)


def test_many_names_without_an_address_are_worth_a_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    looked(monkeypatch, tmp_path, {f"h{number}.example": PUBLIC for number in range(0, 40, 2)})
    assert "hosts sampled from the list do not resolve" in capsys.readouterr().err


def test_a_resolver_that_sends_everyone_to_a_portal_is_worth_a_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    looked(monkeypatch, tmp_path, {f"h{number}.example": ["10.0.0.1"] for number in range(40)})
    assert "a captive portal" in capsys.readouterr().err


def test_a_proxy_and_too_many_processes_are_worth_a_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("https_proxy", "http://user:secret@proxy:3128")
    monkeypatch.setenv("RANKCLIP_PROCESSES", "17")
    looked(monkeypatch, tmp_path, {f"h{number}.example": PUBLIC for number in range(40)})
    said = capsys.readouterr().err
    assert "HTTPS_PROXY is set, but the crawler connects directly" in said
    assert "secret" not in said
    assert "17 processes may make a request each" in said


Usage = namedtuple("Usage", "total used free")


@pytest.mark.parametrize(("free", "stops"), [(99, True), (101, False)])
def test_a_disk_too_small_for_what_is_still_to_come_stops_the_crawl(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, stops: bool
) -> None:
    monkeypatch.setattr(preflight, "SERVED_BYTES", 20 / preflight.ALIVE)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(0, 0, free))
    urls = table(tmp_path, ["http://10.0.0.1/"] * 400)
    if stops:
        with pytest.raises(RunError, match=r"needs about 0.0 GB more \(5 rows of 0 kB, dead ones included\)"):
            looked_at(SPEC, urls, tmp_path / "work", rows=5)
        looked_at(WARN, urls, tmp_path / "work", rows=5)
    else:
        looked_at(SPEC, urls, tmp_path / "work", rows=5)


@pytest.mark.parametrize("free", [99, 101])
def test_tars_that_are_there_tell_how_large_others_will_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int
) -> None:
    """A work shard of this list has 20 rows; tars of rows fetched again have any number."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(0, 0, free))
    urls = table(tmp_path, ["http://10.0.0.1/"] * 400)
    (tmp_path / "far").mkdir()
    for name, size in (("00000", 300), ("00001", 500), ("00000-r1", 10)):
        (tmp_path / "far" / f"{name}.tar").write_bytes(bytes(size))
    stops = pytest.raises(RunError, match=r"0\.0 GB more") if free < 100 else nullcontext()
    with stops:
        looked_at(SPEC, urls, tmp_path / "work", str(tmp_path / "far"), rows=5)


def test_the_disk_that_is_asked_is_that_of_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(shutil, "disk_usage", lambda path: asked.append(str(path)) or Usage(0, 0, 10**12))
    (tmp_path / "store").mkdir()
    looked_at(SPEC, table(tmp_path, []), tmp_path / "work" / "new", str(tmp_path / "store"))
    monkeypatch.setattr(Bucket, "sizes", lambda *unused: {})
    looked_at(SPEC, table(tmp_path, []), tmp_path / "work" / "new", "s3://bucket/prefix")
    assert asked == [str(tmp_path / "store"), str(tmp_path)]


@pytest.mark.parametrize(
    ("resize", "kilobytes"), [("none", 150), ("keep_ratio", 34), ("keep_ratio_largest", 15), ("border", 23)]
)
def test_an_image_is_expected_to_have_so_many_bytes(resize: str, kilobytes: int) -> None:
    spec = DownloadSpec.model_validate({"resize": resize})
    assert round(preflight.image_bytes(spec) / 1000) == kilobytes
