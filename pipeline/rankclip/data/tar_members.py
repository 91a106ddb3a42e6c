"""The members of a tar, from first to last, by ustar, old, GNU and pax headers; nothing is unpacked."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple, Protocol

BLOCK = 512
ZEROS = bytes(BLOCK)
MAX_EXTENSION = 1 << 20
"""Bytes of a long name or of a pax header; more than anybody's file system allows."""

_FILES = frozenset(b"0\x007")
_WITHOUT_DATA = frozenset(b"123456")
_PAX = re.compile(rb"(\d{1,20}) ([^=]+)=")


class Member(NamedTuple):
    """A regular file in a tar: its name, which may be no text at all, and where its bytes lie."""

    name: bytes
    offset: int
    size: int


class DamagedError(Exception):
    """The tar is not whole; the text says how, and where."""


class Source(Protocol):
    """What a tar is read from; `at` is the position of the next byte."""

    at: int

    def take(self, size: int) -> bytes:
        """The next bytes; fewer at the end."""

    def skip(self, size: int) -> None:
        """Goes on by `size` bytes, or to the end."""


def members(source: Source) -> Iterator[Member]:
    """Every regular file, in order; the bytes of one may be taken from `source` before the next is asked for.

    Ends at the block of zeros that ends a whole tar.

    Raises:
        DamagedError: a header is damaged, or the tar is cut off.
    """
    told: dict[str, bytes] = {}  # by extended headers, of the member that follows them
    while True:
        start = source.at
        header = source.take(BLOCK)
        if header == ZEROS:
            return
        _check(header, start)
        kind = header[156]
        extends = kind in b"xLKg"
        size = _size({} if extends else told, header, start)
        end = source.at + (0 if kind in _WITHOUT_DATA else -(-size // BLOCK) * BLOCK)
        if extends:
            told = _extension(chr(kind), _taken(source, size, start), told, start)
        elif kind in _FILES and not any(field.startswith("GNU.sparse") for field in told):
            name = told.get("path") or _name(header)
            if not name.endswith(b"/"):  # of old programs: a folder
                yield Member(name, source.at, size)
        elif kind == ord("S"):
            end += _sparse_map(header, source, start)
        if not extends:
            told = {}
        source.skip(end - source.at)


def _check(header: bytes, start: int) -> None:
    if len(header) < BLOCK:
        raise DamagedError(f"it is cut off at byte {start} or before")
    said, field = _octal(header[148:156]), header[148:156]
    total = sum(header) - sum(field) + 8 * ord(" ")
    if said != total and said != total - 256 * sum(byte > 127 for byte in header):  # of old programs
        if start == 0 and header[:2] in (b"\x1f\x8b", b"BZ", b"\xfd7", b"\x28\xb5"):
            raise DamagedError("it is compressed; uncompress it")
        raise DamagedError(f"its header is damaged at byte {start}")


def _octal(field: bytes) -> int:
    """A number of a header; -1 for none."""
    text = field.strip(b" \0")
    return int(text, 8) if text.isdigit() and not text.strip(b"01234567") else -1


def _size(told: dict[str, bytes], header: bytes, start: int) -> int:
    field = header[124:136]
    if "size" in told:
        size = int(told["size"]) if told["size"].isdigit() else -1
    elif field[0] == 0x80:
        size = int.from_bytes(field[1:], "big")
    else:
        size = _octal(field) if field.strip(b" \0") else 0
    if not 0 <= size < 1 << 62:
        raise DamagedError(f"its header at byte {start} states no size")
    return size


def _name(header: bytes) -> bytes:
    name = header[:100].partition(b"\0")[0]
    prefix = header[345:500].partition(b"\0")[0] if header[257:263] == b"ustar\0" else b""
    return prefix + b"/" + name if prefix else name


def _taken(source: Source, size: int, start: int) -> bytes:
    if size > MAX_EXTENSION:
        raise DamagedError(f"its header at byte {start} extends over {size} bytes")
    blob = source.take(size)
    if len(blob) < size:
        raise DamagedError(f"it is cut off at byte {start + len(blob)}")
    return blob


def _extension(kind: str, blob: bytes, told: dict[str, bytes], start: int) -> dict[str, bytes]:
    if kind == "L":
        return {**told, "path": blob.partition(b"\0")[0]}
    return {**told, **_pax(blob, start)} if kind == "x" else told


def _pax(blob: bytes, start: int) -> dict[str, bytes]:
    """The records `LENGTH KEY=VALUE\\n` of a pax header."""
    records: dict[str, bytes] = {}
    at = 0
    while at < len(blob) and blob[at]:
        found = _PAX.match(blob, at)
        end = at + int(found[1]) if found else 0
        if found is None or not found.end() < end <= len(blob) or blob[end - 1] != ord("\n"):
            raise DamagedError(f"its extended header at byte {start} is damaged")
        records[found[2].decode("utf-8", "replace")] = blob[found.end() : end - 1]
        at = end
    return records


def _sparse_map(header: bytes, source: Source, start: int) -> int:
    """Bytes of the headers that follow that of a file with holes, which is no sample's."""
    before, more = source.at, header[482]
    while more:
        block = source.take(BLOCK)
        if len(block) < BLOCK:
            raise DamagedError(f"its header at byte {start} is cut off")
        more = block[504]
    return source.at - before
