"""How many rows ended in which reason, with the check that every input row is counted once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rankclip import files
from rankclip.data.inspection import rows
from rankclip.data.reasons import Reason
from rankclip.errors import DataError

LEDGER_REMEDY = "run `dvc repro -f -s curate`, or `-s index` where tars are read in place"


class Line(NamedTuple):
    """Input rows that ended alike; `stage` gave the reason."""

    reason: str
    stage: str
    rows: int


@dataclass(frozen=True)
class Tally:
    """All input rows by reason, `ok` first, then by falling count."""

    rows: int
    """Input rows, which is the sum of `lines`."""

    lines: tuple[Line, ...]

    flags: Mapping[str, int]
    """Check of `curate` -> rows that fail it, whether or not it removes them."""

    kept: Mapping[str, int]
    """Check of `curate` -> those of its rows that are `ok`."""

    missing: tuple[str, ...] = ()
    """Stages that have not run, which may still refuse rows counted as `ok`."""

    @property
    def ok(self) -> int:
        """Rows that are part of the study."""
        return sum(line.rows for line in self.lines if line.reason == Reason.OK)

    @property
    def indexed(self) -> bool:
        """Whether the rows come from tars that were there before, and nothing was downloaded."""
        return bool(self.lines) and all(line.stage == "index" for line in self.lines)


def of_ledger(path: Path) -> Tally:
    """The ledger counted, a row at a time held against the number of input rows in `ledger.json` beside it.

    Raises:
        DataError: a file is missing, or an input row is lost, counted twice or without a reason.
    """
    summary = _summary(path.with_suffix(".json"))
    names = {"flags"} & set(files.column_names(path, LEDGER_REMEDY))
    held, distinct, nameless = 0, np.zeros(max(int(summary["input"]), 0), bool), 0
    counts: Counter[tuple[str, ...]] = Counter()
    flags: Counter[str] = Counter()
    kept: Counter[str] = Counter()
    for table in files.read_batches(path, ["row", "reason", "stage", *names], LEDGER_REMEDY):
        numbers = table["row"].to_numpy()
        distinct[numbers[(numbers >= 0) & (numbers < len(distinct))]] = True
        held += len(table)
        nameless += pc.sum(pc.equal(pc.fill_null(table["reason"], ""), "")).as_py() or 0
        counts.update(_counted(table, ["reason", "stage"]))
        if names:
            flags.update(_flags(table))
            kept.update(_flags(table.filter(pc.equal(table["reason"], Reason.OK.value))))
    if held != summary["input"] or not distinct.all() or nameless:
        raise DataError(
            f"{path} has {held} rows, {int(distinct.sum())} of them distinct, for {summary['input']} input "
            f"rows; each input row needs exactly one reason; {LEDGER_REMEDY}"
        )
    return Tally(held, _ordered(counts), dict(sorted(flags.items())), dict(sorted(kept.items())))


def require_summary(path: Path) -> None:
    """Compares the ledger, counted anew, with `ledger.json` beside it.

    Raises:
        DataError: as of `of_ledger`, or a number of the summary is another.
    """
    tally, summary = of_ledger(path), _summary(path.with_suffix(".json"))
    reasons: Counter[str] = Counter()
    for line in tally.lines:
        reasons[line.reason] += line.rows
    reasons.pop(Reason.OK, 0)
    counted = {"ok": tally.ok, "reasons": dict(reasons), "flags": dict(tally.flags)}
    for name, value in counted.items():
        stated = summary.get(name)
        if isinstance(stated, dict):  # a check that nobody fails may be told as 0
            stated = {key: n for key, n in stated.items() if n}
        if stated != value:
            raise DataError(
                f"{path.with_suffix('.json')} says {name} {stated}, the ledger holds {value}; {LEDGER_REMEDY}"
            )


def so_far(data: Path) -> Tally:
    """The rows counted before there is a ledger, from `ingest.json` and what the download left.

    Raises:
        DataError: not even `ingest` has run, or its files do not hold as many rows as it says.
    """
    summary = files.read_json(data / "ingest.json", "run `rankclip repro`, which begins with it")
    missing = ("curate",) if (data / "crawl" / "status.parquet").exists() else ("download", "curate")
    counts: Counter[tuple[str, ...]] = Counter()
    for table in rows.stream(data, ["reason", "stage"]):
        counts.update(_counted(table, ["reason", "stage"]))
    if "download" in missing:  # rows without a reason are still to be asked for
        counts[Reason.OK, ""] += counts.pop(("", ""), 0)
    if counts.total() != summary["input"]:
        raise DataError(
            f"{data} holds {counts.total()} rows of {summary['input']} that ingest.json counts; "
            "run `dvc repro -f -s ingest`, then `rankclip repro`"
        )
    return Tally(counts.total(), _ordered(counts), {}, {}, missing)


def of_study(data: Path) -> Tally:
    """The tally of the ledger, or of what there is before it."""
    path = data / "ledger.parquet"
    return of_ledger(path) if path.exists() else so_far(data)


def is_behind(tally: Tally, data: Path) -> bool:
    """Whether the crawl says something else than the ledger, which is so after a retry until `repro`."""
    if tally.missing or tally.indexed or not (data / "crawl" / "status.parquet").exists():
        return False
    crawled = {reason: n for reason, n in of_crawl(data).items() if reason != Reason.OK}
    return crawled != {line.reason: line.rows for line in tally.lines if line.stage == "download"}


def of_crawl(data: Path) -> Counter[str]:
    """Reason -> rows of `crawl/status.parquet`.

    Raises:
        DataError: it is missing or cannot be read.
    """
    counts: Counter[str] = Counter()
    for table in files.read_batches(data / "crawl" / "status.parquet", ["reason"], rows.REMEDY):
        counts.update({reason: n for (reason,), n in _counted(table, ["reason"]).items()})
    return counts


def _summary(path: Path) -> dict[str, Any]:
    summary = files.read_json(path, LEDGER_REMEDY)
    if not isinstance(summary, dict) or not isinstance(summary.get("input"), int):
        raise DataError(f"{path} does not say how many rows were the input; {LEDGER_REMEDY}")
    return summary


def _counted(table: pa.Table, names: list[str]) -> Counter[tuple[str, ...]]:
    found = table.select(names).group_by(names).aggregate([([], "count_all")]).to_pylist()
    return Counter({tuple(row[name] or "" for name in names): row["count_all"] for row in found})


def _flags(table: pa.Table) -> dict[str, int]:
    spread = pa.table({"flag": pc.list_flatten(table["flags"])})
    return {flag: n for (flag,), n in _counted(spread, ["flag"]).items()}


def _ordered(counts: Mapping[tuple[str, ...], int]) -> tuple[Line, ...]:
    lines: Iterable[Line] = (Line(reason, stage, n) for (reason, stage), n in counts.items() if n)
    return tuple(sorted(lines, key=lambda line: (line.reason != Reason.OK, -line.rows, line)))
