"""A folder and a bucket of a real S3 server behave alike."""

from __future__ import annotations

import io
import os
import pickle
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rankclip import storage
from rankclip.errors import DataError, InputError
from rankclip.storage import Store

SIZES = {"empty.tar": 0, "small.tar": 10, "many parts.tar": 11_000_001}


@pytest.fixture(params=["folder", "bucket"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "folder":
        return str(tmp_path / "place")
    return f"{request.getfixturevalue('bucket')}/a/prefix"


@pytest.fixture
def store(place: str) -> Store:
    return storage.store(place)


def put(store: Store, name: str, blob: bytes, scratch: Path) -> None:
    source = scratch / "source"
    source.write_bytes(blob)
    store.put(source, name)
    source.unlink()


@pytest.mark.parametrize("name", SIZES)
def test_what_is_put_is_what_is_read(store: Store, tmp_path: Path, name: str) -> None:
    blob = os.urandom(SIZES[name])
    put(store, name, blob, tmp_path)
    assert store.size(name) == len(blob)
    store.fetch(name, tmp_path / "fetched")
    assert (tmp_path / "fetched").read_bytes() == blob
    for offset, size in [(0, 4), (7, 2), (8, 10), (10, 1), (len(blob), 5), (len(blob) + 9, 5)]:
        assert store.read(name, offset, size) == blob[offset : offset + size]
    with store.open(name) as file:
        assert file.read() == blob
        assert file.seek(max(len(blob) - 3, 0)) == max(len(blob) - 3, 0)
        assert file.read(2) == blob[-3:-1]


def test_a_file_put_again_replaces_the_old(store: Store, tmp_path: Path) -> None:
    put(store, "a.tar", b"old and longer", tmp_path)
    put(store, "a.tar", b"new", tmp_path)
    assert (store.size("a.tar"), store.read("a.tar", 0, 99)) == (3, b"new")


@pytest.mark.parametrize(
    "name",
    ["a b+%41&?#=;:@.tar", "grün/日本/ñ.tar", "'quoted\".tar", "x" * 200 + ".tar", "a..b/..c.tar", "~"],
)
def test_odd_names_are_names(store: Store, tmp_path: Path, name: str) -> None:
    put(store, name, b"odd", tmp_path)
    assert store.read(name, 0, 9) == b"odd"
    assert store.size(name) == 3
    listed = store.sizes(name[-1])
    assert listed == ({} if "/." in name else {name: 3})
    store.delete(name)
    assert store.size(name) is None


@pytest.mark.parametrize("name", ["", "/", "/etc/passwd", "../a.tar", "a/../../b.tar", "a//b.tar", "a/", "."])
def test_a_name_that_leads_out_of_the_place_is_refused(store: Store, name: str, tmp_path: Path) -> None:
    for use in (store.size, store.open, store.delete, store.local):
        with pytest.raises(InputError, match=r"names no file below .*; use a relative name"):
            use(name)
    with pytest.raises(InputError):
        store.fetch(name, tmp_path / "x")


def test_files_are_listed_by_suffix_in_order_at_every_depth(store: Store, tmp_path: Path) -> None:
    for name in ("b.tar", "a/c.tar", "a/b/d.tar", "a.tar", "a/note.json", ".hidden.tar", ".git/e.tar"):
        put(store, name, b"x" * len(name), tmp_path)
    listed = store.sizes(".tar")
    assert list(listed.items()) == [("a.tar", 5), ("a/b/d.tar", 9), ("a/c.tar", 7), ("b.tar", 5)]
    assert list(store.sizes(".json")) == ["a/note.json"]
    assert list(store.sizes("")) == sorted([*listed, "a/note.json"])


def test_when_a_file_was_written_is_told(store: Store, tmp_path: Path) -> None:
    put(store, "a.tar", b"old", tmp_path)
    first = store.stats("")["a.tar"]
    assert first.bytes == 3
    assert abs(first.changed / 1e9 - time.time()) < 600
    deadline = time.monotonic() + 30
    while store.stats("")["a.tar"].changed == first.changed and time.monotonic() < deadline:
        time.sleep(0.2)
        put(store, "a.tar", b"new", tmp_path)
    assert store.stats("")["a.tar"].changed > first.changed


def test_neighbours_of_a_place_are_not_its_files(place: str, tmp_path: Path) -> None:
    put(storage.store(f"{place}-2"), "a.tar", b"", tmp_path)
    assert storage.store(place).sizes("") == {}


def test_a_place_where_nothing_is_yet_is_empty(store: Store) -> None:
    assert store.sizes("") == {}
    assert store.size("a.tar") is None


def test_a_missing_file_is_named(store: Store, tmp_path: Path) -> None:
    for use in (
        lambda: store.open("a.tar"),
        lambda: store.read("a.tar", 0, 1),
        lambda: store.fetch("a.tar", tmp_path / "x"),
    ):
        with pytest.raises(DataError, match=r"a\.tar is missing; put it there") as told:
            use()
        assert store.place in str(told.value)
    assert not (tmp_path / "x").exists()


def test_deleting_twice_is_deleting_once(store: Store, tmp_path: Path) -> None:
    put(store, "a.tar", b"x", tmp_path)
    store.delete("a.tar")
    store.delete("a.tar")
    assert store.sizes("") == {}


def test_a_store_travels_to_another_process(store: Store, tmp_path: Path) -> None:
    put(store, "a.tar", b"x", tmp_path)
    assert pickle.loads(pickle.dumps(store)) == store
    assert pickle.loads(pickle.dumps(store)).size("a.tar") == 1


def test_a_file_is_at_hand_for_the_time_of_a_block(store: Store, tmp_path: Path) -> None:
    put(store, "deep/a.tar", b"here", tmp_path)
    scratch = tmp_path / "scratch"
    with (
        storage.at_hand(store, "deep/a.tar", scratch) as path,
        storage.at_hand(store, "deep/a.tar", scratch) as again,
    ):
        assert path.read_bytes() == again.read_bytes() == b"here"
        assert (path == again) == (store.local("deep/a.tar") == path)
    assert not scratch.exists() or not list(scratch.iterdir())
    assert store.size("deep/a.tar") == 4


def test_what_a_killed_process_fetched_is_swept(store: Store, tmp_path: Path) -> None:
    put(store, "a.tar", b"here", tmp_path)
    left = tmp_path / "scratch" / f"fetched-{2**22 + 1}-x"
    left.mkdir(parents=True)
    with storage.at_hand(store, "a.tar", tmp_path / "scratch"):
        assert left.exists() == (store.local("a.tar") is not None)  # nothing of a folder is ever fetched


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(reads=st.lists(st.tuples(st.integers(0, 70_000), st.integers(-1, 70_000)), max_size=8))
def test_an_open_file_reads_as_one_of_memory(
    store: Store, tmp_path: Path, reads: list[tuple[int, int]]
) -> None:
    blob = bytes(range(256)) * 250
    if store.size("a.tar") is None:
        put(store, "a.tar", blob, tmp_path)
    twin = io.BytesIO(blob)
    with store.open("a.tar") as file:
        for offset, size in reads:
            assert file.seek(offset) == twin.seek(offset)
            assert file.read(size) == twin.read(size)
            assert file.tell() == twin.tell()
