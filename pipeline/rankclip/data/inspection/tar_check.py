"""One tar held against its rows of the index: its bytes, and that images have their digest and decode."""

from __future__ import annotations

import hashlib
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from rankclip import files, storage
from rankclip.data import images
from rankclip.data.inspection import rows
from rankclip.data.inspection.index_check import Faults, Span
from rankclip.data.reasons import printable
from rankclip.errors import DataError
from rankclip.storage import Store

NAMES = ["key", "offset", "size", "width", "height", "sha256"]


@dataclass(frozen=True)
class CheckWork:
    """The work of one process at a time; it carries places of rows, not the rows."""

    store: Store
    index: Path
    scratch: Path
    span: Span
    positions: tuple[int, ...] | None
    """Rows of the index to look at; None: all of the span, and every byte of the tar."""
    sha256: str
    """Of the whole tar, where all is looked at."""

    @property
    def images(self) -> int:
        """How many images are looked at."""
        return self.span.rows if self.positions is None else len(self.positions)


class Checked(NamedTuple):
    """`images`: how many were looked at; `faults`: a line each, without a remedy."""

    images: int
    faults: tuple[str, ...]


def check_tar(work: CheckWork) -> Checked:
    """Looks at a tar.

    Raises:
        RunError: the place of the tar does not answer.
    """
    name = work.span.shard
    where = work.store.named(name)
    wrong = []
    faults = Faults()
    try:
        with ExitStack() as stack:
            read = partial(work.store.read, name)
            if work.positions is None:
                path = stack.enter_context(storage.at_hand(work.store, name, work.scratch))
                read = partial(storage.store(path.parent).read, path.name)
                if files.sha256(path) != work.sha256:
                    wrong.append(f"{where} has other bytes than manifest.json says")
            positions = work.positions or range(work.span.start, work.span.start + work.span.rows)
            for row in rows.at(work.index, positions, NAMES).to_pylist():
                if kind := fault(row, read(row["offset"], row["size"])):
                    faults.note(kind, pa.chunked_array([[row["key"]]]))
    except DataError as error:
        wrong.append(str(error).rpartition("; ")[0])
    return Checked(work.images, (*wrong, *faults.lines(where)))


def fault(row: dict[str, Any], blob: bytes) -> str:
    """What is wrong with the bytes of a sample, as a noun; empty if nothing is."""
    if len(blob) != row["size"]:
        return "fewer bytes than index.parquet says"
    if hashlib.sha256(blob).hexdigest() != row["sha256"]:
        return "other bytes than index.parquet says"
    try:
        with images.opened(blob) as image:
            image.load()
            size = images.upright_size(image)
    except Exception as error:  # decoders fail on damaged bytes with errors of every class
        return f"an image that does not decode ({printable(type(error).__name__)})"
    if size != (row["width"], row["height"]):
        return "another width or height than index.parquet says"
    return ""
