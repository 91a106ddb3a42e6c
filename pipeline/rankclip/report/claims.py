"""Which differences are claimed: families of comparisons, each corrected for how many it has.

The headline is one comparison, chosen before any result, and needs no correction. Differences to the control
are read only after it (a fixed sequence). Everything else in the table of benchmarks is one family, and all
remaining metrics, which nobody set out to test, are another.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from rankclip.evaluation.statistics.correction import adjusted
from rankclip.report import labels
from rankclip.report.ablation import MEAN, Row
from rankclip.report.spec import ReportSpec

HEADLINE, BENCHMARKS, OTHERS, DESCRIBED = "headline", "benchmarks", "others", "described"

MAIN = frozenset(
    {
        f"{way}_{metric}"
        for way in ("image_to_text", "text_to_image")
        for metric in ("r1", "ndcg10", "map_at_r")
    }
    | {f"{kind}_spearman" for kind in ("image_image", "text_text", "image_text")}
    | {"mean_accuracy"}
)
"""Metrics worth a line each where a benchmark has no headline metric."""

BESIDE = frozenset({"one_caption", "crisscrossed_all_pairs"})
"""Protocols of metrics that another protocol has in the table of benchmarks already."""


def family(row: Row, spec: ReportSpec, averaged: Sequence[str]) -> str:
    """The family of a row.

    Args:
        averaged: the benchmarks of the headline.
    """
    metric, protocol = row.source
    headline = row.source == (spec.headline_metric, spec.headline_protocol)
    if labels.describes(row.source):
        return DESCRIBED
    if row.benchmark == MEAN:
        return HEADLINE if headline and row.arm == spec.treatment else BENCHMARKS
    main = row.benchmark not in averaged and metric in MAIN and protocol not in BESIDE
    return BENCHMARKS if headline or main else OTHERS


def judged(rows: Sequence[Row], spec: ReportSpec, averaged: Sequence[str]) -> list[Row]:
    """The rows with their families, corrected p-values, and whether each difference stands."""
    members: dict[str, list[int]] = defaultdict(list)
    for place, row in enumerate(rows):
        members[family(row, spec, averaged)].append(place)
    found = list(rows)
    for name, places in members.items():
        if name == DESCRIBED:
            for place in places:
                found[place] = replace(rows[place], family=name)
            continue
        p = adjusted([rows[place].difference.p for place in places], spec.correction)
        for place, value in zip(places, p, strict=True):
            stands = not math.isnan(value) and value < 1.0 - spec.level
            found[place] = replace(rows[place], family=name, p_adjusted=value, sure=stands)
    return found


def comparisons(rows: Sequence[Row], name: str) -> int:
    """How many comparisons a family has."""
    return sum(row.family == name and not math.isnan(row.difference.p) for row in rows)


def main(rows: Sequence[Row]) -> list[Row]:
    """The rows worth a line each."""
    return [row for row in rows if row.family in (HEADLINE, BENCHMARKS)]
