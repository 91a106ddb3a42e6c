"""Bytes of tars at random: from this machine, or from a store elsewhere through a cache of whole tars.

A tar of a store elsewhere that the cache has room for is fetched once, in the background, by whichever
process comes to it first; until it is there, and where there is no room for it, each piece is asked for by
itself. So nothing ever waits for a whole tar, and reading in another order fetches none a second time.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, Self

from rankclip import files
from rankclip.data.loading.cache import is_sealed
from rankclip.data.loading.index import REMEDY, Place
from rankclip.errors import DataError
from rankclip.storage import Store

MAX_OPEN = 256
"""Tars held open at once; a process may have 1,024 files by default."""

AT_ONCE = 16
"""Pieces asked for at once of a store elsewhere, whose answers take long to begin."""


class Tar(NamedTuple):
    """A tar as its manifest describes it."""

    name: str
    bytes: int
    sha256: str | None


class Tars:
    """Reads pieces of tars from any thread; travels to other processes.

    Args:
        store: where they lie.
        tars: by number.
        cached: number -> path of those that may lie in the cache.
    """

    def __init__(self, store: Store, tars: Sequence[Tar], cached: Mapping[int, Path]) -> None:
        self.store, self.tars, self.cached = store, tars, cached
        self.local = bool(tars) and store.local(tars[0].name) is not None
        self._open = functools.lru_cache(MAX_OPEN)(functools.partial(_opened, store, tars, cached))

    def __reduce__(self) -> tuple[type[Self], tuple[Store, Sequence[Tar], Mapping[int, Path]]]:
        return type(self), (self.store, self.tars, self.cached)

    def read(self, place: Place) -> bytes:
        """The bytes of a piece; fewer where the tar ends before.

        Raises:
            DataError: the tar is missing or cannot be read.
            RunError: the store does not answer.
        """
        try:
            file = self._open(place.tar)  # held by this name, it stays open until the bytes are read
            blob = os.pread(file.descriptor, place.size, place.offset)
        except OSError as error:
            if self.local:
                why = files.one_line(error)
                raise DataError(f"{self.named(place.tar)} cannot be read ({why}); {REMEDY}") from None
            blob = b""
        if len(blob) == place.size or self.local:
            return blob
        return self.store.read(self.tars[place.tar].name, place.offset, place.size)

    def read_all(self, places: Iterable[Place]) -> Iterator[bytes]:
        """The bytes of several pieces, in order; several at once where each takes long to come."""
        if self.local:
            yield from map(self.read, places)
            return
        with ThreadPoolExecutor(AT_ONCE) as pool:
            yield from pool.map(self.read, places)

    def named(self, tar: int) -> str:
        """What messages call a tar."""
        return self.store.named(self.tars[tar].name)

    def close(self) -> None:
        """Closes the files; reading again opens them again."""
        self._open.cache_clear()


class _Open:
    """A file open for reading; closed when nobody uses it, not while another thread reads through it."""

    def __init__(self, path: Path, size: int | None) -> None:
        self.descriptor = os.open(path, os.O_RDONLY)
        if size is not None and not is_sealed(self.descriptor, size):
            raise FileNotFoundError(path)  # damaged

    def __del__(self) -> None:
        if hasattr(self, "descriptor"):
            os.close(self.descriptor)


def _opened(store: Store, tars: Sequence[Tar], cached: Mapping[int, Path], tar: int) -> _Open:
    path = store.local(tars[tar].name)
    if path is not None:
        return _Open(path, None)
    if tar not in cached:
        raise FileNotFoundError(tars[tar].name)
    return _Open(cached[tar], tars[tar].bytes)
