from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from rankclip.data import tars
from rankclip.errors import DataError

MEMBERS = {"a.jpg": b"x" * 700, "a.txt": b"", "b.jpg": b"y" * 512}


def write(path: Path, members: dict[str, bytes] = MEMBERS) -> Path:
    with tars.writing(path) as tar:
        for name, blob in members.items():
            tar.add(name, blob)
    return path


def test_a_written_tar_is_one_that_tarfile_reads(tmp_path: Path) -> None:
    with tarfile.open(write(tmp_path / "a.tar")) as tar:
        members = tar.getmembers()
        assert {member.name: tar.extractfile(member).read() for member in members} == MEMBERS
    assert {(member.mtime, member.uid, member.uname) for member in members} == {(0, 0, "")}


def test_spans_point_at_the_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with tars.writing(path) as tar:
        spans = {name: tar.add(name, blob) for name, blob in MEMBERS.items()}
    assert tars.listing(path, "") == spans
    with tars.Reader(path, "") as reader:
        assert {name: reader.read(name) for name in spans} == MEMBERS


def test_equal_members_give_equal_bytes_and_the_told_digest(tmp_path: Path) -> None:
    first, second = write(tmp_path / "a.tar").read_bytes(), write(tmp_path / "b.tar").read_bytes()
    assert first == second
    assert len(first) % tarfile.RECORDSIZE == 0


@pytest.mark.parametrize("length", [0, 100, 512, 600, 1024, 1536, 2048, 2560, 3072])
def test_a_tar_cut_anywhere_is_named_with_the_remedy(tmp_path: Path, length: int) -> None:
    path = write(tmp_path / "a.tar")
    # at 1536, 2048 and 3072 a member ends: tarfile alone would see nothing wrong
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(DataError, match=r"a\.tar is not a whole tar.*; do this$"):
        tars.listing(path, "do this")


def test_a_damaged_header_is_not_taken_for_the_end(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tar")
    blob = bytearray(path.read_bytes())
    blob[1536 + 10] ^= 1  # in the header of a.txt
    path.write_bytes(blob)
    with pytest.raises(DataError, match="damaged at byte 1536"):
        tars.listing(path, "")


def test_a_missing_tar_is_named_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.tar is missing; do this"):
        tars.listing(tmp_path / "a.tar", "do this")


def test_links_and_folders_in_a_tar_are_not_members(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        link = tarfile.TarInfo("link.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
        folder = tarfile.TarInfo("folder")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        long_name = tarfile.TarInfo("x" * 150 + ".jpg")
        long_name.size, long_name.mtime = 3, 0.5  # both need extended headers
        tar.addfile(long_name, io.BytesIO(b"abc"))
    with tars.Reader(tmp_path / "a.tar", "") as reader:
        assert list(reader.spans) == [long_name.name]
        assert reader.read(long_name.name) == b"abc"


def test_an_interrupted_write_leaves_no_tar(tmp_path: Path) -> None:
    def members() -> Iterator[tuple[str, bytes]]:
        yield "a.jpg", b"x"
        raise KeyError

    with pytest.raises(KeyError), tars.writing(tmp_path / "a.tar") as tar:
        [tar.add(name, blob) for name, blob in members()]
    assert not list(tmp_path.iterdir())
