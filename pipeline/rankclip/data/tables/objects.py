"""Tables of one JSON object a line."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from rankclip.data.reasons import Reason
from rankclip.data.tables.part import ROWS, Broken, Part, broken, require
from rankclip.data.tables.streams import opened, whole_lines


class Objects:
    """A table of objects, of which some members are read.

    Args:
        path: the table.
        columns: names of the members.
        keys: of these, members that may be whole numbers.
        lists: of these, members that may be lists of texts.
    """

    def __init__(
        self, path: Path, columns: Sequence[str], keys: Collection[str], lists: Collection[str]
    ) -> None:
        self._path = path
        self._columns = columns
        self._keys = frozenset(keys)
        self._kinds = {name: pa.list_(pa.string()) if name in lists else pa.string() for name in columns}
        self._begun = False

    def read(self, longest: int) -> Iterator[Part]:
        """The rows; a line of `longest` bytes is refused, blank ones are no rows.

        Raises:
            InputError: the file is damaged, or its first object lacks a member.
        """
        row = 0
        with opened(self._path) as stream:
            for block in whole_lines(stream, longest):
                lines = [None] if block is None else [line for line in block.split(b"\n") if line.strip()]
                for at in range(0, len(lines), ROWS):
                    yield self._part(row + at, lines[at : at + ROWS], longest)
                row += len(lines)
        if not self._begun:
            require(self._path, self._columns, [])

    def _part(self, row: int, lines: Sequence[bytes | None], longest: int) -> Part:
        """The part of lines of which the first is row number `row`."""
        if self._begun and all(line is not None and len(line) < longest for line in lines):
            try:
                return self._whole(row, lines)
            except (ValueError, TypeError, AttributeError, RecursionError, pa.ArrowException):
                pass  # a line is not as it should be: look at each
        found = [self._values(number, line, longest) for number, line in enumerate(lines, row)]
        bad = [each for each in found if isinstance(each, Broken)]
        good = [each for each in found if not isinstance(each, Broken)]
        places = [at for at, each in enumerate(found, row) if not isinstance(each, Broken)]
        members = zip(*good, strict=True) if good else ([] for _ in self._columns)
        columns = dict(zip(self._columns, members, strict=True))
        table = {name: pa.array(values, self._kinds[name]) for name, values in columns.items()}
        return Part(np.array(places, np.int64), pa.table(table), bad)

    def _whole(self, row: int, lines: Sequence[bytes | None]) -> Part:
        """The part of lines that are all as they should be; any of many errors where one is not."""
        objects = [json.loads(line.decode()) for line in lines]  # type: ignore[union-attr]
        columns = {}
        for name, kind in self._kinds.items():
            values = [each.get(name) for each in objects]
            if name in self._keys:
                values = [str(value) if type(value) is int else value for value in values]
            if pa.types.is_list(kind):
                values = [[value] if isinstance(value, str) else value for value in values]
            columns[name] = pa.array(values, kind)
        return Part(np.arange(row, row + len(lines)), pa.table(columns), [])

    def _values(self, row: int, line: bytes | None, longest: int) -> list[Any] | Broken:
        """What a line holds of the members that are wanted."""
        if line is None or len(line) >= longest:
            return broken(row, f"line of {longest} bytes or more", Reason.CAPTION_TOO_LONG)
        try:
            text = line.decode()
            value = json.loads(text)
        except UnicodeDecodeError as error:
            return broken(row, f"byte {error.start}: {error.reason}", Reason.BAD_ENCODING)
        except (ValueError, RecursionError) as error:
            return broken(row, f"not JSON ({error}): {text}")
        if not isinstance(value, dict):
            return broken(row, f"not a JSON object: {text}")
        if not self._begun:
            require(self._path, self._columns, list(value))
            self._begun = True
        try:
            return [self._member(name, value.get(name)) for name in self._columns]
        except TypeError as error:
            return broken(row, f"{error}: {text}")
        except UnicodeEncodeError as error:
            return broken(row, f"{error.reason}: {text}", Reason.BAD_ENCODING)

    def _member(self, name: str, value: Any) -> Any:
        """A member as its column has it.

        Raises:
            TypeError: it is neither a text nor what else is allowed there.
            UnicodeEncodeError: half a pair of surrogates is escaped in it.
        """
        if value is None:
            return None
        if type(value) is int and name in self._keys:
            return str(value)
        texts = value if isinstance(value, list) and pa.types.is_list(self._kinds[name]) else [value]
        for text in texts:
            if isinstance(text, str):
                text.encode()
            elif text is not None:
                raise TypeError(f"{name} is no text")
        return texts if pa.types.is_list(self._kinds[name]) else value
