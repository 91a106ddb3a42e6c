"""Members are found as tarfile finds them, in every form that tar programs write, and damage is told."""

from __future__ import annotations

import hashlib
import io
import shutil
import subprocess
import tarfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rankclip.data import tar_members, tars
from rankclip.errors import DataError

NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=300).filter(
    lambda name: not name.startswith("/") and not name.endswith("/")
)
FORMATS = (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)
KINDS = (
    tarfile.REGTYPE,
    tarfile.AREGTYPE,
    tarfile.CONTTYPE,
    tarfile.DIRTYPE,
    tarfile.SYMTYPE,
    tarfile.FIFOTYPE,
)


def packed(entries: list[tuple[str, bytes, bytes]], form: int) -> bytes:
    """A tar of (name, kind, content); what the form cannot say is left out."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=form) as tar:
        for name, kind, content in entries:
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.mtime = kind, "elsewhere" * 30 * (kind == tarfile.SYMTYPE), 1.5
            info.size = len(content) if info.isreg() else 0
            try:
                info.tobuf(form, "utf-8", "surrogateescape")
            except ValueError:
                continue
            tar.addfile(info, io.BytesIO(content) if info.isreg() else None)
    return target.getvalue()


def known_to_tarfile(blob: bytes) -> list[tuple[str, int, int]]:
    with tarfile.open(fileobj=io.BytesIO(blob)) as tar:
        return [
            (each.name, each.offset_data, each.size) for each in tar if each.isreg() and not each.issparse()
        ]


def known_to_us(blob: bytes, stream: bool) -> list[tuple[str, int, int]]:
    source = tars.Stream(io.BytesIO(blob)) if stream else tars.Seeking(io.BytesIO(blob))
    return [(each.name.decode("utf-8", "surrogateescape"), *each[1:]) for each in tar_members.members(source)]


@settings(deadline=None)
@given(
    st.lists(st.tuples(NAMES, st.sampled_from(KINDS), st.binary(max_size=1200)), max_size=6),
    st.sampled_from(FORMATS),
)
def test_members_are_those_that_tarfile_finds(entries: list[tuple[str, bytes, bytes]], form: int) -> None:
    blob = packed(entries, form)
    assert known_to_us(blob, True) == known_to_us(blob, False) == known_to_tarfile(blob)


ENTRIES = [
    ("a/" * 60 + "x.jpg", tarfile.REGTYPE, b"x" * 700),
    ("ü.txt", tarfile.REGTYPE, b""),
    ("b", tarfile.REGTYPE, b"y" * 512),
]


@settings(deadline=None)
@given(st.sampled_from(FORMATS), st.data())
def test_a_tar_cut_anywhere_is_damaged(form: int, data: st.DataObject) -> None:
    blob = packed(ENTRIES, form)
    end = known_to_tarfile(blob)[-1]
    mark = end[1] + 512 + 512  # of the first block of zeros, after which nothing can be missed
    length = data.draw(st.integers(0, mark - 1))
    for stream in (True, False):
        with pytest.raises(tar_members.DamagedError, match="cut off"):
            known_to_us(blob[:length], stream)


@settings(deadline=None)
@given(st.sampled_from(FORMATS), st.data())
def test_a_damaged_header_is_told_or_harmless(form: int, data: st.DataObject) -> None:
    """A flipped bit of a header never makes other bytes of a member, only damage or none."""
    blob = bytearray(packed(ENTRIES, form))
    at = data.draw(st.integers(0, len(blob) - 1))
    blob[at] ^= 1 << data.draw(st.integers(0, 7))
    try:
        found = known_to_us(bytes(blob), True)
    except tar_members.DamagedError:
        return
    assert found == known_to_tarfile(bytes(blob))


@settings(deadline=None)
@given(st.binary(max_size=3000))
def test_any_bytes_are_members_or_damage(blob: bytes) -> None:
    with suppress(tar_members.DamagedError):
        known_to_us(blob, True)


def header(**fields: bytes) -> bytes:
    """A header of an old tar with these fields overwritten, and its right checksum."""
    places = {"name": 0, "size": 124, "kind": 156, "magic": 257, "prefix": 345, "extended": 482}
    block = bytearray(512)
    block[124:136] = b"00000000004\0"
    block[156:157] = b"0"
    for name, value in fields.items():
        block[places[name] : places[name] + len(value)] = value
    block[148:156] = b" " * 8
    block[148:155] = b"%06o\0" % sum(block)
    return bytes(block)


def test_forms_that_few_programs_write_are_read() -> None:
    data = b"data" + bytes(508)
    blob = b"".join(
        [
            header(name=b"old"),
            data,
            header(name=b"old folder/", kind=b"\0", size=b"00000000000\0"),
            header(name=b"named", prefix=b"far/away", magic=b"ustar\x0000"),
            data,
            header(
                name=b"gnu", prefix=b"12345670123", magic=b"ustar  \0"
            ),  # there are times in place of a prefix
            data,
            header(name=b"big", size=b"\x80" + bytes(10) + b"\4"),
            data,
            header(name=b"sparse", kind=b"S", extended=b"\1"),
            bytes(504) + b"\1" + bytes(7),
            bytes(512),
            data,
            header(name=b"unknown", kind=b"Q"),
            data,
            header(name=b"last"),
            data,
            bytes(1024),
        ]
    )
    names = ["old", "far/away/named", "gnu", "big", "last"]
    for stream in (True, False):
        found = known_to_us(blob, stream)
        assert [name for name, _, _ in found] == names
        assert {blob[at : at + size] for _, at, size in found} == {b"data"}


@pytest.mark.parametrize(
    ("blob", "told"),
    [
        (b"\x1f\x8b" + bytes(600), "compressed"),
        (header(name=b"a", size=b"-0000000001\0"), "byte 0 states no size"),
        (header(name=b"a", size=b"\x80" + b"\xff" * 11), "byte 0 states no size"),
        (header(name=b"a", kind=b"L", size=b"77777777777\0"), r"byte 0 extends over \d+ bytes"),
        (header(name=b"a", kind=b"x", size=b"00000000010\0") + b"99 path=a" + bytes(503), "damaged"),
        (header(name=b"a", kind=b"x", size=b"00000000010\0") + b"not pax" + bytes(505), "damaged"),
        (header(name=b"a", kind=b"S", extended=b"\1") + b"x", "byte 0 is cut off"),
    ],
)
def test_damage_is_told_with_its_place(blob: bytes, told: str) -> None:
    with pytest.raises(tar_members.DamagedError, match=told):
        known_to_us(blob, True)


@pytest.mark.skipif(shutil.which("tar") is None, reason="no tar program")
def test_what_the_tar_program_writes_is_read(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    contents = {"a.jpg": b"x" * 3000, "n" * 150 + ".txt": b"long", "ü b.json": b"{}"}
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    with (folder / "holes").open("wb") as file:
        file.truncate(1 << 20)
    for form in ("gnu", "pax", "posix"):
        command = ["tar", "-S", f"--format={form}", "-cf", str(tmp_path / "a.tar"), "-C", str(folder), "."]
        subprocess.run(command, check=True)
        with tars.Reader(tmp_path / "a.tar", "") as reader:
            assert {name.removeprefix("./"): reader.read(name) for name in reader.spans} == contents


def test_a_stream_is_read_to_its_end_and_digested() -> None:
    blob = packed(ENTRIES, tarfile.USTAR_FORMAT)
    source = tars.Stream(io.BytesIO(blob))
    taken = [source.take(each.size) for each in tar_members.members(source)]
    source.finish()
    assert taken == [content for _, _, content in ENTRIES]
    assert (source.at, source.sha256) == (len(blob), hashlib.sha256(blob).hexdigest())


def test_a_tar_after_the_end_of_a_tar_is_not_passed_over() -> None:
    blob = packed(ENTRIES, tarfile.USTAR_FORMAT)
    source = tars.Stream(io.BytesIO(blob + blob))
    list(tar_members.members(source))
    with pytest.raises(tar_members.DamagedError, match="another tar"):
        source.finish()


@pytest.mark.parametrize("sizes", [[0], [3], [1, 1, 100], [5, 0, 6]])
def test_blocks_do_not_show_in_what_is_taken(sizes: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tars, "BLOCK", 4)
    blob = bytes(range(200))
    source = tars.Stream(io.BytesIO(blob))
    for size in sizes:
        at = source.at
        assert source.take(size) == blob[at : at + size]
        source.skip(size)
        assert source.at == at + 2 * size if at + 2 * size <= 200 else 200


def test_names_that_are_no_text_survive(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(header(name=b"\xff.jpg") + b"data" + bytes(508 + 1024))
    with tars.Reader(tmp_path / "a.tar", "") as reader:
        assert reader.read("\udcff.jpg") == b"data"


def test_of_a_name_stored_twice_the_first_counts(tmp_path: Path) -> None:
    entries = [("a", tarfile.REGTYPE, b"first"), ("a", tarfile.REGTYPE, b"second")]
    (tmp_path / "a.tar").write_bytes(packed(entries, tarfile.USTAR_FORMAT))
    with tars.Reader(tmp_path / "a.tar", "") as reader:
        assert reader.read("a") == b"first"


def test_a_compressed_tar_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(b"\x1f\x8b" + bytes(600))
    with pytest.raises(DataError, match=r"a\.tar is not a whole tar \(it is compressed; uncompress it\)"):
        tars.listing(tmp_path / "a.tar", "")
