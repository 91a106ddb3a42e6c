"""The arms against each other: over seeds, corrected for many comparisons, and over examples."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from rankclip.evaluation.statistics.additive import Additive
from rankclip.report import ablation, claims, examples, headline, items
from rankclip.report.ablation import MEAN, Roles, Row
from rankclip.report.examples import Measured
from rankclip.report.headline import Headline
from rankclip.report.scores import Cell, Scores, Subject
from rankclip.report.spec import ReportSpec


class Compared(NamedTuple):
    """What a comparison found; `control` is empty where there is no control."""

    models: Mapping[Cell, Additive]
    table: list[Row]
    control: list[Row]
    examples: list[Measured]
    headline: Headline


def compare(spec: ReportSpec, roles: Roles, subject: Subject, measured: Scores, results: Path) -> Compared:
    """Every comparison over seeds, corrected, and those of the table of benchmarks over examples too.

    Args:
        results: holds `<arm>/predictions.parquet`.

    Raises:
        DataError: predictions are missing, damaged or do not give the scores.
    """
    averaged = ablation.headline_benchmarks(measured, spec)
    values = ablation.with_means(measured, spec)
    models = ablation.fits(values)
    rows = ablation.rows(values, models, measured, spec, roles.baseline)
    table, control = claims.judged(rows, spec, averaged), []
    if roles.control and roles.treatment:
        rows = ablation.rows(values, models, measured, spec, roles.control, [roles.treatment])
        control = claims.judged(rows, spec, averaged)
    shown = [
        cell for cell in measured.cells if cell in {(row.benchmark, row.metric) for row in claims.main(table)}
    ]
    found = items.read_items(results, subject, measured, shown)
    over = examples.measure(found, subject, measured, spec, roles.baseline)
    mean = (MEAN, spec.headline_metric)
    on_examples = [
        examples.mean_difference(roles.treatment, other, mean, found, measured, spec)
        for other in (roles.baseline, roles.control)
    ]
    said = headline.headline(spec, roles, values, models[mean], averaged, *on_examples)
    return Compared(models, table, control, over, said)
