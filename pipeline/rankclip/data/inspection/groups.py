"""Input rows counted by host, by tar of the crawl or by stage, to see where losses come from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from rankclip.data.inspection import rows
from rankclip.data.reasons import Reason

By = Literal["host", "stage", "shard"]

HOST = r"^[a-zA-Z][a-zA-Z0-9+.-]*://(?:[^/?#@]*@)?(?P<host>\[[^\]]*\]|[^/?#:]*)"
"""Of a URL; RE2."""

COUNTS = pa.schema({"name": pa.string(), "rows": pa.int64()})

COMPACT = 2**20
"""Counts kept as they come before they are added up: about 50 MB."""

NAMES = {"host": "no URL", "stage": "no stage yet", "shard": "in no tar"}
"""How the group of rows that have none is called."""


@dataclass(frozen=True)
class Group:
    """The rows of one host, tar or stage."""

    name: str
    rows: int
    ok: int
    lost: int
    """Rows with one of the reasons asked for."""
    reasons: dict[str, int] = field(default_factory=dict)
    """Reason other than `ok` -> rows, most first."""


@dataclass(frozen=True)
class Grouped:
    """The groups that lose most, and how many lose any row at all."""

    worst: tuple[Group, ...]
    losing: int


def grouped(data: Path, by: By, reasons: Collection[str], most: int) -> Grouped:
    """The `most` groups with the most rows of `reasons` (all but `ok` where none is named).

    The rows are read twice, so that reasons are kept apart for the worst groups alone; memory grows with the
    number of groups that lose any row.

    Raises:
        DataError: see `rows.stream`.
    """
    chosen = pa.array(sorted(reasons) if reasons else [str(each) for each in Reason if each != Reason.OK])
    lost = _summed(_lost(data, by, chosen))
    if not len(lost):  # of which Arrow selects none, but fails
        return Grouped((), 0)
    keys = [("rows", "descending"), ("name", "ascending")]
    worst = lost.take(pc.select_k_unstable(lost, most, keys)).to_pylist()
    counts: dict[str, Counter[str]] = {row["name"]: Counter() for row in worst}
    named = pa.array(counts, pa.string())
    for table in _named(data, by):
        hits = table.filter(pc.is_in(table["name"], value_set=named))
        for row in hits.group_by(["name", "reason"]).aggregate([([], "count_all")]).to_pylist():
            counts[row["name"]][row["reason"]] += row["count_all"]
    found = tuple(_group(row["name"], row["rows"], counts[row["name"]], by) for row in worst)
    return Grouped(found, len(lost))


def hosts(urls: pa.ChunkedArray) -> pa.ChunkedArray:
    """The host of each URL in small letters, empty where there is none."""
    found = pc.struct_field(pc.extract_regex(urls, pattern=HOST), "host")
    return pc.ascii_lower(pc.fill_null(found, ""))


def _named(data: Path, by: By, chosen: pa.Array | None = None) -> Iterator[pa.Table]:
    """Name of the group and reason of the rows, of those with a `chosen` reason or of all."""
    column = "url" if by == "host" else by
    for table in rows.stream(data, [column, "reason"]):
        if chosen is not None:
            table = table.filter(pc.is_in(table["reason"], value_set=chosen))
        names = hosts(table[column]) if by == "host" else table[column]
        yield pa.table({"name": pc.fill_null(names, ""), "reason": table["reason"]})


def _lost(data: Path, by: By, chosen: pa.Array) -> Iterator[pa.Table]:
    for table in _named(data, by, chosen):
        counted = table.group_by("name").aggregate([([], "count_all")])
        yield counted.rename_columns(["name", "rows"]).cast(COUNTS)


def _summed(counts: Iterator[pa.Table]) -> pa.Table:
    """The counts added up, now and then, so that what is held stays near the size of the result."""
    total, held, limit = COUNTS.empty_table(), list[pa.Table](), COMPACT
    for table in counts:
        held.append(table)
        if sum(map(len, held)) >= limit:
            total, held = _added([total, *held]), []
            limit = max(COMPACT, len(total))
    return _added([total, *held])


def _added(tables: list[pa.Table]) -> pa.Table:
    added = pa.concat_tables(tables).group_by("name").aggregate([("rows", "sum")])
    return added.rename_columns(["name", "rows"])


def _group(name: str, lost: int, counts: Counter[str], by: By) -> Group:
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    others = {reason: n for reason, n in ordered if reason != Reason.OK}
    return Group(name or NAMES[by], counts.total(), counts[Reason.OK], lost, others)
