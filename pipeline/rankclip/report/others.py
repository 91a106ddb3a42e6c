"""The section of the page with other people's published numbers beside ours."""

from __future__ import annotations

from rankclip.evaluation.published import Published
from rankclip.report import labels
from rankclip.report.content import Content
from rankclip.report.markup import cell, folded, note, section, table, text
from rankclip.report.scores import Cell

WORDS = (
    "What others published of benchmarks that are measured here, and what their protocol does otherwise. "
    "Other data, models and schedules make most of the distance: a method is compared with the arms above."
)


def published(content: Content) -> str:
    """One row a published number; nothing where none is known of any benchmark."""
    if not content.published:
        return ""
    best: dict[Cell, float] = {}
    for row in content.table:
        cell_of = (row.benchmark, row.metric)
        best[cell_of] = max(row.level.mean, best.get(cell_of, row.level.mean))
    lines = "".join(_line(each, best[ours]) for ours, each in content.published)
    header = ["benchmark", "metric", "whose", "their protocol", "source", "theirs", "ours, best arm"]
    body = f'<tbody class="set">{lines}</tbody>'
    return section("Published values", note(WORDS), folded("Show them", table(header, [body], 5, "thin")))


def _line(each: Published, ours: float) -> str:
    theirs = f"other people's: {each.theirs}" if each.theirs else "as ours"
    return (
        f'<tr><th scope="row">{text(each.benchmark)}</th>'
        + cell(text(f"{labels.metric(each.metric)}, {labels.protocol(each.protocol)}"))
        + cell(text(each.label + (f" ({each.note})" if each.note else "")))
        + cell(text(theirs))
        + cell(text(each.source))
        + cell(labels.percent(each.value), "n")
        + cell(labels.percent(ours), "n")
        + "</tr>"
    )
