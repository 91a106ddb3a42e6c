"""A folder of this machine as a place for tars."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from rankclip import files
from rankclip.errors import DataError, disk_full
from rankclip.storage.store import Stat, Store, visible


class Folder(Store):
    """Files below a folder, which need not exist before the first is put there."""

    def local(self, name: str) -> Path:
        """See `Store.local`."""
        return Path(self.named(name))

    def size(self, name: str) -> int | None:
        """See `Store.size`."""
        with _told(self.local(name)):
            try:
                return self.local(name).stat().st_size
            except (FileNotFoundError, NotADirectoryError):
                return None

    def stats(self, suffix: str) -> dict[str, Stat]:
        """See `Store.stats`. Links are followed, each folder once."""
        found: dict[str, Stat] = {}
        with _told(Path(self.place)):
            for path in _below(Path(self.place)):
                name = path.relative_to(self.place).as_posix()
                if name.endswith(suffix) and visible(name):
                    with _told(path):
                        entry = path.stat()
                    found[name] = Stat(entry.st_size, entry.st_mtime_ns)
        return dict(sorted(found.items()))

    def put(self, source: Path, name: str) -> None:
        """See `Store.put`: a hard link where the file systems allow it."""
        with _told(self.local(name)):
            files.link_or_copy(source, self.local(name))

    def fetch(self, name: str, target: Path) -> None:
        """See `Store.fetch`: a hard link where the file systems allow it."""
        with _told(self.local(name)):
            files.link_or_copy(self.local(name).resolve(strict=True), target)

    def read(self, name: str, offset: int, size: int) -> bytes:
        """See `Store.read`."""
        with self.open(name) as file, _told(self.local(name)):
            return os.pread(file.fileno(), size, offset)

    def open(self, name: str) -> BinaryIO:
        """See `Store.open`."""
        with _told(self.local(name)):
            return self.local(name).open("rb")

    def delete(self, name: str) -> None:
        """See `Store.delete`."""
        with _told(self.local(name)):
            self.local(name).unlink(missing_ok=True)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Errors of the file system as one line; a full disk keeps its own, which every command explains."""
    try:
        yield
    except OSError as error:
        if disk_full(error):
            raise
        if isinstance(error, FileNotFoundError):
            raise DataError(f"{path} is missing; put it there, or make it again") from None
        raise DataError(
            f"{path} cannot be used ({error.strerror or files.one_line(error)}); "
            "correct its permissions or its disk"
        ) from None


def _below(folder: Path) -> Iterator[Path]:
    """Every file below a folder, none where there is no folder; a folder reached by several ways once."""
    seen: set[tuple[int, int]] = set()

    def refuse(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError) or Path(error.filename) != folder:
            raise error

    for place, folders, names in os.walk(folder, followlinks=True, onerror=refuse):
        entry = Path(place).stat()
        if (entry.st_dev, entry.st_ino) in seen:
            folders.clear()
            continue
        seen.add((entry.st_dev, entry.st_ino))
        folders.sort()
        yield from (Path(place, name) for name in names)
