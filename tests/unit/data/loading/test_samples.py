from __future__ import annotations

import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rankclip import files, storage
from rankclip.data.loading.samples import Samples
from rankclip.errors import DataError, InputError
from tests.unit.data import sharded

N = 7
BLOBS = sharded.pictures(N)
SLOTS = {
    "raw": [f"caption {k}" for k in range(N)],
    "detail": [[]] + [[f"detail of {k}", "more"] for k in range(1, N)],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return sharded.write(tmp_path / "data" / "shards", BLOBS, SLOTS, per_shard=2)


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_every_sample_is_read_whole_in_any_order(folder: Path) -> None:
    with Samples(folder) as samples:
        assert len(samples) == N == len(samples.keys)
        for i in [3, 0, 6, 6, 1, 5, 2, 4]:
            assert samples.read(i) == BLOBS[i]
        assert list(samples.read_all([3, 0, 6])) == [BLOBS[3], BLOBS[0], BLOBS[6]]
        assert [samples.shard(i) for i in (0, 1, 2, 6)] == [
            "00000.tar",
            "00000.tar",
            "00001.tar",
            "00003.tar",
        ]


def test_threads_read_the_same_bytes_even_when_shards_are_closed_under_them(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rankclip.data.loading.tar_bytes.MAX_OPEN", 1)
    order = list(range(N)) * 50
    with Samples(folder) as samples, ThreadPoolExecutor(4) as pool:
        one = [samples.read(i) for i in order]
        assert list(pool.map(samples.read, order)) == one


def test_closing_gives_every_file_back(folder: Path) -> None:
    before = open_files()
    with Samples(folder) as samples:
        for i in range(N):
            samples.read(i)
        assert open_files() == before + 4
    assert open_files() == before


def test_no_more_shards_are_open_than_allowed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rankclip.data.loading.tar_bytes.MAX_OPEN", 2)
    before = open_files()
    with Samples(folder) as samples:
        for i in range(N):
            samples.read(i)
            assert open_files() <= before + 2


def test_samples_travel_to_another_process(folder: Path) -> None:
    with Samples(folder) as samples:
        samples.read(0)
        with pickle.loads(pickle.dumps(samples)) as other:
            assert other.read(5) == samples.read(5)
            assert other.captions("detail")[5] == samples.captions("detail")[5]


def test_tars_are_found_where_the_place_says_whatever_lies_beside_them(tmp_path: Path) -> None:
    elsewhere = tmp_path / "others tars"
    folder = sharded.write(tmp_path / "shards", BLOBS, place=elsewhere)
    (elsewhere / "00009.tar").write_bytes(b"not ours")
    storage.write_place(folder, storage.store(elsewhere))
    before = sorted(elsewhere.iterdir())
    with Samples(folder) as samples:
        assert [samples.read(i) for i in range(N)] == BLOBS
    assert sorted(elsewhere.iterdir()) == before


def test_keys_and_captions_come_one_by_one_or_as_a_part(folder: Path) -> None:
    samples = Samples(folder)
    assert samples.keys[2] == "000000002"
    assert samples.keys[-1] == "000000006"
    assert samples.keys[1:3] == ["000000001", "000000002"]
    assert list(samples.keys) == [f"{k:09d}" for k in range(N)]
    with pytest.raises(IndexError):
        samples.keys[N]
    assert samples.slots == ["raw", "detail"]
    assert samples.captions("raw")[3] == ["caption 3"]
    assert samples.captions("detail")[:2] == [[], ["detail of 1", "more"]]
    assert (samples.captions("raw").missing, samples.captions("detail").missing) == (0, 1)
    with pytest.raises(InputError, match=r"'stlye'.*raw, detail"):
        samples.captions("stlye")


def test_the_digest_changes_with_the_data(folder: Path, tmp_path: Path) -> None:
    before = Samples(folder).digest
    assert Samples(folder).digest == before
    other = sharded.write(tmp_path / "other", sharded.pictures(N, seed=1), SLOTS, per_shard=2)
    assert Samples(other).digest != before


def test_an_unreadable_index_is_named_with_the_remedy(folder: Path) -> None:
    index = folder / "index.parquet"
    index.write_bytes(index.read_bytes()[:100])
    with pytest.raises(DataError, match=r"index\.parquet cannot be read.*dvc repro -f -s shard"):
        Samples(folder)


def test_an_index_of_other_shards_is_refused(folder: Path) -> None:
    index = folder / "index.parquet"
    files.write_table(index, files.read_table(index).slice(1))
    with pytest.raises(DataError, match=r"index\.parquet is not the one that manifest\.json describes"):
        Samples(folder)


@pytest.mark.parametrize("name", ["index.parquet", "manifest.json", "00002.tar"])
def test_a_missing_file_is_named_with_the_remedy(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(DataError, match=rf"{name} is missing; .*dvc repro -f -s shard"):
        Samples(folder)


def test_a_shard_of_another_size_is_named(folder: Path) -> None:
    os.truncate(folder / "00001.tar", 2048)
    with pytest.raises(DataError, match=r"00001\.tar has 2048 bytes, manifest\.json says \d+"):
        Samples(folder)


def test_a_shard_that_shrinks_while_open_is_named(folder: Path) -> None:
    with Samples(folder) as samples:
        os.truncate(folder / "00001.tar", 600)
        with pytest.raises(DataError, match=r"00001\.tar ends within sample 000000002"):
            samples.read(2)


def test_a_shard_that_vanishes_is_named(folder: Path) -> None:
    with Samples(folder) as samples:
        (folder / "00001.tar").unlink()
        with pytest.raises(DataError, match=r"00001\.tar cannot be read"):
            samples.read(2)
