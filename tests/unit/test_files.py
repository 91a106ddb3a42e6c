from __future__ import annotations

import errno
import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from safetensors.numpy import save_file

from rankclip import files
from rankclip.errors import DataError, disk_full
from rankclip.spec import digest

TABLE = pa.table({"row": pa.array([0, 1], pa.int64()), "captions": pa.array([["a", "b"], []])})


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    files.write_text(path, "old")
    with pytest.raises(TypeError), files.replace(path) as temporary:
        temporary.write_bytes(b"new") and temporary.write_bytes(None)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def gone() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def test_what_killed_writers_left_is_deleted_and_what_others_write_is_not(tmp_path: Path) -> None:
    path, living = tmp_path / "a[1].txt", os.getppid()
    here, elsewhere = os.uname().nodename, "another-machine"
    names = [f"a[1].txt.{here}.{living}", f"b.{here}.{gone()}", f"a[1].txt.{here}.x"]
    kept = [tmp_path / f".{name}.tmp" for name in (*names, f"a[1].txt.{elsewhere}.{gone()}")]
    left = [tmp_path / f".a[1].txt.{here}.{number}.tmp" for number in (gone(), os.getpid())]
    left.append(tmp_path / f".a[1].txt.{here}.{gone()}.tmp.new")
    for file in kept + left:
        file.write_text("half")
    files.write_text(path, "new")
    assert sorted(tmp_path.iterdir()) == sorted([path, *kept])


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077])
def test_what_a_library_writes_for_its_user_alone_may_be_read_as_any_new_file(
    umask: int, tmp_path: Path
) -> None:
    path, before = tmp_path / "weights.safetensors", os.umask(umask)
    try:
        with files.replace(path) as temporary:
            save_file({"a": np.zeros(1)}, temporary)
            assert mode(temporary) == 0o600
    finally:
        os.umask(before)
    assert mode(path) == 0o666 & ~umask
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_leaves_the_permissions_of_what_it_links(tmp_path: Path) -> None:
    private = tmp_path / "private"
    private.touch(0o600)
    files.link_or_copy(private, tmp_path / "link")
    assert mode(private) == 0o600


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_a_left_over_link_is_neither_in_the_way_nor_written_through(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_text("image")
    left = (
        tmp_path / f".target.{os.uname().nodename}.{os.getpid()}.tmp"
    )  # of a killed process with our number
    left.hardlink_to(source)
    files.link_or_copy(source, target)
    assert target.stat().st_ino == source.stat().st_ino
    left.hardlink_to(source)
    files.write_text(target, "other")
    assert (source.read_text(), target.read_text()) == ("image", "other")


def test_a_full_disk_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with pytest.raises(OSError) as plain, files.replace(path) as temporary:
        temporary.symlink_to("/dev/full") or temporary.write_text("text")
    with pytest.raises(OSError) as foreign, files.replace(path):
        raise ValueError("I/O error: No space left on device (os error 28)")
    for raised in (plain.value, foreign.value):
        assert (raised.errno, raised.filename) == (errno.ENOSPC, str(path))
        assert f"{path} could not be written; free some space" in disk_full(raised)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("error", [OSError(errno.EACCES, "Permission denied"), ValueError("28")])
def test_no_other_error_is_taken_for_a_full_disk(error: Exception) -> None:
    assert disk_full(error) == ""


def test_a_write_makes_its_folder_and_leaves_nothing_beside(tmp_path: Path) -> None:
    files.write_json(tmp_path / "a" / "b.json", {"z": 1, "a": "ü"})
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b.json"]
    assert files.read_json(tmp_path / "a" / "b.json") == {"z": 1, "a": "ü"}


def test_json_with_a_number_that_is_not_finite_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        files.write_json(tmp_path / "a.json", {"loss": float("nan")})
    assert not list(tmp_path.iterdir())


def test_equal_tables_give_equal_bytes_whatever_their_metadata(tmp_path: Path) -> None:
    files.write_table(tmp_path / "a.parquet", TABLE)
    files.write_table(tmp_path / "b.parquet", TABLE.replace_schema_metadata({"made": "elsewhere"}))
    assert files.sha256(tmp_path / "a.parquet") == files.sha256(tmp_path / "b.parquet")
    assert files.read_table(tmp_path / "a.parquet").equals(TABLE)


def test_a_table_is_read_by_column_also_when_a_name_has_a_dot(tmp_path: Path) -> None:
    files.write_table(tmp_path / "a.parquet", TABLE.rename_columns(["row", "captions.raw"]))
    assert files.read_table(tmp_path / "a.parquet", ["captions.raw"]).column_names == ["captions.raw"]
    assert files.column_names(tmp_path / "a.parquet") == ["row", "captions.raw"]


def test_a_table_is_also_read_in_pieces_whatever_its_row_groups(tmp_path: Path) -> None:
    files.write_table(tmp_path / "a.parquet", pa.table({"row": range(10), "b": ["x"] * 10}))
    pieces = list(files.read_batches(tmp_path / "a.parquet", ["row"], rows=4))
    assert [piece["row"].to_pylist() for piece in pieces] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    with pytest.raises(DataError, match="no column c"):
        next(files.read_batches(tmp_path / "a.parquet", ["c"]))


@pytest.mark.parametrize("name", ["missing", "text", "cut"])
def test_a_table_that_cannot_be_read_is_named_with_the_remedy(tmp_path: Path, name: str) -> None:
    files.write_table(tmp_path / "whole.parquet", TABLE)
    (tmp_path / "text.parquet").write_text("not parquet")
    (tmp_path / "cut.parquet").write_bytes((tmp_path / "whole.parquet").read_bytes()[:-20])
    with pytest.raises(DataError, match=rf"{name}\.parquet .*; do this$"):
        files.read_table(tmp_path / f"{name}.parquet", remedy="do this")


def test_a_lacking_column_is_named(tmp_path: Path) -> None:
    files.write_table(tmp_path / "a.parquet", TABLE)
    with pytest.raises(DataError, match="no column width"):
        files.read_table(tmp_path / "a.parquet", ["row", "width"])


@pytest.mark.parametrize("name", ["missing.json", "broken.json"])
def test_json_that_cannot_be_read_is_named_with_the_remedy(tmp_path: Path, name: str) -> None:
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(DataError, match=rf"{name} .*dvc repro"):
        files.read_json(tmp_path / name)


def test_the_record_tells_config_inputs_code_and_counts(tmp_path: Path) -> None:
    files.write_record(tmp_path, {"shard": {"size": 3}}, {"ledger": "abc"}, {"samples": 7})
    record = json.loads((tmp_path / "record.json").read_text())
    assert record["config_digest"] == digest({"shard": {"size": 3}})
    assert record["inputs"] == {"ledger": "abc"}
    assert record["counts"] == {"samples": 7}
    assert {"python", "pyarrow", "torch"} <= record["versions"].keys()
    assert record["git_commit"]


def test_a_link_replaces_what_is_there_and_shares_the_bytes(tmp_path: Path) -> None:
    source, target = tmp_path / "a", tmp_path / "b" / "c"
    source.write_text("new")
    files.write_text(target, "old")
    for _ in range(2):  # the second time both names are one file already
        files.link_or_copy(source, target)
        assert target.read_text() == "new"
        assert target.stat().st_ino == source.stat().st_ino
        assert list(target.parent.iterdir()) == [target]


def test_where_links_are_impossible_bytes_are_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*unused: object) -> None:
        raise OSError("another file system")

    monkeypatch.setattr("os.link", refuse)
    (tmp_path / "a").write_text("text")
    files.link_or_copy(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_text() == "text"
