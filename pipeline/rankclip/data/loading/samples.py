"""Samples read from shards at random, without unpacking or decoding anything that is not asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from rankclip import files, storage
from rankclip.data.loading import index, latent_column
from rankclip.data.loading.cache import Cache, Claim, is_sealed
from rankclip.data.loading.fetching import Fetching
from rankclip.data.loading.index import REMEDY, Captions, Column, Index, Place
from rankclip.data.loading.tar_bytes import Tar, Tars
from rankclip.errors import DataError, InputError
from rankclip.spec import digest

MAPPED = "index.arrow"
"""The cache's name for the Arrow file made of a large index."""

FORM = 1
"""Of the files in the cache; another number where they are made in another way."""


class Samples:
    """The samples of a folder of shards, by position in its index; usable from threads and other processes.

    The tars lie where place.json says. From a store elsewhere those that fit into RANKCLIP_CACHE_GB are
    fetched once, in the background; see `cache` and `tar_bytes`. What it sends to another process is of use
    there for as long as this one is open.

    Args:
        folder: with index.parquet, manifest.json, and the tars they name, or place.json.

    Raises:
        DataError: the index or the manifest cannot be read, they do not fit each other, or a tar is missing
            or of another size than the manifest says.
        RunError: the store does not answer, or the cache cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self._path = self.folder / "index.parquet"
        self._manifest: dict[str, Any] = files.read_json(self.folder / "manifest.json", REMEDY)
        if not self._path.exists():
            raise DataError(f"{self._path} is missing; {REMEDY}")
        if files.sha256(self._path) != self._manifest["index_sha256"]:
            files.column_names(self._path, REMEDY)  # where it is no table at all, that is what is wrong
            raise DataError(f"{self._path} is not the one that manifest.json describes; {REMEDY}")
        store = storage.of_tars(self.folder)
        shards = self._manifest["shards"].items()
        tars = [Tar(name, about["bytes"], about.get("sha256") or None) for name, about in shards]
        self._check(store, tars)
        claim = self._claim(store, tars)
        names = [tar.name for tar in tars]
        self._index = Index(self._path, names, self._mapped(names, claim))
        cached = _cached(len(tars), claim)
        self._tars = Tars(store, tars, cached)
        self._fetching = Fetching(self._tars, claim) if claim is not None and cached else None
        self._held = claim

    def __len__(self) -> int:
        return len(self._index)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_fetching": None, "_held": None}

    @property
    def keys(self) -> Column[str]:
        """`[n]`, in order of rows."""
        return self._index.keys

    @property
    def digest(self) -> str:
        """Of all bytes of all samples, captions and latents: 16 hexadecimal digits."""
        return digest(self._manifest)

    @property
    def slots(self) -> list[str]:
        """Names of the caption slots."""
        return self._index.slots

    def captions(self, slot: str) -> Captions:
        """`[n]` lists of captions, empty where an image has none in this slot.

        Raises:
            InputError: there is no such slot.
        """
        if slot not in self.slots:
            raise InputError(f"no caption slot {slot!r} in {self._path}; use one of {', '.join(self.slots)}")
        return self._index.captions(slot)

    def latents(self) -> NDArray[np.float32] | None:
        """`[n, K]`, unit rows whose products are how alike two images truly are, in [0, 1]; None if unknown.

        Raises:
            DataError: they are damaged: missing for a sample, of different widths or not of unit length.
        """
        name = latent_column.NAME
        if name not in files.column_names(self._path, REMEDY):
            return None
        return latent_column.matrix(files.read_table(self._path, [name], REMEDY)[name], self._path, REMEDY)

    def shard(self, i: int) -> str:
        """The name of the tar in which sample `i` lies."""
        return self._tars.tars[self._index.place(i)[0]].name

    def read(self, i: int) -> bytes:
        """The encoded image of sample `i`.

        Raises:
            DataError: the shard cannot be read or ends early.
            RunError: the store does not answer.
        """
        place = self._index.place(i)
        return self._whole(i, place, self._tars.read(place))

    def read_all(self, indices: Iterable[int]) -> Iterator[bytes]:
        """As `read`, of several samples in order, with several requests at once to a store elsewhere."""
        places = [(i, self._index.place(i)) for i in indices]
        blobs = self._tars.read_all(place for _, place in places)
        return (self._whole(i, place, blob) for (i, place), blob in zip(places, blobs, strict=True))

    def check(self) -> None:
        """Tells of what was found wrong in the background.

        Raises:
            DataError: a tar that was fetched is not the one that the manifest describes.
        """
        if self._fetching is not None:
            self._fetching.check()

    def close(self) -> None:
        """Closes the shards; reading again opens them again, but nothing is fetched ahead any more."""
        if self._fetching is not None:
            self._fetching.close()
        if self._held is not None:
            self._held.close()
        self._tars.close()

    def _whole(self, i: int, place: Place, blob: bytes) -> bytes:
        if len(blob) != place.size:
            raise DataError(f"{self._tars.named(place.tar)} ends within sample {self.keys[i]}; {REMEDY}")
        return blob

    def _check(self, store: storage.Store, tars: list[Tar]) -> None:
        sizes = store.sizes("")
        for tar in tars:
            if tar.name not in sizes:
                raise DataError(f"{store.named(tar.name)} is missing; {REMEDY}")
            if sizes[tar.name] != tar.bytes:
                raise DataError(
                    f"{store.named(tar.name)} has {sizes[tar.name]} bytes, "
                    f"manifest.json says {tar.bytes}; {REMEDY}"
                )

    def _claim(self, store: storage.Store, tars: list[Tar]) -> Claim | None:
        """Room in the cache for what is large and can be made or fetched again."""
        wanted = {}
        if self._path.stat().st_size > index.SMALL_BYTES:
            names = [tar.name for tar in tars]
            wanted[MAPPED] = index.mapped_bytes(self._path, names, self._manifest["samples"])
        if tars and store.local(tars[0].name) is None:
            wanted |= {_name(number): tar.bytes for number, tar in enumerate(tars)}
        name = digest({"manifest": self._manifest, "place": store.place, "form": FORM})
        return Cache.of_environment().claim(name, wanted) if wanted else None

    def _mapped(self, names: list[str], claim: Claim | None) -> Path | None:
        """The Arrow file of a large index; made now where it is not there."""
        if claim is None or MAPPED not in claim.names:
            return None
        mapped = claim.folder / MAPPED
        with claim.making(MAPPED, wait=True):
            if not is_sealed(mapped):
                mapped.unlink(missing_ok=True)
                if not index.convert(self._path, names, mapped, claim.names[MAPPED]):
                    return None
        return mapped


def _name(number: int) -> str:
    """The cache's name for a tar."""
    return f"{number:06d}.tar"


def _cached(count: int, claim: Claim | None) -> dict[int, Path]:
    """Path of each tar that the cache has room for, by its number."""
    if claim is None:
        return {}
    paths = {number: claim.folder / _name(number) for number in range(count)}
    return {number: path for number, path in paths.items() if path.name in claim.names}
