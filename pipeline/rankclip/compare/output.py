"""A comparison as lines for a terminal, and as JSON."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from rankclip.compare.comparison import Comparison
from rankclip.report import labels
from rankclip.report.ablation import MEAN, Row
from rankclip.report.claims import OTHERS
from rankclip.report.noise import NAMES

GAP = 3
NO_LIMIT = 1 << 16
"""Columns of characters of what is no terminal."""


def lines(found: Comparison, width: int = NO_LIMIT) -> Iterator[str]:
    """The levels, the differences to the baseline, what to mind; arms that do not fit stand below."""
    confidence = f"{100 * found.spec.level:g} % interval"
    first = found.rows[0]
    unit = "percent, " if labels.is_share(first.source) else ""
    over = f"mean over {labels.count(len(found.seeds), 'seed')}"
    around = f" ({confidence})" if any(row.level.has_interval for row in found.rows) else ""
    yield f"{labels.metric(first.source.metric)}, {found.split} split: {unit}{over}{around}"
    yield from _block(found, found.columns, _level, width)
    others = [name for name in found.columns if name != found.spec.baseline]
    if others:
        yield ""
        points = "points, " if labels.is_share(first.source) else ""
        yield f"minus {found.spec.baseline}: {points}equal seeds{around}{_corrected(found)}"
        yield from _block(found, others, _difference, width)
    for note in found.notes:
        yield ""
        yield note


def _corrected(found: Comparison) -> str:
    if not any(math.isfinite(row.p_adjusted) for row in found.rows):
        return ""
    if found.spec.correction == "none":
        return "; * leaves zero out by itself: among many, some do so by chance"
    kind = "other" if all(row.family in ("", OTHERS) for row in found.rows) else "main"
    among = f"{labels.count(found.among, 'comparison')} of {kind} metrics"
    return f"; p corrected for {among} ({NAMES[found.spec.correction]}), * stands"


def _level(row: Row) -> str:
    mean = labels.value(row.level.mean, row.source)
    return f"{mean} ({labels.interval(row.level, source=row.source)})" if row.level.has_interval else mean


def _difference(row: Row) -> str:
    said = labels.value(row.difference.mean, row.source, signed=True)
    if not row.difference.has_interval:
        return said
    said += f" ({labels.interval(row.difference, signed=True, source=row.source)})"
    if math.isfinite(row.p_adjusted):
        p = labels.probability(row.p_adjusted)
        said += f" p {p}"
    return f"{said} *" if row.sure else said


def _block(found: Comparison, names: Sequence[str], cell: Callable[[Row], str], width: int) -> Iterator[str]:
    """A line a benchmark, a column an arm, as many side by side as fit."""
    cells = {(row.benchmark, row.arm): cell(row) for row in found.rows}
    benchmarks = list(dict.fromkeys(row.benchmark for row in found.rows))
    titles = {name: "mean over benchmarks" if name == MEAN else labels.plain(name) for name in benchmarks}
    margin = max(map(len, titles.values())) + GAP
    sizes = {name: GAP + max(len(name), *(len(cells[at, name]) for at in benchmarks)) for name in names}
    for group in _groups(names, sizes, width - margin):
        yield (" " * margin + "".join(name.ljust(sizes[name]) for name in group)).rstrip()
        for at in benchmarks:
            line = "".join(cells[at, name].ljust(sizes[name]) for name in group)
            yield f"{titles[at].ljust(margin)}{line}".rstrip()


def _groups(names: Sequence[str], sizes: dict[str, int], room: int) -> Iterator[list[str]]:
    group: list[str] = []
    for name in names:
        if group and sum(sizes[each] for each in [*group, name]) - GAP > room:
            yield group
            group = []
        group.append(name)
    yield group


def as_json(found: Comparison) -> dict[str, Any]:
    """Every number, shares as shares; null where there is none."""
    return {
        "split": found.split,
        "baseline": found.spec.baseline,
        "level": found.spec.level,
        "correction": found.spec.correction,
        "seeds": list(found.seeds),
        "arms": list(found.columns),
        "rows": [_row(row) for row in found.rows],
        "notes": list(found.notes),
    }


def _row(row: Row) -> dict[str, Any]:
    level, difference = row.level, row.difference
    minus = {"mean": difference.mean, "low": difference.low, "high": difference.high, "p": difference.p}
    return {
        "benchmark": row.benchmark,
        "arm": row.arm,
        "metric": row.source.metric,
        "protocol": row.source.protocol,
        **_plain({"mean": level.mean, "sd": level.sd, "low": level.low, "high": level.high}),
        "difference": {**_plain(minus | {"p_adjusted": row.p_adjusted}), "stands": row.sure}
        if difference.n
        else None,
    }


def _plain(numbers: dict[str, float]) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in numbers.items()}
