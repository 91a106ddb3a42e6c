"""The index in memory and as a mapped file says the same, however large it is."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from rankclip import files
from rankclip.data.loading import index
from rankclip.data.loading.index import Index, convert
from rankclip.data.loading.samples import Samples
from rankclip.errors import DataError
from tests.unit.data import sharded

SHARDS = ["b.tar", "a/c.tar"]


def table(n: int) -> pa.Table:
    """An index of `n` samples, of which every third has no caption `other` and every fifth none known."""
    numbers = np.arange(n)
    return pa.table({
        "key": [f"{k:09d}" for k in numbers],
        "url": ["unused"] * n,
        "shard": [SHARDS[k % 2] for k in numbers],
        "offset": numbers * 1000,
        "size": (numbers % 7).astype(np.int32),
        "captions.raw": [[f"caption {k}"] for k in numbers],
        "captions.other": pa.array(
            [None if k % 5 == 0 else [] if k % 3 == 0 else ["one", f"two {k}"] for k in numbers],
            pa.large_list(pa.string()),
        ),
    })  # fmt: skip


def own_bytes() -> int:
    """Memory of this process that is not a file's, which the system takes back when it likes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("RssAnon"))


@pytest.fixture(params=["memory", "mapped"])
def made(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Index:
    monkeypatch.setattr(index, "CHUNK", 64)
    path = tmp_path / "index.parquet"
    parquet.write_table(table(300), path, row_group_size=100)
    if request.param == "memory":
        return Index(path, SHARDS)
    assert convert(path, SHARDS, tmp_path / "index.arrow", limit=1 << 20)
    return Index(path, SHARDS, tmp_path / "index.arrow")


def test_an_index_tells_of_every_sample_across_row_groups_and_batches(made: Index) -> None:
    for one in (made, pickle.loads(pickle.dumps(made))):
        assert len(one) == len(one.keys) == 300
        assert one.slots == ["raw", "other"]
        for i in (0, 1, 63, 64, 100, 127, 128, 299):
            assert one.keys[i] == f"{i:09d}"
            assert one.place(i) == (i % 2, 1000 * i, i % 7)
            assert one.captions("raw")[i] == [f"caption {i}"]
            assert one.captions("other")[i] == ([] if i % 5 == 0 or i % 3 == 0 else ["one", f"two {i}"])
        assert list(one.keys) == [f"{k:09d}" for k in range(300)]
        assert one.captions("other").missing == sum(k % 5 == 0 or k % 3 == 0 for k in range(300))


def test_an_index_without_samples_has_none(tmp_path: Path) -> None:
    files.write_table(tmp_path / "index.parquet", table(2).slice(2))
    empty = Index(tmp_path / "index.parquet", SHARDS)
    assert (len(empty), list(empty.keys), empty.slots) == (0, [], ["raw", "other"])


def test_a_shard_that_the_manifest_lacks_is_named(tmp_path: Path) -> None:
    files.write_table(tmp_path / "index.parquet", table(3))
    with pytest.raises(
        DataError, match=r"index\.parquet names the shard a/c\.tar, which manifest\.json does not"
    ):
        Index(tmp_path / "index.parquet", SHARDS[:1])


def test_a_mapped_file_that_would_be_too_large_is_not_made(tmp_path: Path) -> None:
    files.write_table(tmp_path / "index.parquet", table(300))
    assert not convert(tmp_path / "index.parquet", SHARDS, tmp_path / "index.arrow", limit=1000)
    assert [path.name for path in tmp_path.iterdir()] == ["index.parquet"]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RANKCLIP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(index, "SMALL_BYTES", 0)
    return tmp_path / "cache"


def test_a_large_index_is_mapped_once_and_made_again_when_damaged(tmp_path: Path, cache: Path) -> None:
    blobs = sharded.pictures(6)
    folder = sharded.write(tmp_path / "shards", blobs)
    with Samples(folder) as samples:
        (mapped,) = cache.glob("*/index.arrow")
        number = mapped.stat().st_ino
        with Samples(folder) as second:
            assert (samples.keys[5], second.captions("raw")[4]) == ("000000005", ["caption 4"])
        assert mapped.stat().st_ino == number
    mapped.write_bytes(mapped.read_bytes()[:50])
    with Samples(folder) as samples:
        assert list(samples.keys) == [f"{k:09d}" for k in range(6)]
        assert [samples.read(i) for i in range(6)] == blobs


def test_without_a_cache_a_large_index_lies_in_memory(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANKCLIP_CACHE_GB", "0")
    folder = sharded.write(tmp_path / "shards", sharded.pictures(3))
    assert list(Samples(folder).keys) == [f"{k:09d}" for k in range(3)]
    assert not cache.exists()


def test_opening_and_asking_a_mapped_index_takes_little_memory(tmp_path: Path, cache: Path) -> None:
    n, step = 400_000, 100_000
    path, schema = tmp_path / "shards" / "index.parquet", table(1).schema
    path.parent.mkdir()
    with parquet.ParquetWriter(path, schema) as sink:
        wide = {name: values * step for name, values in table(1).to_pydict().items()}
        wide["captions.raw"] = [["a caption of some length, as they are" * 2]] * step
        for _ in range(n // step):
            sink.write_table(pa.table(wide, schema))
    for name in SHARDS:
        (path.parent / name).parent.mkdir(exist_ok=True)
        (path.parent / name).write_bytes(b"")
    sharded.describe(path.parent, {name: {"bytes": 0, "samples": 0} for name in SHARDS})
    Samples(path.parent).close()
    (mapped,) = cache.glob("*/index.arrow")
    before = own_bytes()
    with Samples(path.parent) as samples:
        captions = samples.captions("raw")
        assert all(captions[i] and samples.keys[i] for i in range(0, n, 100))
        grown = own_bytes() - before
    assert mapped.stat().st_size > 40e6
    assert grown < 0.25 * mapped.stat().st_size
