"""Tar files read without unpacking and written so that equal members give equal bytes."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple, Self

from rankclip import files
from rankclip.data import tar_members
from rankclip.errors import DataError

BLOCK = 4 << 20
"""Bytes read at a time where a whole file is read."""


class Span(NamedTuple):
    """Where the bytes of a member lie in a tar."""

    offset: int
    size: int


class Seeking:
    """A file read where one wants to, as `tar_members.Source`."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.at = 0

    def take(self, size: int) -> bytes:
        """The next bytes; fewer at the end."""
        self._file.seek(self.at)
        blob = self._file.read(size)
        self.at += len(blob)
        return blob

    def skip(self, size: int) -> None:
        """Goes on without reading."""
        self.at += size


class Stream:
    """A file read once from its beginning to its end, as `tar_members.Source`, and its digest."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._hash = hashlib.sha256()
        self._block = b""
        self._next = 0
        self.at = 0

    @property
    def sha256(self) -> str:
        """Of all that was read, in hexadecimal."""
        return self._hash.hexdigest()

    def take(self, size: int) -> bytes:
        """The next bytes; fewer at the end."""
        blob = self._rest(size)
        if len(blob) == size:
            return blob
        pieces = [blob]
        while size := size - len(pieces[-1]):
            if not self._fill():
                break
            pieces.append(self._rest(size))
        return b"".join(pieces)

    def _rest(self, size: int) -> bytes:
        blob = self._block[self._next : self._next + size]
        self._next += len(blob)
        self.at += len(blob)
        return blob

    def skip(self, size: int) -> None:
        """Goes on by `size` bytes, or to the end."""
        while size:
            step = min(size, len(self._block) - self._next)
            self._next += step
            self.at += step
            size -= step
            if size and not self._fill():
                return

    def finish(self) -> None:
        """Reads on to the end.

        Raises:
            tar_members.DamagedError: there is more than zeros.
        """
        start = self.at
        while blob := self.take(BLOCK):
            if blob.count(0) < len(blob):
                raise tar_members.DamagedError(f"it goes on after its end at byte {start}, with another tar?")

    def _fill(self) -> bool:
        self._block, self._next = self._file.read(BLOCK), 0
        self._hash.update(self._block)
        return bool(self._block)


def listing(path: Path, remedy: str) -> dict[str, Span]:
    """Name -> span of every regular file in a tar, in the order in which they are stored.

    Nothing is unpacked, so names need not be trusted; of one stored twice the first counts.

    Raises:
        DataError: the tar is missing, damaged or cut off; the message ends in `remedy`.
    """
    spans: dict[str, Span] = {}
    try:
        with path.open("rb") as file:
            for member in tar_members.members(Seeking(file)):
                name = member.name.decode("utf-8", "surrogateescape")
                spans.setdefault(name, Span(member.offset, member.size))
    except FileNotFoundError:
        raise DataError(f"{path} is missing; {remedy}") from None
    except PermissionError:
        raise DataError(f"{path} may not be read by this user; change its permissions") from None
    except (OSError, tar_members.DamagedError) as error:
        raise DataError(f"{path} is not a whole tar ({files.one_line(error)}); {remedy}") from None
    return spans


class Reader:
    """A tar opened for reading spans from any thread; use it as a context manager."""

    def __init__(self, path: Path, remedy: str) -> None:
        self.path = path
        self.remedy = remedy
        self.spans = listing(path, remedy)
        self._descriptor = os.open(path, os.O_RDONLY)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *unused: object) -> None:
        os.close(self._descriptor)

    def read(self, name: str) -> bytes:
        """The bytes of the member `name`."""
        span = self.spans[name]
        blob = os.pread(self._descriptor, span.size, span.offset)
        if len(blob) != span.size:
            raise DataError(f"{self.path} ends within {name}; {self.remedy}")
        return blob


class Writer:
    """Appends members to an open file; all that could differ between two runs (times, owners) is zero."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._hash = hashlib.sha256()
        self.bytes = 0

    def add(self, name: str, blob: bytes) -> Span:
        """Append one member; its name has at most 100 bytes."""
        header = tarfile.TarInfo(name)
        header.size = len(blob)
        self._put(header.tobuf(tarfile.USTAR_FORMAT))
        span = Span(self.bytes, len(blob))
        self._put(blob)
        self._put(b"\0" * (-len(blob) % tarfile.BLOCKSIZE))
        return span

    def finish(self) -> None:
        """Append the end of the archive, filled up to a whole record as tar programs do."""
        self._put(b"\0" * (2 * tarfile.BLOCKSIZE))
        self._put(b"\0" * (-self.bytes % tarfile.RECORDSIZE))

    @property
    def sha256(self) -> str:
        """The sha256 of all that was written so far, in hexadecimal."""
        return self._hash.hexdigest()

    def _put(self, data: bytes) -> None:
        self._file.write(data)
        self._hash.update(data)
        self.bytes += len(data)


@contextmanager
def writing(path: Path) -> Iterator[Writer]:
    """A `Writer` whose tar appears at `path` when the block ends well."""
    with (
        files.replace(path) as temporary,
        temporary.open("wb", buffering=io.DEFAULT_BUFFER_SIZE * 16) as file,
    ):
        writer = Writer(file)
        yield writer
        writer.finish()
