"""What a place for tars can do, wherever it is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

from rankclip.errors import InputError


class Stat(NamedTuple):
    """What is known of a file without reading it."""

    bytes: int
    changed: int
    """When it was last written, in nanoseconds since 1970; a bucket knows whole seconds."""


@dataclass(frozen=True)
class Store(ABC):
    """Files by name, relative to a place, parts separated by "/"; cheap to make and to send to a process.

    Every method raises DataError where a file is missing or cannot be read, RunError where the place does
    not answer or refuses, InputError where a name leads out of the place.
    """

    place: str
    """An absolute folder, or s3://BUCKET/PREFIX; without a slash at its end."""

    def named(self, name: str) -> str:
        """How messages call a file: its place and name.

        Raises:
            InputError: the name is none, or leads out of the place.
        """
        if not name or any(part in ("", ".", "..") for part in name.split("/")):
            raise InputError(f"{name!r} names no file below {self.place}; use a relative name without ..")
        return f"{self.place}/{name}"

    def local(self, name: str) -> Path | None:
        """The path of a file that lies on this machine's file system, whether or not it exists; else None."""
        self.named(name)
        return None

    @abstractmethod
    def size(self, name: str) -> int | None:
        """Bytes of a file; None where there is none."""

    @abstractmethod
    def stats(self, suffix: str) -> dict[str, Stat]:
        """Every file below the place whose name ends in `suffix`, by name, sorted.

        Names that begin with a dot are left out, and so are files in folders whose name does.
        """

    def sizes(self, suffix: str) -> dict[str, int]:
        """The bytes that `stats` tells."""
        return {name: found.bytes for name, found in self.stats(suffix).items()}

    @abstractmethod
    def put(self, source: Path, name: str) -> None:
        """Stores a local file under a name, replacing what is there; whole, or not at all.

        Of a file that fails or grows while it is read nothing is stored, but in a bucket what was there
        under that name is lost. A file that cannot be opened replaces nothing.
        """

    @abstractmethod
    def fetch(self, name: str, target: Path) -> None:
        """Makes `target` a copy of a file, whole or not at all; it may share its bytes: never write to it."""

    @abstractmethod
    def read(self, name: str, offset: int, size: int) -> bytes:
        """`size` bytes of a file from `offset` on; fewer where it ends before."""

    @abstractmethod
    def open(self, name: str) -> BinaryIO:
        """A file opened for reading, at any position."""

    @abstractmethod
    def delete(self, name: str) -> None:
        """Removes a file; nothing happens where there is none."""


def visible(name: str) -> bool:
    """Whether no part of a name begins with a dot, as those of temporary and system files do."""
    return not any(part.startswith(".") for part in name.split("/"))
