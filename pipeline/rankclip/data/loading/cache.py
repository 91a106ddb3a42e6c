"""A folder of files that can be made or fetched again, which holds at most so many bytes.

CACHE/
├── .lock                  held while somebody counts, claims or evicts
└── NAME/                  of one data set
    ├── .lock              held, shared, by everybody who uses the data set
    ├── room               the bytes that its files may take, decided by the first who came
    └── index.arrow, 000000.tar, ...

Who comes first to a data set that nobody uses gets the bytes that those in use leave of the bound; others
are evicted for that, those used longest ago first, those in use never. Of the files that a data set would
like to have it may have the first ones that fit into its room, in the order in which it names them: under a
global shuffle every file is as useful as any other, so nothing is ever replaced while it is in use.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Self

from rankclip import files
from rankclip.errors import InputError, RunError

FOLDER, BOUND = "RANKCLIP_CACHE", "RANKCLIP_CACHE_GB"
"""Environment variables: the folder, ~/.cache/rankclip by default, and its bound in GB (10^9 bytes), 50."""

LOCK, ROOM = ".lock", "room"

BOOKS = 4096
"""Bytes set aside for the books of a data set."""

SEALED_NS = 10**18
"""Time of change, in ns since 1970, of a file that was found whole; whoever writes to it changes that too."""


class Claim:
    """Files of one data set that may lie in the cache, for as long as this is open."""

    def __init__(self, folder: Path, names: Mapping[str, int], descriptor: int) -> None:
        self.folder = folder
        self.names = names
        """Name -> bytes of what may be there."""
        self._descriptor = descriptor

    @contextmanager
    def making(self, name: str, *, wait: bool) -> Iterator[bool]:
        """Whether this process alone makes a file while the block runs; with `wait` it is, in its turn."""
        with (self.folder / f"{name}.lock").open("a") as file:
            if wait:
                fcntl.flock(file.fileno(), fcntl.LOCK_EX)
            yield wait or _try(file.fileno(), fcntl.LOCK_EX)

    def close(self) -> None:
        """Lets others evict the data set."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1

    def __del__(self) -> None:
        self.close()


class _Held(NamedTuple):
    """A data set that is there."""

    folder: Path
    used_ns: int
    bytes: int
    in_use: bool


class Cache:
    """The cache of this machine.

    Args:
        folder: its folder.
        bound: bytes that it may hold.
    """

    def __init__(self, folder: Path, bound: int) -> None:
        self.folder, self.bound = folder, bound

    @classmethod
    def of_environment(cls) -> Self:
        """The one that the environment names.

        Raises:
            InputError: the bound is not a number, or negative.
        """
        text = os.environ.get(BOUND) or "50"
        try:
            bound = int(float(text) * 1e9)
        except (ValueError, OverflowError):
            bound = -1
        if bound < 0:
            raise InputError(f"{BOUND} is {text!r}; set it to a number of GB, 0 for no cache")
        return cls(Path(os.environ.get(FOLDER) or "~/.cache/rankclip").expanduser().absolute(), bound)

    def claim(self, name: str, wanted: Mapping[str, int]) -> Claim | None:
        """Room for the files of a data set; what of it is there already stays. None where nothing fits.

        Args:
            name: of the data set: 16 hexadecimal digits that change with its content.
            wanted: name -> bytes of each file, those first that are wanted most.

        Raises:
            RunError: the folder cannot be written.
        """
        if not self.bound:
            return None
        own = self.folder / name
        try:
            own.mkdir(parents=True, exist_ok=True)
            with _locked(self.folder / LOCK):
                own.mkdir(exist_ok=True)  # it may have been evicted meanwhile
                descriptor = os.open(own / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
                try:
                    names = self._names(own, wanted, alone=_try(descriptor, fcntl.LOCK_EX))
                    fcntl.flock(descriptor, fcntl.LOCK_SH)
                    os.utime(own / LOCK)
                except BaseException:
                    os.close(descriptor)
                    raise
        except OSError as error:
            raise RunError(
                f"the cache {self.folder} cannot be used ({files.one_line(error)}); set {FOLDER} to a folder "
                f"that can be written, or {BOUND}=0"
            ) from None
        return Claim(own, names, descriptor)

    def _names(self, own: Path, wanted: Mapping[str, int], *, alone: bool) -> dict[str, int]:
        """The files that a claim may hold; who is `alone` decides the room."""
        if not alone:
            return _fitting(wanted, int((own / ROOM).read_text()))
        room = self._make_room(own, sum(wanted.values()) + BOOKS) - BOOKS
        names = _fitting(wanted, room)
        _keep(own, names)
        files.write_text(own / ROOM, str(room))
        return names

    def _make_room(self, own: Path, wanted: int) -> int:
        """Evicts until `wanted` bytes are free or nothing is left to evict; the bytes that the claim gets."""
        others = sorted((held for held in self._held() if held.folder != own), key=lambda held: held.used_ns)
        free = self.bound - sum(held.bytes for held in others)
        for held in others:
            if free >= wanted:
                break
            if not held.in_use:
                shutil.rmtree(held.folder)
                free += held.bytes
        return min(wanted, free)

    def _held(self) -> Iterator[_Held]:
        """The data sets there are; a folder that is not named and kept like one is not ours to delete."""
        for room in self.folder.glob(f"{'[0-9a-f]' * 16}/{ROOM}"):
            folder, lock = room.parent, room.with_name(LOCK)
            with lock.open("a") as file:
                in_use = not _try(file.fileno(), fcntl.LOCK_EX)
                there = sum(_bytes(path) for path in folder.iterdir())
                held = max(there, int(room.read_text()) + BOOKS) if in_use else there
                yield _Held(folder, lock.stat().st_mtime_ns, held, in_use)


def seal(path: Path) -> None:
    """Notes that a file was found whole."""
    os.utime(path, ns=(SEALED_NS, SEALED_NS))


def is_sealed(path: Path | int, size: int | None = None) -> bool:
    """Whether a file, or that of a descriptor, is as it was when sealed, with `size` bytes if given."""
    try:
        found = os.stat(path)  # noqa: PTH116 - of a descriptor too
    except FileNotFoundError:
        return False
    return found.st_mtime_ns == SEALED_NS and size in (None, found.st_size)


def _fitting(wanted: Mapping[str, int], room: int) -> dict[str, int]:
    """The first of the files that fit."""
    names = {}
    for name, size in wanted.items():
        if size > room:
            break
        names[name], room = size, room - size
    return names


def _bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # of a run that renamed it meanwhile: within the room of that run
        return 0


def _keep(folder: Path, names: Mapping[str, int]) -> None:
    """Deletes what a claim does not cover, as what an earlier and larger one left, or a killed process."""
    for path in folder.iterdir():
        if path.name not in names and path.name not in (LOCK, ROOM):
            path.unlink()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("a") as file:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX)
        yield


def _try(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
