"""Fetches tars of a store elsewhere into the cache, beside the work that reads them."""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import threading
from pathlib import Path

import typer

from rankclip import files
from rankclip.data.loading.cache import Claim, is_sealed, seal
from rankclip.data.loading.index import REMEDY
from rankclip.data.loading.tar_bytes import Tars
from rankclip.errors import DataError, RankclipError

BLOCK = 8 << 20
"""Bytes fetched between two looks at whether anybody still wants them."""


class Fetching:
    """A thread that fetches those tars of a claim that are not there, one after the other.

    Processes that have the same claim share the tars among them: each is fetched by one.
    """

    def __init__(self, tars: Tars, claim: Claim) -> None:
        self._tars, self._claim = tars, claim
        self._ended = threading.Event()
        self._error: DataError | None = None
        self._thread = threading.Thread(target=self._run, name="fetching", daemon=True)
        self._thread.start()
        atexit.register(self.close)  # before Arrow, whose client the thread uses, goes

    def check(self) -> None:
        """Tells of a tar that is not the one that the manifest describes.

        Raises:
            DataError: there is one.
        """
        if self._error is not None:
            raise self._error

    def wait(self) -> None:
        """Returns when all is fetched that this process fetches."""
        self._thread.join()

    def close(self) -> None:
        """Stops; what is half fetched is deleted."""
        atexit.unregister(self.close)
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            for tar, path in self._tars.cached.items():
                if self._ended.is_set():
                    return
                if not self._there(tar, path):
                    with self._claim.making(path.name, wait=False) as alone:
                        if alone and not self._there(tar, path):
                            self._fetch(tar, path)
        except DataError as error:
            self._error = error
        except (RankclipError, OSError) as error:  # reading goes on, and says more if that fails too
            why = files.one_line(error)
            typer.echo(
                f"rankclip: no more shards are fetched ahead ({why}); samples are read singly", err=True
            )

    def _there(self, tar: int, path: Path) -> bool:
        return is_sealed(path, self._tars.tars[tar].bytes)

    def _fetch(self, tar: int, path: Path) -> None:
        path.unlink(missing_ok=True)  # damaged: with another beside it the cache would hold too much
        described, found, length = self._tars.tars[tar], hashlib.sha256(), 0
        with contextlib.suppress(_EndedError), files.replace(path) as temporary:
            with self._tars.store.open(described.name) as source, temporary.open("wb") as target:
                while block := source.read(min(BLOCK, described.bytes - length)):
                    if self._ended.is_set():
                        raise _EndedError
                    found.update(block)
                    length += target.write(block)
            if length < described.bytes or described.sha256 not in (None, found.hexdigest()):
                raise DataError(
                    f"{self._tars.named(tar)} is not what manifest.json describes: {length} bytes, sha256 "
                    f"{found.hexdigest()}; {REMEDY}"
                )
            seal(temporary)


class _EndedError(Exception):
    """Nobody wants the tar any more."""
