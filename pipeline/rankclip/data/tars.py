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
from rankclip.errors import DataError


class Span(NamedTuple):
    """Where the bytes of a member lie in a tar."""

    offset: int
    size: int


def listing(path: Path, remedy: str) -> dict[str, Span]:
    """Name -> span of every regular file in a tar, in the order in which they are stored.

    Nothing is unpacked, so names need not be trusted. `tarfile` takes a damaged header, or a file cut between
    two members, for the end of the archive: the block of zeros that ends a whole one is looked for here.

    Raises:
        DataError: the tar is missing, damaged or cut off; the message ends in `remedy`.
    """
    spans: dict[str, Span] = {}
    try:
        with path.open("rb") as file, tarfile.open(fileobj=file, mode="r:") as tar:
            for member in tar:
                if member.isreg() and not member.issparse():
                    spans.setdefault(member.name, Span(member.offset_data, member.size))
            file.seek(tar.offset)
            complete = file.read(tarfile.BLOCKSIZE) == tarfile.NUL * tarfile.BLOCKSIZE
    except FileNotFoundError:
        raise DataError(f"{path} is missing; {remedy}") from None
    except (OSError, tarfile.TarError, ValueError) as error:
        raise DataError(f"{path} is not a whole tar ({files.one_line(error)}); {remedy}") from None
    if not complete:
        raise DataError(f"{path} is not a whole tar (cut off or damaged at byte {tar.offset}); {remedy}")
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
