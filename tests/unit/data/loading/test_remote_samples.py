"""Samples of tars in a bucket: equal bytes with and without a cache, which never holds more than it may."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest

from rankclip import storage
from rankclip.data.loading.cache import BOOKS
from rankclip.data.loading.fetching import Fetching
from rankclip.data.loading.samples import Samples
from rankclip.errors import DataError
from rankclip.storage import Store
from tests.unit.data import sharded

N = 12
BLOBS = sharded.pictures(N)


@pytest.fixture
def remote(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Shards of three tars, all in the bucket."""
    monkeypatch.setenv("RANKCLIP_CACHE", str(tmp_path / "cache"))
    folder, store = tmp_path / "data" / "shards", storage.store(f"{bucket}/some/shards")
    sharded.write(folder, BLOBS, per_shard=4, place=tmp_path / "tars")
    for tar in (tmp_path / "tars").iterdir():
        store.put(tar, tar.name)
        tar.unlink()
    storage.write_place(folder, store)
    return folder


def fetched(samples: Samples) -> list[str]:
    """Waits until nothing more is fetched; names of the tars that the cache then holds."""
    if samples._fetching is not None:
        samples._fetching.wait()
    folder = Path(os.environ["RANKCLIP_CACHE"])
    return sorted(path.name for path in folder.glob("*/*.tar"))


def in_cache() -> int:
    folder = Path(os.environ["RANKCLIP_CACHE"])
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def bound(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setenv("RANKCLIP_CACHE_GB", str(size / 1e9))


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the tars of which single pieces were asked for."""
    asked: list[str] = []
    kind = type(storage.store("s3://some/place"))
    read = kind.read

    def counting(self: Store, name: str, offset: int, size: int) -> bytes:
        asked.append(name)
        return read(self, name, offset, size)

    monkeypatch.setattr(kind, "read", counting)
    return asked


@pytest.mark.parametrize(("tars", "expected"), [(0, []), (2, ["000000.tar", "000001.tar"]), (3, None)])
def test_with_room_for_some_tars_bytes_are_the_same_and_no_more_is_held(
    remote: Path, tars: int, expected: list[str] | None, monkeypatch: pytest.MonkeyPatch, reads: list[str]
) -> None:
    tar_bytes = 20480
    limit = BOOKS + tars * tar_bytes
    bound(monkeypatch, limit if tars else 0)
    with Samples(remote) as samples:
        assert [samples.read(i) for i in range(N)] == BLOBS
        held = fetched(samples)
        assert held == (expected if expected is not None else [f"00000{k}.tar" for k in range(3)])
        assert in_cache() <= limit
        reads.clear()
        assert list(samples.read_all(range(N))) == BLOBS
        assert sorted(set(reads)) == [f"0000{k}.tar" for k in range(tars, 3)]
    with Samples(remote) as samples:  # another run fetches nothing again
        monkeypatch.setattr(Fetching, "_fetch", None)
        assert fetched(samples) == held
        assert pickle.loads(pickle.dumps(samples)).read(0) == BLOBS[0]


@pytest.mark.parametrize("damage", ["cut", "overwritten", "half written"])
def test_a_damaged_file_of_the_cache_is_not_read_and_fetched_again(
    remote: Path, damage: str, reads: list[str]
) -> None:
    with Samples(remote) as samples:
        fetched(samples)
        (path,) = Path(os.environ["RANKCLIP_CACHE"]).glob("*/000001.tar")
        whole = path.read_bytes()
    if damage == "cut":
        os.truncate(path, 1000)
    else:
        path.write_bytes(whole[: len(whole) // 2] + bytes(len(whole) // 2 if damage == "overwritten" else 0))
    with Samples(remote) as samples:
        assert [samples.read(i) for i in range(N)] == BLOBS
        fetched(samples)
        assert path.read_bytes() == whole
        reads.clear()
        assert samples.read(5) == BLOBS[5]
        assert reads == []


def test_two_at_once_fetch_each_tar_once(remote: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    kind = type(storage.of_tars(remote))
    opens = kind.open
    monkeypatch.setattr(kind, "open", lambda self, name: opened.append(name) or opens(self, name))
    with Samples(remote) as one, Samples(remote) as other:
        for samples in (one, other):
            fetched(samples)
        assert len(fetched(one)) == 3
    assert sorted(opened) == ["00000.tar", "00001.tar", "00002.tar"]


def test_a_tar_that_is_not_the_one_of_the_manifest_is_told(remote: Path, tmp_path: Path) -> None:
    store = storage.of_tars(remote)
    store.fetch("00001.tar", tmp_path / "tar")
    changed = bytearray((tmp_path / "tar").read_bytes())
    changed[700] ^= 1
    (tmp_path / "other").write_bytes(changed)
    store.put(tmp_path / "other", "00001.tar")
    with Samples(remote) as samples:
        assert fetched(samples) == ["000000.tar"]
        with pytest.raises(DataError, match=r"/some/shards/00001\.tar is not what manifest\.json describes"):
            samples.check()


def test_a_tar_that_is_missing_from_the_bucket_is_named(remote: Path) -> None:
    storage.of_tars(remote).delete("00002.tar")
    with pytest.raises(DataError, match=r"s3://.*/some/shards/00002\.tar is missing; .*dvc repro"):
        Samples(remote)


def test_closing_ends_fetching_and_leaves_no_half_tar(remote: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rankclip.data.loading.fetching.BLOCK", 512)
    samples = Samples(remote)
    samples.close()
    left = [path.name for path in Path(os.environ["RANKCLIP_CACHE"]).glob("*/*") if path.suffix == ".tmp"]
    assert left == []
    assert samples.read(11) == BLOBS[11]


def test_a_full_disk_ends_fetching_and_reading_goes_on(
    remote: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(path: Path) -> None:
        raise OSError(28, os.strerror(28), str(path))

    monkeypatch.setattr("rankclip.data.loading.fetching.seal", full)
    with Samples(remote) as samples:
        assert fetched(samples) == []
        assert [samples.read(i) for i in range(N)] == BLOBS
    assert "no more shards are fetched ahead" in capsys.readouterr().err
