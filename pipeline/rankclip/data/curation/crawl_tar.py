"""A tar that the stage `download` left, read with each image checked against its digest in status.parquet."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from rankclip.data import tars
from rankclip.errors import DataError

REMEDY = "make it again with `dvc repro -f -s download`"


class CrawlTar(tars.Reader):
    """One tar of the crawl; use it as a context manager.

    Raises:
        DataError: the tar is missing, damaged or cut off.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, REMEDY)
        notes = (".json", ".txt")
        self._names = {name.partition(".")[0]: name for name in self.spans if not name.endswith(notes)}

    def stored(self, keys: Iterable[str]) -> list[str]:
        """Those of `keys` whose image is here, in the order of the file, in which reading is fastest."""
        return sorted(set(keys) & self._names.keys(), key=lambda key: self.spans[self._names[key]].offset)

    def image(self, key: str, sha256: str) -> bytes:
        """The stored bytes of the image `key`.

        Raises:
            DataError: the image is missing or its digest is not `sha256`.
        """
        if key not in self._names:
            raise DataError(f"{self.path} has no image {key}; {REMEDY}")
        blob = self.read(self._names[key])
        if hashlib.sha256(blob).hexdigest() != sha256:
            raise DataError(f"{self.path} holds other bytes for {key} than status.parquet says; {REMEDY}")
        return blob

    def images(self, digests: Mapping[str, str]) -> Iterator[tuple[str, bytes]]:
        """Key and bytes of those images of `digests` (key -> sha256) that are here."""
        for key in self.stored(digests):
            yield key, self.image(key, digests[key])
