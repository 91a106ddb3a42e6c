"""A published table of captions, or a folder of its parts, as one stream of numbered rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from rankclip.data.tables.read import read
from rankclip.data.tables.table_files import tables_at


class Numbered:
    """Some columns of a table.

    Args:
        path: the table, or the folder.
        key: the column that names images, of texts or whole numbers.
        take: the columns of captions, texts or lists of texts.
    """

    def __init__(self, path: Path, key: str, take: Sequence[str]) -> None:
        self.path, self.key, self.take = path, key, tuple(take)
        self.rows = 0
        """Rows met so far, those that cannot be read among them."""
        self.unreadable = 0
        """Rows of another number of columns, that are not UTF-8 or not the JSON that they should be."""

    def batches(self) -> Iterator[pa.Table]:
        """The rows as tables of `row` (int64, from 0), `key` (string) and `take.NAME` (lists of strings).

        Raises:
            InputError: a file cannot be read, lacks a column, or holds something else than texts there.
        """
        names = ["row", "key", *(f"take.{name}" for name in self.take)]
        for path, kind in tables_at(self.path, "captions"):
            before = self.rows
            for part in read(path, kind, [self.key, *self.take], keys=[self.key], lists=self.take):
                numbers = pa.array(part.rows + before)
                self.rows += len(part.rows) + len(part.broken)
                self.unreadable += len(part.broken)
                yield pa.table([numbers, *part.table.columns], names)
