"""A prefix of an S3 bucket as a place for tars; credentials and endpoint come from the AWS_* variables."""

from __future__ import annotations

import functools
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from rankclip import files
from rankclip.errors import DataError, RunError, disk_full
from rankclip.storage import clients
from rankclip.storage.store import Stat, Store, visible

if TYPE_CHECKING:
    from pyarrow import fs

BLOCK = 8 << 20
"""Bytes asked for at once where a file is read from its beginning to its end."""


class Bucket(Store):
    """Files below a prefix. An object appears under its name when all of it has arrived."""

    def size(self, name: str) -> int | None:
        """See `Store.size`."""
        with self._told(name):
            info = clients.s3().get_file_info(self._key(name))
        if not info.is_file:
            self._require_bucket()
            return None
        size: int = info.size
        return size

    def stats(self, suffix: str) -> dict[str, Stat]:
        """See `Store.stats`."""
        from pyarrow import fs

        root = self.place.removeprefix("s3://")
        with self._told():
            everything = fs.FileSelector(root, recursive=True, allow_not_found=True)
            listed = clients.s3().get_file_info(everything)
        if not listed:
            self._require_bucket()
        objects = (info for info in listed if info.is_file)
        named = {info.path.removeprefix(f"{root}/"): Stat(info.size, info.mtime_ns) for info in objects}
        return {name: named[name] for name in sorted(named) if name.endswith(suffix) and visible(name)}

    def put(self, source: Path, name: str) -> None:
        """See `Store.put`.

        The copy is one call into Arrow, which no signal interrupts: a stream that is closed early stores what
        it has got, and so does Arrow when the local file cannot be read to its end.
        """
        expected = _readable_bytes(source)  # else what cannot be opened would take the object there with it
        try:
            self._copy(clients.disk(), str(source), clients.s3(), self._key(name), name)
        except DataError:
            self.delete(name)
            raise
        stored = self.size(name)
        if stored != expected:
            self.delete(name)
            raise RunError(
                f"{source} had {expected} bytes, but {stored} were sent to {self.named(name)}, which was "
                "deleted again; let nothing else write to that file, then run the command again"
            )

    def fetch(self, name: str, target: Path) -> None:
        """See `Store.fetch`."""
        with files.replace(target) as temporary:
            self._copy(clients.s3(), self._key(name), clients.disk(), str(temporary), name)

    def read(self, name: str, offset: int, size: int) -> bytes:
        """See `Store.read`."""
        with self._told(name), clients.s3().open_input_file(self._key(name)) as file:
            blob: bytes = file.read_at(size, offset) if offset < file.size() else b""
        return blob

    def open(self, name: str) -> BinaryIO:
        """See `Store.open`."""
        return cast(BinaryIO, io.BufferedReader(_Object(self, name), BLOCK))

    def delete(self, name: str) -> None:
        """See `Store.delete`."""
        if self.size(name) is not None:
            with self._told(name):
                clients.s3().delete_file(self._key(name))

    def _key(self, name: str) -> str:
        return self.named(name).removeprefix("s3://")

    def _copy(
        self, source: fs.FileSystem, path: str, target: fs.FileSystem, target_path: str, name: str
    ) -> None:
        from pyarrow import fs

        with self._told(name):
            fs.copy_files(path, target_path, source, target, chunk_size=BLOCK, use_threads=False)

    def _require_bucket(self) -> None:
        """Arrow, asked what a bucket holds that does not exist, says nothing."""
        with self._told():
            found = clients.s3().get_file_info(self._bucket)
        if found.type == type(found.type).NotFound:
            raise self._explained(OSError("AWS Error NO_SUCH_BUCKET"), "")

    @property
    def _bucket(self) -> str:
        return self.place.removeprefix("s3://").partition("/")[0]

    @contextmanager
    def _told(self, name: str = "") -> Iterator[None]:
        """Errors of Arrow and of the service as one line."""
        try:
            yield
        except OSError as error:
            if disk_full(error):
                raise
            if isinstance(error, FileNotFoundError):
                self._require_bucket()
            raise self._explained(error, name) from None

    def _explained(self, error: OSError, name: str) -> DataError | RunError:
        what = self.named(name) if name else self.place
        ours, answered, text = files.one_line(error).partition("AWS Error ")
        if "NO_SUCH_BUCKET" in text:
            return RunError(f"{what}: there is no bucket {self._bucket!r}; create it, or name another")
        if isinstance(error, FileNotFoundError):
            return DataError(f"{what} is missing; put it there, or make it again")
        if not answered:
            return DataError(f"{what} could not be copied ({ours}); correct that, then run the command again")
        return RunError(
            f"{what} cannot be used ({text.partition('; Details')[0]}); check AWS_ENDPOINT_URL, AWS_REGION, "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, then run the command again"
        )


def _readable_bytes(path: Path) -> int:
    try:
        with path.open("rb") as file:
            return os.fstat(file.fileno()).st_size
    except OSError as error:
        raise DataError(
            f"{path} cannot be read ({error.strerror}); correct that, then run the command again"
        ) from None


class _Object(io.RawIOBase):
    """An object opened for reading, whose errors are ours."""

    def __init__(self, bucket: Bucket, name: str) -> None:
        super().__init__()
        self._told = functools.partial(bucket._told, name)
        with self._told():
            self._file: Any = clients.s3().open_input_file(bucket._key(name))
        self._size: int = self._file.size()
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(start + offset, 0)
        return self._at

    def readinto(self, buffer: Any) -> int:
        size = max(min(len(buffer), self._size - self._at), 0)
        with self._told():
            blob = self._file.read_at(size, self._at) if size else b""
        buffer[: len(blob)] = blob
        self._at += len(blob)
        return len(blob)

    def readall(self) -> bytes:
        blob = bytearray(max(self._size - self._at, 0))  # the inherited method asks for 8 KiB at a time
        return bytes(blob[: self.readinto(blob)])

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()
