"""What is known of the rows of an unfinished work shard, in a file that survives the end of its process.

A file of records, each a head (JSON) and an image, added with one write. What a killed process, or a machine
without power, left half written is recognised by its checksum and cut off.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple, Self

from rankclip.data.reasons import Reason

_PREFIX = struct.Struct("<IIQ")
"""Checksum of all that follows it, bytes of the head, bytes of the image."""


class Result(NamedTuple):
    """What became of one row."""

    reason: Reason
    detail: str = ""
    sha256: str = ""
    size: int = 0
    """Bytes of the image; 0 without one."""
    meta: str = ""
    """What img2dataset says of the image, as JSON."""


class Journal:
    """The results of one work shard; a context manager, used by one thread at a time."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a+b", buffering=0)
        self._offsets: dict[int, int] = {}
        self.results: dict[int, Result] = {}
        """By row; of several results of a row, the last."""
        self.begun: Counter[int] = Counter()
        """How often a row was begun alone, by row."""
        whole = self._load()
        if whole < path.stat().st_size:
            os.truncate(path, whole)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *unused: object) -> None:
        self._file.close()

    def begin(self, row: int) -> None:
        """Note that `row` is about to be fetched, and nothing else."""
        self._append({"row": row}, b"")
        self.begun[row] += 1

    def add(self, row: int, result: Result, image: bytes = b"") -> None:
        """Keep what became of `row`."""
        head = {"row": row, **result._asdict()}
        self._offsets[row] = self._append(head, image) - len(image)
        self.results[row] = result

    def image(self, row: int) -> bytes:
        """The image of a row."""
        return os.pread(self._file.fileno(), self.results[row].size, self._offsets[row])

    def _append(self, head: dict[str, object], image: bytes) -> int:
        """The offset at which the record ends."""
        text = json.dumps(head).encode()
        sizes = struct.pack("<IQ", len(text), len(image))
        checksum = zlib.crc32(image, zlib.crc32(text, zlib.crc32(sizes)))
        record = struct.pack("<I", checksum) + sizes + text + image
        written = self._file.write(record)
        while written < len(record):  # a disk that fills up takes a part, and fails at the next call
            written += self._file.write(record[written:])
        return self._file.seek(0, os.SEEK_END)

    def _load(self) -> int:
        """Takes in the whole records; the offset at which the last of them ends."""
        end = self._file.seek(0)
        while len(prefix := self._file.read(_PREFIX.size)) == _PREFIX.size:
            checksum, head_size, size = _PREFIX.unpack(prefix)
            room = os.fstat(self._file.fileno()).st_size - end - _PREFIX.size
            if head_size + size > room:
                break
            content = os.pread(self._file.fileno(), head_size + size, end + _PREFIX.size)
            if zlib.crc32(content, zlib.crc32(prefix[4:])) != checksum:
                break
            self._take(json.loads(content[:head_size]), end + _PREFIX.size + head_size)
            end = self._file.seek(end + _PREFIX.size + len(content))
        return end

    def _take(self, head: dict[str, Any], offset: int) -> None:
        row = head.pop("row")
        if head:
            self.results[row] = Result(**head)._replace(reason=Reason(head["reason"]))
            self._offsets[row] = offset
        else:
            self.begun[row] += 1
