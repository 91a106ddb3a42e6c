"""Captions of published tables brought to the samples, a group of samples at a time, in little memory.

A table is read once, from its start to its end. A digest of its key says where the sample may be, and the row
goes into a bucket on disk with all others of the same group of samples. Then the groups are gone through in
order, the keys themselves compared, and each sample gets the captions of the first row that names it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rankclip.data import bars
from rankclip.data.captions import texts
from rankclip.data.captions.buckets import Buckets
from rankclip.data.captions.numbered import Numbered
from rankclip.data.captions.positions import Positions
from rankclip.data.captions.spec import CaptionSpec, Split
from rankclip.errors import InputError

Keys = Callable[[str], Iterator[pa.ChunkedArray]]
"""The samples' keys of a kind ("url", "key", "source_key") in order, from the first on at each call."""

Taken = tuple[tuple[str, ...], Split]
"""Columns of captions, and how each caption is split."""


@dataclass(frozen=True)
class SideTable:
    """A table with all the slots that are taken from it, so that it is read once."""

    path: Path
    join: str
    column: str
    slots: Mapping[str, Taken]


class Counts(TypedDict):
    """What became of the rows of a table."""

    rows: int
    used: int
    """Rows whose captions some sample has."""
    repeated: int
    """Rows of a sample that an earlier row names."""
    unused: int
    """Rows that name no sample."""
    unreadable: int


def side_tables(captions: Mapping[str, CaptionSpec]) -> list[SideTable]:
    """The tables that a study names, each once for each way in which it is joined."""
    grouped: dict[tuple[Path, str, str], dict[str, Taken]] = defaultdict(dict)
    for slot, spec in captions.items():
        grouped[spec.path, spec.join, spec.column][slot] = (spec.take, spec.split)
    return [SideTable(*named, slots) for named, slots in grouped.items()]


class Join:
    """One table's captions for samples in order.

    Args:
        side: the table.
        keys: the samples' keys.
        positions: of the samples by the key that the table has.
        width: samples in a group.
        scratch: folder that nobody else uses, for about half the table's bytes.

    Raises:
        InputError: the table cannot be read, or names none of the samples.
    """

    def __init__(self, side: SideTable, keys: Keys, positions: Positions, width: int, scratch: Path) -> None:
        self.side = side
        self._buckets = Buckets(scratch, width)
        take = dict.fromkeys(name for names, _ in side.slots.values() for name in names)
        self._table = Numbered(side.path, side.column, tuple(take))
        met: str | None = None
        found = False
        with bars.bar(f"captions {side.path.name}", None, "rows") as advance:
            for batch in self._table.batches():
                met = met or next(iter(batch["key"].drop_null()[:1].to_pylist()), None)
                rows, places = positions.find(batch["key"])
                if len(rows):
                    found = True
                    position = pa.array(places, pa.int64())
                    self._buckets.add(places, batch.take(pa.array(rows)).append_column("position", position))
                advance(len(batch))
        self._buckets.flush()
        if not found:
            raise InputError(self._nothing(met, keys))
        self._fate = np.zeros(self._table.rows, np.uint8)
        """Of each row of the table: 0 names no sample, 1 one that an earlier row names, 2 is used."""

    def columns(self, group: int, rows: pa.Table) -> dict[str, pa.ListArray]:
        """Slot -> list of captions for each sample of the group, whose `rows` have its keys."""
        found = self._buckets.read(group)
        if found is None:
            return {slot: texts.none(len(rows)) for slot in self.side.slots}
        at = found["position"].to_numpy() - group * self._buckets.width
        named = rows[self.side.join].combine_chunks().take(pa.array(at))
        same = np.flatnonzero(pc.fill_null(pc.equal(found["key"].combine_chunks(), named), False))
        samples, first = np.unique(at[same], return_index=True)  # the first row of each: they are in order
        numbers = found["row"].to_numpy()
        self._fate[numbers[same]] = np.maximum(self._fate[numbers[same]], 1)
        self._fate[numbers[same[first]]] = 2
        places, missing = np.zeros(len(rows), np.int64), np.ones(len(rows), bool)
        places[samples], missing[samples] = same[first], False
        chosen = found.take(pa.array(places, mask=missing))
        return {
            slot: texts.lists([chosen[f"take.{name}"] for name in names], split)
            for slot, (names, split) in self.side.slots.items()
        }

    def counts(self) -> Counts:
        """What became of the table's rows, when all groups were gone through."""
        nothing, repeated, used = np.bincount(self._fate, minlength=3).tolist()
        rows, unreadable = self._table.rows, self._table.unreadable
        unused = nothing - unreadable
        return Counts(rows=rows, used=used, repeated=repeated, unused=unused, unreadable=unreadable)

    def _nothing(self, met: str | None, keys: Keys) -> str:
        """Why nothing could be joined, with a key of both sides."""
        side, table = self.side, self._table
        ours = next((key for chunk in keys(side.join) for key in chunk.drop_null().to_pylist()), None)
        kind = {"url": "URL", "key": "key", "source_key": "key of the source's list"}[side.join]
        if ours is None:
            return f"captions: the samples have no {kind} to join {side.path} by; choose another `join`"
        if met is None:
            return f"captions: {side.path} has no row with a {side.column} ({table.unreadable} unreadable)"
        return (
            f"captions: none of {table.rows} rows of {side.path} names a sample: its {side.column} are like "
            f"{met!r}, a sample's {kind} like {ours!r}; choose another `join` or `column`, or another table"
        )


def joins(tables: Sequence[SideTable], keys: Keys, width: int, scratch: Path) -> list[Join]:
    """Every table read and put into buckets.

    Raises:
        InputError: a table cannot be read, or names none of the samples.
    """
    positions = {kind: Positions(keys(kind)) for kind in sorted({table.join for table in tables})}
    return [
        Join(table, keys, positions[table.join], width, scratch / f"{number:02d}")
        for number, table in enumerate(tables)
    ]
