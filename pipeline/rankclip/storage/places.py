"""Which place is meant: by a name, by the tables in a folder, or by the environment."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from rankclip import files
from rankclip.errors import DataError, InputError
from rankclip.storage.bucket import Bucket
from rankclip.storage.folder import Folder
from rankclip.storage.store import Store

STORE = "RANKCLIP_STORE"
"""Environment variable: a folder or s3://BUCKET/PREFIX for the tars that are made; unset, they lie beside
the tables that describe them."""


def store(place: str | Path) -> Store:
    """The store at a folder or at s3://BUCKET/PREFIX.

    Raises:
        InputError: the place is of another kind, or names no bucket.
    """
    text = str(place)
    scheme, separator, rest = text.partition("://")
    if not separator:
        return Folder(str(Path(text).expanduser().absolute()))
    parts = rest.rstrip("/").split("/")
    if scheme != "s3" or any(part in ("", ".", "..") for part in parts):
        raise InputError(f"{text!r} is no place for tars; give a folder or s3://BUCKET/PREFIX")
    return Bucket(f"s3://{'/'.join(parts)}")


def of_tars(folder: Path) -> Store:
    """Where the tars lie that the tables in `folder` describe: its place.json says, else beside them."""
    note = folder / "place.json"
    if not note.exists():
        return store(folder)
    said = files.read_json(note)
    place = said.get("place") if isinstance(said, dict) else None
    if not isinstance(place, str):
        raise DataError(f"{note} names no place of tars; {files.REMEDY}")
    return store(place)


def for_tars(folder: Path, apart: str = "") -> Store:
    """Where to put the tars that the tables in `folder` describe: below RANKCLIP_STORE, else beside them.

    Args:
        folder: of the tables; its name and that of the study are part of the place in a store.
        apart: one more part of that place, which other tars of a study of this name have not.
    """
    below = os.environ.get(STORE, "")
    folder = folder.absolute()
    parts = [below.rstrip("/"), folder.parent.name, folder.name, apart]
    return store("/".join(filter(None, parts)) if below else folder)


def write_place(folder: Path, store: Store) -> None:
    """Notes in `folder` where the tars lie that its tables describe."""
    if store.place == str(folder.absolute()):
        (folder / "place.json").unlink(missing_ok=True)
    else:
        files.write_json(folder / "place.json", {"place": store.place})


@contextmanager
def at_hand(store: Store, name: str, scratch: Path) -> Iterator[Path]:
    """A path of a file for the time of the block: its own where it is local, else a copy in `scratch`."""
    path = store.local(name)
    if path is not None:
        yield path
        return
    scratch.mkdir(parents=True, exist_ok=True)
    sweep(scratch, "fetched")
    with tempfile.TemporaryDirectory(prefix=f"fetched-{os.getpid()}-", dir=scratch) as folder:
        target = Path(folder, name.rpartition("/")[2])
        store.fetch(name, target)
        yield target


def sweep(scratch: Path, prefix: str) -> None:
    """Deletes folders PREFIX-NUMBER-ANYTHING of `scratch` when the process of that number is gone."""
    for left in scratch.glob(f"{prefix}-*-*"):
        number = left.name.removeprefix(f"{prefix}-").partition("-")[0]
        if number.isdecimal() and not psutil.pid_exists(int(number)):
            shutil.rmtree(left, ignore_errors=True)
