"""The numbers of a comparison: levels, paired differences and corrected p-values, as the report has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from rankclip import files
from rankclip.compare.chosen import RESULTS, Column
from rankclip.errors import InputError
from rankclip.report import ablation, claims, noise, scores
from rankclip.report.ablation import MEAN, Row
from rankclip.report.scores import MEASURED, Scores, Source, Subject
from rankclip.report.spec import ReportSpec

MOST = 12
"""Metrics that an error names."""

Cells = Mapping[str, Mapping[tuple[str, str, str], Mapping[str, Any]]]
"""Of each column, by benchmark, metric and protocol, a row of its results."""


@dataclass(frozen=True)
class Comparison:
    """One metric of some columns."""

    columns: tuple[str, ...]
    spec: ReportSpec
    """With the baseline that differences are taken to."""
    split: str
    seeds: tuple[int, ...]
    """Those that all columns have."""
    rows: Sequence[Row]
    """Of every benchmark, their mean first, and column."""
    among: int
    """Comparisons for which p-values are corrected."""
    notes: Sequence[str]
    """What was left out and what to mind, a line each."""


def compare(
    columns: Sequence[Column],
    spec: ReportSpec,
    *,
    metric: str = "top1",
    split: str = "test",
    benchmarks: Sequence[str] = (),
) -> Comparison:
    """Compares what the columns have in common: seeds, and sets that were measured alike.

    Args:
        spec: of the report; its baseline is a column.
        metric: as the report names it.
        benchmarks: those to compare; none: all.

    Raises:
        DataError: results are damaged or incomplete.
        InputError: nothing is in common, or a benchmark or metric does not exist.
    """
    import pyarrow as pa

    rows = {each.name: _rows(each, split) for each in columns}
    seeds, notes = _seeds(rows)
    kept, left = _alike(rows, benchmarks)
    common = [row for of in rows.values() for row in of if row["seed"] in seeds and _key(row) in kept]
    subject = Subject("these", "", False, seeds, tuple(rows))
    table = pa.Table.from_pylist(common)
    measured = scores.read_scores(table, subject, spec.headline_protocol, split)
    _require(metric, split, measured)
    if metric in get_args(ReportSpec.model_fields["headline_metric"].annotation):
        spec = spec.model_copy(update={"headline_metric": metric})
    judged = _judged(measured, spec)
    shown = [row for row in judged if row.metric == metric]
    if len({row.benchmark for row in shown}) == 2:  # a mean of one
        shown = [row for row in shown if row.benchmark != MEAN]
    families = {row.family for row in shown if row.family}
    others = [row for row in judged if row.family in families]
    sources = {tuple(row.source) for row in shown}
    reasons = dict.fromkeys(line for key, line in left.items() if key[1:] in sources)
    notes += [f"Left out: {'; '.join(reasons)}."] if reasons else []
    notes += noise.warnings(others, [], spec, spec.baseline)
    among = sum(claims.comparisons(judged, name) for name in families - {claims.HEADLINE})
    return Comparison(tuple(rows), spec, split, seeds, shown, among, notes)


def _require(metric: str, split: str, measured: Scores) -> None:
    """Raises InputError: there is no such metric."""
    known = list(dict.fromkeys(name for _, name in measured.cells))
    if metric not in known:
        near = [name for name in known if metric in name] or known
        more = f" and {len(near) - MOST} more" if len(near) > MOST else ""
        raise InputError(
            f"--metric {metric!r} is not among the scores of the {split} split; choose "
            f"{', '.join(map(repr, near[:MOST]))}{more}"
        )


def _judged(measured: Scores, spec: ReportSpec) -> list[Row]:
    headline = Source(spec.headline_metric, spec.headline_protocol)
    averaged = [benchmark for (benchmark, _), source in measured.sources.items() if source == headline]
    values = ablation.with_means(measured, spec)
    rows = ablation.rows(values, ablation.fits(values), measured, spec, spec.baseline)
    return claims.judged(rows, spec, averaged)


def _key(row: Mapping[str, Any]) -> tuple[str, str, str]:
    return row["benchmark"], row["metric"], row["protocol"]


def _rows(column: Column, split: str) -> list[dict[str, Any]]:
    """A column's results on a split, under its name."""
    remedy = "run `rankclip repro`, or score it again with `rankclip evaluate`"
    table = files.read_table(column.path / RESULTS, scores.COLUMNS, remedy).to_pylist()
    own = [row for row in table if row["arm"] == column.arm and row["split"] == split]
    found = [row | {"arm": column.name} for row in own if column.seeds is None or row["seed"] in column.seeds]
    if not found:
        seeds = "" if column.seeds is None else f" of seed {', '.join(map(str, sorted(column.seeds)))}"
        raise InputError(f"{column.path / RESULTS} has no scores of {column.arm}{seeds} on the {split} split")
    return found


def _seeds(rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> tuple[tuple[int, ...], list[str]]:
    """The seeds of all columns, and a line on those that are left out."""
    of = {name: {row["seed"] for row in own} for name, own in rows.items()}
    common = set.intersection(*of.values())
    told = "; ".join(f"{name} has {', '.join(map(str, sorted(seeds)))}" for name, seeds in of.items())
    if not common:
        raise InputError(
            f"no seed is common to all, so nothing can be paired: {told}; name runs of equal seeds"
        )
    extra = set.union(*of.values()) - common
    return tuple(sorted(common)), [f"Only seeds that all have are compared: {told}."] if extra else []


def _alike(
    rows: Mapping[str, Sequence[Mapping[str, Any]]], benchmarks: Sequence[str]
) -> tuple[set[tuple[str, str, str]], dict[tuple[str, str, str], str]]:
    """What all columns have and measured alike; and of the rest a line why it is left out."""
    cells: Cells = {name: {_key(row): row for row in own} for name, own in rows.items()}
    every = list(dict.fromkeys(key for own in cells.values() for key in own))
    known = list(dict.fromkeys(benchmark for benchmark, _, _ in every))
    unknown = [name for name in benchmarks if name not in known]
    if unknown:
        raise InputError(f"--benchmarks: {', '.join(unknown)} is not scored here; choose {', '.join(known)}")
    asked = [key for key in every if not benchmarks or key[0] in benchmarks]
    left = {key: why for key in asked if (why := _unlike(key, cells))}
    kept = set(asked) - set(left)
    if not kept:
        told = "; ".join({key[0]: why for key, why in left.items()}.values())
        raise InputError(
            f"nothing can be paired: {told}; compare arms of one study, or score them on the same sets"
        )
    return kept, left


def _unlike(key: tuple[str, str, str], cells: Cells) -> str:
    """Why the columns cannot be compared there; empty where they can."""
    lack = [name for name, own in cells.items() if key not in own]
    if lack:
        return f"{key[0]}, of which {', '.join(lack)} has no score"
    for column, words in MEASURED.items():
        found: dict[str, list[str]] = {}
        for name, own in cells.items():
            found.setdefault(str(own[key][column]), []).append(name)
        if len(found) > 1:
            told = ", ".join(f"{value} {' and '.join(names)}" for value, names in found.items())
            return f"{key[0]}, not of the same {words} ({told})"
    return ""
