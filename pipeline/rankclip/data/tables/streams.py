"""Bytes of a text file, compressed or not, as blocks of whole lines."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from rankclip import files
from rankclip.errors import InputError

BLOCK = 2**22
"""Bytes read at once."""

BOM = b"\xef\xbb\xbf"


@contextmanager
def opened(path: Path) -> Iterator[pa.NativeFile]:
    """The bytes of a file, uncompressed where its name ends in .gz.

    Raises:
        InputError: it cannot be read, or not to its end.
    """
    try:
        with pa.input_stream(str(path), compression="gzip" if path.suffix == ".gz" else None) as stream:
            yield stream
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path} cannot be read ({files.one_line(error)}); get a whole copy of it") from None


def whole_lines(stream: pa.NativeFile, longest: int) -> Iterator[bytes | None]:
    """Blocks of whole lines with their line feeds, which only the last may lack; without a byte order mark.

    None stands for a line of `longest` bytes or more, where one such fills a block; it is not held in memory.
    """
    left, skips = b"", False
    first = True
    while chunk := stream.read(BLOCK):
        if first:
            chunk, first = chunk.removeprefix(BOM), False
        if skips:
            _, feed, chunk = chunk.partition(b"\n")
            if not feed:
                continue
            yield None
            left, skips = b"", False
        block = left + chunk
        end = block.rfind(b"\n") + 1
        if end:
            yield block[:end]
        left = block[end:]
        skips = len(left) >= longest
        if skips:
            left = b""
    if skips:
        yield None
    elif left:
        yield left
