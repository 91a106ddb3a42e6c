"""Which samples a set of data has: one digest of them all, and their list for others to use."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from rankclip import files

SLICE = 2**16
"""Lines that are Python objects at once."""


def digest_of(index: Path) -> str:
    """The pool digest of an index.parquet, see `digest`."""
    return digest(lambda: files.read_batches(index, ["key", "sha256"]))


def digest(tables: Callable[[], Iterator[pa.Table]]) -> str:
    """The sha256 over the lines "KEY SHA256", sorted by their bytes, a line feed after each.

    Two sets of data have the same if and only if they have the same images under the same keys.

    Args:
        tables: tables with `key` and `sha256`, the same ones at each call. Where their lines do not come in
            order, as those of a crawl do, all are held at once, about 85 bytes each.
    """
    total = hashlib.sha256()
    last = b""
    for lines in _lines(tables()):
        if not _in_order(last, lines):
            break
        total.update(_joined(lines))
        last = lines[-1].as_py()
    else:
        return total.hexdigest()
    return _digest_of_sorted(pa.chunked_array(list(_lines(tables())), pa.large_binary()))


def _digest_of_sorted(lines: pa.ChunkedArray) -> str:
    total = hashlib.sha256()
    order = pc.sort_indices(lines)
    for start in range(0, len(order), SLICE):
        total.update(_joined(lines.take(order[start : start + SLICE])))
    return total.hexdigest()


def _lines(tables: Iterator[pa.Table]) -> Iterator[pa.LargeBinaryArray]:
    for table in tables:
        lines = pc.binary_join_element_wise(table["key"], table["sha256"], " ").cast(pa.large_binary())
        yield from (chunk for chunk in lines.chunks if len(chunk))


def _in_order(last: bytes, lines: pa.LargeBinaryArray) -> bool:
    return last <= lines[0].as_py() and pc.all(pc.less_equal(lines[:-1], lines[1:])).as_py() is not False


def _joined(lines: pa.Array | pa.ChunkedArray) -> bytes:
    return b"".join(b"%s\n" % line for line in lines.to_pylist())


@contextmanager
def writing_keys(path: Path) -> Iterator[Callable[[pa.Table], None]]:
    """Writes `path`, a key a line, gzipped, from tables with `key` and maybe `source_key`, which goes before.

    Equal keys give equal bytes. The file can be the subset of another study of the same list.
    """
    with (
        files.replace(path) as temporary,
        temporary.open("wb") as raw,
        gzip.GzipFile("", "wb", 6, raw, mtime=0) as stream,
    ):

        def add(table: pa.Table) -> None:
            own = "source_key" in table.column_names
            keys = pc.coalesce(table["source_key"], table["key"]) if own else table["key"]
            stream.write("".join(f"{key}\n" for key in keys.to_pylist()).encode())

        yield add
