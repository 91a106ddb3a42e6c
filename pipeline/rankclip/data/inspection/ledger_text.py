"""The ledger in words: what `rankclip data ledger` prints."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Collection, Sequence
from pathlib import Path

from rankclip import files
from rankclip.data import reasons as vocabulary
from rankclip.data.inspection import groups as grouping
from rankclip.data.inspection import listing, tally
from rankclip.data.inspection.groups import By
from rankclip.data.inspection.lines import aligned, outside, percent
from rankclip.data.inspection.tally import Tally
from rankclip.data.sources.expected import Expected, verdict

NEXT = "`rankclip repro` brings it up to date"


def counts(data: Path, name: str, expected: Expected | None, out: Path | None) -> list[str]:
    """Rows by reason, their sum, and whether as many survived as others got, once no more can fall out."""
    found = tally.of_study(data)
    header = ["reason", "stage", "rows", "share", "meaning"]
    known = defaultdict(
        str, {each.reason: each.meaning.partition(";")[0] for each in vocabulary.documented()}
    )
    table = [
        [line.reason, line.stage or "-", line.rows, percent(line.rows, found.rows), known[line.reason]]
        for line in found.lines
    ]
    total = ["sum", "", found.rows, percent(found.rows, found.rows), "equals the input rows"]
    lines = [
        f"{name}: {found.rows:,} input rows, {found.ok:,} ok",
        "",
        *aligned(header, [*table, total], {"rows", "share"}),
        "",
        *_flags(found),
    ]
    if found.missing:
        lines.append(f"Not run yet: {', '.join(found.missing)}; more rows may fall out. {NEXT}")
    else:
        lines.append(verdict(expected, found.rows, found.ok, found.indexed))
    if tally.is_behind(found, data):
        lines.append(f"The crawl has changed since curate ran; {NEXT}")
    return lines + _written(out, header, table)


def groups(data: Path, by: By, reasons: Collection[str], most: int, out: Path | None) -> list[str]:
    """The hosts, stages or tars that lose most rows, and why."""
    found = grouping.grouped(data, by, reasons, most)
    asked = ", ".join(sorted(reasons)) or "any reason"
    header = [by, "rows", "ok", "lost", "share lost", "reasons"]
    table = [
        [outside(each.name), each.rows, each.ok, each.lost, percent(each.lost, each.rows), _reasons(each)]
        for each in found.worst
    ]
    lines = [f"{len(table):,} of {found.losing:,} {by}s that lost rows with {asked}", ""]
    return [*lines, *aligned(header, table, set(header[1:5])), *_written(out, header, table)]


def examples(data: Path, reasons: Collection[str], most: int, out: Path | None) -> list[str]:
    """Some rows of certain reasons; with `out` all of them go there as CSV."""
    table = [
        [row["row"], row["reason"], outside(row["url"] or row["caption"]), outside(row["detail"])]
        for row in listing.examples(data, reasons, most)
    ]
    if not table:
        return [f"no row has {', '.join(sorted(reasons))}"]
    lines = aligned(["row", "reason", "url", "detail"], table, {"row"})
    return lines if out is None else [*lines, f"{out}: {listing.write_csv(data, reasons, out):,} rows"]


def vocabulary_lines() -> list[str]:
    """Every reason with its stage and meaning."""
    return aligned(["reason", "stage", "meaning"], vocabulary.documented(), ())


def _flags(found: Tally) -> list[str]:
    told = [f"{check} {rows:,} ({percent(rows, found.rows)})" for check, rows in found.flags.items() if rows]
    return [f"Checks that rows fail, removed or not: {', '.join(told)}"] if told else []


def _reasons(group: grouping.Group) -> str:
    return ", ".join(f"{reason} {rows:,}" for reason, rows in list(group.reasons.items())[:3])


def _written(out: Path | None, header: Sequence[str], table: Sequence[Sequence[object]]) -> list[str]:
    if out is None:
        return []
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([header, *table])
    files.write_text(out, text.getvalue())
    return [f"{out}: {len(table):,} lines"]
