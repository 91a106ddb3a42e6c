"""A second run: what it makes anew, what it leaves alone, and what a stop at any moment leaves behind."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pytest

from rankclip import files, storage
from rankclip.data.captions.spec import CaptionSpec
from rankclip.data.sharding import packing, shards
from rankclip.data.sharding.spec import ShardSpec
from rankclip.data.tables.table_files import digest_of
from rankclip.errors import DataError, InputError
from tests.unit.data.crawled import Row, encoded, picture
from tests.unit.data.sharding.curated import curated, sharded

ROWS = [Row(encoded(picture((40 * number, 0, 0)), "PNG" if number == 3 else "JPEG")) for number in range(6)]
SPEC = ShardSpec(samples_per_shard=2)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "record.json"}


def left_in(work: Path) -> list[str]:
    return [path.relative_to(work).as_posix() for path in work.rglob("*") if not path.is_dir()]


def stamps(folder: Path) -> dict[str, tuple[int, int]]:
    """Inode and time of the last change of each tar."""
    found = {path.name: path.stat() for path in sorted(folder.glob("*.tar"))}
    return {name: (stat.st_ino, stat.st_mtime_ns) for name, stat in found.items()}


def made_anew(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The shards that are made from here on."""
    names: list[str] = []

    def noted(work: packing.ShardWork) -> packing.Packed:
        names.append(work.name)
        return packing.pack(work)

    monkeypatch.setattr(shards, "pack", noted)
    return names


def captions_at(path: Path, text: str) -> dict[str, CaptionSpec]:
    path.write_text(f"url,text\nhttp://shapes.invalid/1.jpg,{text}\n")
    values = {"path": path, "sha256": digest_of(path), "column": "url", "take": ("text",)}
    return {"mine": CaptionSpec.model_validate(values)}


def test_new_captions_touch_no_tar_and_read_no_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = curated(tmp_path / "data", ROWS)
    folder = sharded(data, tmp_path / "work", SPEC)
    before, plain = stamps(folder), contents(folder)
    shutil.rmtree(data / "crawl")
    names = made_anew(monkeypatch)
    (data / "source" / "captions.parquet").unlink()
    sharded(data, tmp_path / "work", SPEC, captions_at(tmp_path / "t.csv", "a red field"))
    assert files.read_table(folder / "index.parquet")["captions.mine"].to_pylist() == [
        [], ["a red field"], [], [], [], []
    ]  # fmt: skip
    assert (names, stamps(folder)) == ([], before)
    after = contents(folder)
    same = {name for name in plain if after[name] == plain[name]}
    assert plain.keys() - same == {"index.parquet", "card.json", "manifest.json"}


def test_the_record_names_no_path(tmp_path: Path) -> None:
    def record(name: str) -> dict[str, object]:
        data = curated(tmp_path / name, ROWS)
        captions = captions_at(data / "t.csv", "a red field")
        return files.read_json(sharded(data, tmp_path / "work", SPEC, captions) / "record.json")

    here, elsewhere = record("here"), record("elsewhere")
    assert here["config_digest"] == elsewhere["config_digest"]
    assert str(tmp_path) not in str(here)


def test_the_folder_of_work_stays_locked_to_the_end(tmp_path: Path) -> None:
    made = tmp_path / "work" / "shards"
    made.mkdir(parents=True)
    (made / ".lock").touch()
    lock = (made / ".lock").stat().st_ino
    sharded(curated(tmp_path / "data", ROWS), tmp_path / "work", SPEC)
    assert (made / ".lock").stat().st_ino == lock
    assert left_in(tmp_path / "work") == ["shards/.lock"]


def test_a_wrong_table_of_captions_is_told_before_any_shard_is_made(tmp_path: Path) -> None:
    captions = captions_at(tmp_path / "t.csv", "a red field")
    (tmp_path / "t.csv").write_text("url,text\n")
    with pytest.raises(InputError, match=r"captions\.mine: .*t\.csv has sha256"):
        sharded(curated(tmp_path / "data", ROWS), tmp_path / "work", SPEC, captions)
    assert not (tmp_path / "data" / "shards").exists()


def test_the_result_is_that_of_a_first_run(tmp_path: Path) -> None:
    captions = captions_at(tmp_path / "t.csv", "a red field")
    data = curated(tmp_path / "a" / "data", ROWS)
    sharded(data, tmp_path / "a" / "work", SPEC)
    again = sharded(data, tmp_path / "a" / "work", SPEC, captions)
    fresh = sharded(curated(tmp_path / "b" / "data", ROWS), tmp_path / "b" / "work", SPEC, captions)
    assert contents(again) == contents(fresh)


def test_only_shards_with_other_rows_are_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = curated(tmp_path / "data", ROWS)
    folder = sharded(data, tmp_path / "work", SPEC)
    before = stamps(folder)
    ledger = files.read_table(data / "ledger.parquet")
    texts = ledger["caption"].to_pylist()
    files.write_table(
        data / "ledger.parquet", ledger.set_column(3, "caption", pa.array([*texts[:3], "new", *texts[4:]]))
    )
    names = made_anew(monkeypatch)
    sharded(data, tmp_path / "work", SPEC)
    after = stamps(folder)
    assert names == ["00001"]
    assert [name for name in after if after[name] != before[name]] == ["00001.tar"]
    assert files.read_table(folder / "index.parquet")["captions.raw"].to_pylist()[3] == ["new"]


CHANGED = {"lost": b"", "cut off": b"short"}


@pytest.mark.parametrize("left", CHANGED.values(), ids=CHANGED)
def test_a_tar_that_is_not_whole_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: bytes
) -> None:
    data = curated(tmp_path / "data", ROWS)
    folder = sharded(data, tmp_path / "work", SPEC)
    whole = contents(folder)
    (folder / "00002.tar").unlink()
    if left:
        (folder / "00002.tar").write_bytes(left)
    names = made_anew(monkeypatch)
    sharded(data, tmp_path / "work", SPEC)
    assert (names, contents(folder)) == (["00002"], whole)


def test_another_quality_makes_all_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = curated(tmp_path / "data", ROWS)
    sharded(data, tmp_path / "work", SPEC)
    names = made_anew(monkeypatch)
    sharded(data, tmp_path / "work", ShardSpec(samples_per_shard=2, jpeg_quality=50))
    assert names == ["00000", "00001", "00002"]


def test_tars_of_a_retry_are_read_by_their_names(tmp_path: Path) -> None:
    rows = [*ROWS[:3], Row(ROWS[3].blob, shard="00000-r1"), *ROWS[4:]]
    plain = sharded(curated(tmp_path / "a" / "data", ROWS), tmp_path / "a" / "work", SPEC)
    retried = sharded(curated(tmp_path / "b" / "data", rows), tmp_path / "b" / "work", SPEC)
    assert contents(retried) == contents(plain)


def test_tars_go_to_the_store_and_are_left_there_by_new_captions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = curated(tmp_path / "here", ROWS)
    plain = contents(sharded(data, tmp_path / "work", SPEC))
    monkeypatch.setenv("RANKCLIP_STORE", str(tmp_path / "store"))
    moved = sharded(data, tmp_path / "work", SPEC)
    place = Path(storage.of_tars(moved).place)
    assert place.parent == tmp_path / "store" / "here" / "shards"
    tars = {name: blob for name, blob in plain.items() if name.endswith(".tar")}
    assert contents(place) == tars
    assert contents(moved).keys() == plain.keys() - tars.keys() | {"place.json"}
    for name in ("index.parquet", "manifest.json", "card.json"):
        assert contents(moved)[name] == plain[name]
    before = stamps(place)
    sharded(data, tmp_path / "work", SPEC, captions_at(tmp_path / "t.csv", "a field"))
    assert stamps(place) == before
    monkeypatch.delenv("RANKCLIP_STORE")
    assert contents(sharded(data, tmp_path / "work", SPEC)) == plain


def test_studies_of_one_name_leave_each_others_tars_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANKCLIP_STORE", str(tmp_path / "store"))
    mine = sharded(curated(tmp_path / "a" / "same", ROWS), tmp_path / "a" / "work", SPEC)
    before = stamps(Path(storage.of_tars(mine).place))
    other = sharded(curated(tmp_path / "b" / "same", ROWS[1:]), tmp_path / "b" / "work", SPEC)
    assert stamps(Path(storage.of_tars(mine).place)) == before
    for folder in (mine, other):
        _agree(folder)


def test_crawl_and_shards_may_be_in_a_bucket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bucket: str
) -> None:
    data = curated(tmp_path / "here", ROWS)
    plain = contents(sharded(data, tmp_path / "work", SPEC))
    crawl = storage.store(f"{bucket}/a/crawl")
    for path in (data / "crawl").glob("*.tar"):
        crawl.put(path, path.name)
        path.unlink()
    storage.write_place(data / "crawl", crawl)
    monkeypatch.setenv("RANKCLIP_STORE", f"{bucket}/b")
    monkeypatch.setattr("rankclip.data.processes.WORTH_SHARING", 0)
    monkeypatch.setenv("RANKCLIP_PROCESSES", "2")
    folder = sharded(data, tmp_path / "work", SPEC)
    place = storage.of_tars(folder)
    assert place.place.startswith(f"{bucket}/b/here/shards/")
    tars = {name: blob for name, blob in plain.items() if name.endswith(".tar")}
    assert {name: place.read(name, 0, size) for name, size in place.sizes(".tar").items()} == tars
    assert not list(folder.glob("*.tar"))
    assert left_in(tmp_path / "work") == ["shards/.lock"]
    names = made_anew(monkeypatch)
    sharded(data, tmp_path / "work", SPEC, captions_at(tmp_path / "t.csv", "a field"))
    assert names == []


def test_machines_of_a_cluster_need_not_see_the_work_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = curated(tmp_path / "here", ROWS)
    plain = contents(sharded(data, tmp_path / "work", SPEC))
    shutil.rmtree(data / "shards")
    monkeypatch.setattr("rankclip.launch.on_cluster", lambda: True)
    folders: list[Path | None] = []

    def elsewhere(work: packing.ShardWork) -> packing.Packed:
        folders.append(work.folder)
        return packing.pack(work)

    monkeypatch.setattr(shards, "pack", elsewhere)
    assert contents(sharded(data, tmp_path / "work", SPEC)) == plain
    assert folders == [None, None, None]


def test_tars_that_another_machine_put_where_nobody_sees_them_are_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = curated(tmp_path / "here", ROWS)

    def lost(work: packing.ShardWork) -> packing.Packed:
        done = packing.pack(work)
        work.target.delete(f"{work.name}.tar")
        return done

    monkeypatch.setattr(shards, "pack", lost)
    with pytest.raises(DataError, match=r"00000\.tar is not there after it was made; give RANKCLIP_STORE"):
        sharded(data, tmp_path / "work", SPEC)
    assert not (data / "shards" / "manifest.json").exists()


class Stopped(BaseException):
    """The process ends here."""


@contextmanager
def stopping_at(call: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Ends the run at a given change of a file or folder; counts them."""
    calls = [0]

    def counted(function):  # type: ignore[no-untyped-def]
        def wrapper(*args, **options):  # type: ignore[no-untyped-def]
            calls[0] += 1
            if calls[0] == call:
                raise Stopped
            return function(*args, **options)

        return wrapper

    with monkeypatch.context() as patch:
        patch.setattr(files, "replace", counted(files.replace))
        patch.setattr(Path, "unlink", counted(Path.unlink))
        patch.setattr(shards.shutil, "rmtree", counted(shutil.rmtree))
        yield calls


@pytest.mark.parametrize("change", ["captions", "quality", "rows a shard"])
def test_a_stop_anywhere_in_a_second_run_changes_nothing_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    captions = captions_at(tmp_path / "t.csv", "a red field") if change == "captions" else {}
    quality, size = (50 if change == "quality" else 95), (3 if change == "rows a shard" else 2)
    spec = ShardSpec(samples_per_shard=size, jpeg_quality=quality)
    fresh = contents(sharded(curated(tmp_path / "fresh", ROWS), tmp_path / "work", spec, captions))
    first = curated(tmp_path / "first" / "fresh", ROWS)
    sharded(first, tmp_path / "first" / "work", SPEC)
    for call in range(1, 200, 5):
        place = tmp_path / str(call)
        shutil.copytree(tmp_path / "first", place)
        try:
            with stopping_at(call, monkeypatch) as calls:
                sharded(place / "fresh", place / "work", spec, captions)
        except Stopped:
            folder = place / "fresh" / "shards"
            if (folder / "manifest.json").exists():
                _agree(folder)
        else:
            assert calls[0] < call
            break
        again = sharded(place / "fresh", place / "work", spec, captions)
        assert contents(again) == fresh
        assert left_in(place / "work") == ["shards/.lock"]
        shutil.rmtree(place)
    else:
        pytest.fail("never came to its end")


def _agree(folder: Path) -> None:
    """What a manifest describes is what is there."""
    manifest = files.read_json(folder / "manifest.json")
    assert manifest["index_sha256"] == files.sha256(folder / "index.parquet")
    for name, tar in manifest["shards"].items():
        assert files.sha256(Path(storage.of_tars(folder).place, name)) == tar["sha256"]
