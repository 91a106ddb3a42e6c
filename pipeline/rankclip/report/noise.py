"""Warnings: every difference that a reader might take for a result and that the noise explains."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rankclip.evaluation.statistics.correction import Correction
from rankclip.evaluation.statistics.estimate import t_quantile
from rankclip.report import labels
from rankclip.report.ablation import MEAN, Row
from rankclip.report.claims import DESCRIBED, OTHERS, comparisons
from rankclip.report.examples import Measured
from rankclip.report.spec import ReportSpec

NAMES: dict[Correction, str] = {
    "holm": "Holm",
    "benjamini_hochberg": "Benjamini and Hochberg",
    "none": "none",
}
MOST = 8
"""Differences named in one warning."""


def warnings(
    rows: Sequence[Row], examples: Sequence[Measured], spec: ReportSpec, reference: str
) -> Iterator[str]:
    """One sentence a kind of noise.

    Args:
        rows: of `claims.judged`, differences to `reference`.
        examples: of `examples.measure`, with the same reference.
    """
    compared = [row for row in rows if row.arm != reference and row.family != DESCRIBED]
    if any(row.difference.n == 1 for row in compared):
        yield "One seed an arm: every difference may be the seed's, and none has an interval over seeds."
    if any(row.difference.degrees == 1 for row in compared):
        width, then = (t_quantile(0.5 + spec.level / 2, degrees) for degrees in (1, 2))
        yield (
            f"The spread between seeds is known from one degree of freedom, so intervals are {width:.1f} "
            f"standard errors wide on each side; a third seed or a third arm makes that {then:.1f}."
        )
    yield from _alone(compared, spec)
    yield from _unlike(compared)
    yield from _on_examples(compared, examples)


def _alone(rows: Sequence[Row], spec: ReportSpec) -> Iterator[str]:
    for family in dict.fromkeys(row.family for row in rows):
        found = [row for row in rows if row.family == family and row.alone]
        among = comparisons(rows, family)
        if found and family == OTHERS:
            yield (
                f"Of {labels.count(among, 'comparison')} of other metrics, {len(found)} "
                f"{_leave(found)} zero out alone and not after correction ({NAMES[spec.correction]}); "
                f"{_expected(among, spec)}."
            )
        elif found:
            yield (
                f"Of {labels.count(among, 'comparison')} on benchmarks, {_named(found)} {_leave(found)} zero "
                f"out alone and not after correction ({NAMES[spec.correction]}); {_expected(among, spec)}."
            )


def _leave(rows: Sequence[Row]) -> str:
    return "leaves" if len(rows) == 1 else "leave"


def _expected(among: int, spec: ReportSpec) -> str:
    return f"if nothing differed, {among * (1 - spec.level):.2g} would on average"


def _unlike(rows: Sequence[Row]) -> Iterator[str]:
    found = [row for row in rows if row.sure and row.difference.unlike]
    if found:
        yield (
            f"Sure by the spread of all arms, while these two vary more from seed to seed: {_named(found)}; "
            "the pooled interval may be too narrow, so look at p_alone in ablation.csv and at each seed."
        )


def _on_examples(rows: Sequence[Row], examples: Sequence[Measured]) -> Iterator[str]:
    over = {
        (each.arm, each.benchmark, each.metric): each.difference for each in examples if each.seed is None
    }
    found = [
        row
        for row in rows
        if row.sure
        and (row.arm, row.benchmark, row.metric) in over
        and over[row.arm, row.benchmark, row.metric].contains_zero
    ]
    if found:
        yield (
            f"Sure over seeds and inside the noise of test examples: {_named(found)}; other examples of the "
            "same kind could turn it."
        )


def _named(rows: Sequence[Row]) -> str:
    named = [
        f"{labels.arm(row.arm)} on {'the mean' if row.benchmark == MEAN else row.benchmark} "
        f"({labels.metric(row.source.metric)}, {labels.value(row.difference.mean, row.source, signed=True)})"
        for row in rows[:MOST]
    ]
    more = len(rows) - len(named)
    return "; ".join(named) + (f" and {more} more" if more > 0 else "")
