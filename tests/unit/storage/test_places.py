from __future__ import annotations

import os
from pathlib import Path

import pytest

from rankclip import files, storage
from rankclip.errors import DataError, InputError


@pytest.mark.parametrize(
    "place", ["gs://bucket/x", "https://host/x", "s3://", "s3:///x", "s3://a/../b", "s3://a//b"]
)
def test_another_kind_of_place_is_refused(place: str) -> None:
    with pytest.raises(InputError, match=r"is no place for tars; give a folder or s3://BUCKET/PREFIX"):
        storage.store(place)


def test_a_place_is_absolute_and_has_one_spelling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert storage.store("a").place == storage.store(Path("a/")).place == str(tmp_path / "a")
    assert storage.store("~/a").place == str(tmp_path / "a")
    assert storage.store("s3://b/p/q/").place == "s3://b/p/q"
    assert storage.store("s3://b").place == "s3://b"


def test_without_a_store_tars_lie_beside_their_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RANKCLIP_STORE", raising=False)
    store = storage.for_tars(tmp_path)
    assert store.place == str(tmp_path)
    storage.write_place(tmp_path, store)
    assert not list(tmp_path.iterdir())
    assert storage.of_tars(tmp_path) == store


@pytest.mark.parametrize("below", ["s3://bucket/studies/", "folder"])
def test_a_store_keeps_the_tars_of_studies_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, below: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RANKCLIP_STORE", below)
    store = storage.for_tars(Path("data/mine/shards"))
    assert store.place.endswith(below.rstrip("/") + "/mine/shards")
    folder = tmp_path / "data" / "mine" / "shards"
    storage.write_place(folder, store)
    assert storage.of_tars(folder) == store
    monkeypatch.delenv("RANKCLIP_STORE")
    storage.write_place(folder, storage.for_tars(folder))
    assert storage.of_tars(folder).place == str(folder)


def test_a_damaged_note_of_the_place_is_named(tmp_path: Path) -> None:
    for text in ("{", "{}", "[]", '{"place": 3}'):
        (tmp_path / "place.json").write_text(text)
        with pytest.raises(DataError, match=r"place\.json"):
            storage.of_tars(tmp_path)


def test_links_are_followed_and_loops_end(tmp_path: Path) -> None:
    place, far = tmp_path / "place", tmp_path / "far"
    place.mkdir()
    far.mkdir()
    (far / "a.tar").write_bytes(b"1")
    (place / "far").symlink_to(far)
    (place / "loop").symlink_to(place)
    (place / "b.tar").symlink_to(far / "a.tar")
    assert storage.store(place).sizes(".tar") == {"b.tar": 1, "far/a.tar": 1}


def test_a_link_to_nothing_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.tar").symlink_to(tmp_path / "gone")
    with pytest.raises(DataError, match=r"a\.tar is missing"):
        storage.store(tmp_path).sizes(".tar")


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()  # a folder in a file's place, since root may read any file
    with pytest.raises(DataError, match=r"/a cannot be used \(Is a directory\)"):
        storage.store(tmp_path).open("a")
    (tmp_path / "b").write_bytes(b"")
    with pytest.raises(DataError, match=r"/b/c cannot be used \(Not a directory\)"):
        storage.store(tmp_path).open("b/c")
    assert storage.store(tmp_path).size("b/c") is None


def test_a_put_into_a_folder_is_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "source"
    files.write_text(source, "whole")
    place = tmp_path / "place"

    def unlinkable(*unused: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    def full(source: Path, target: Path) -> None:
        Path(target).write_text("who")
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "link", unlinkable)
    storage.store(place).put(source, "copied")
    assert (place / "copied").read_text() == "whole"
    monkeypatch.setattr("shutil.copyfile", full)
    with pytest.raises(OSError, match="No space left"):
        storage.store(place).put(source, "cut")
    assert storage.store(place).sizes("") == {"copied": 5}
