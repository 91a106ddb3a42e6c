"""Everything that a report shows, gathered and checked before the first file is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rankclip.data.inspection.tally import Tally
from rankclip.evaluation.published import Published
from rankclip.report import claims
from rankclip.report.ablation import Roles, Row
from rankclip.report.contact_sheet import Thumbnail
from rankclip.report.examples import Measured
from rankclip.report.headline import Headline
from rankclip.report.precision import Precision
from rankclip.report.runs import Run
from rankclip.report.scores import MAY_LACK, Cell, Scores, Subject
from rankclip.report.sets import Sets
from rankclip.report.spec import ReportSpec


@dataclass(frozen=True)
class Content:
    """What the page and the tables are made from.

    `table`: differences to the baseline; `control`: the treatment's differences to the control, empty without
    one; `chance`: score of guessing by benchmark and metric, where it is known; `published`: other people's
    numbers of the cells that are measured here; `warnings`: what is inside the noise; `tally`: the ledger,
    counted; `card`: the data card as stored.
    """

    subject: Subject
    spec: ReportSpec
    roles: Roles
    scores: Scores
    sets: Sets
    headline: Headline
    table: Sequence[Row]
    control: Sequence[Row]
    chance: Mapping[tuple[str, str], float]
    examples: Sequence[Measured]
    precision: Sequence[Precision]
    published: Sequence[tuple[Cell, Published]]
    warnings: Sequence[str]
    runs: Sequence[Run]
    tally: Tally
    card: Mapping[str, Any]
    sheet: Sequence[Thumbnail]

    @property
    def main(self) -> list[Row]:
        """The rows worth a line each: the headline metric, or what stands in for it."""
        return claims.main(self.table)

    @property
    def lacking(self) -> list[str]:
        """What was left out because some run has no value of it, a line each."""
        return [
            f"{benchmark}: {name.replace('_', ' ')} {MAY_LACK[name]}, so it is not compared"
            for benchmark, name in self.scores.lacking
        ]

    @property
    def confidence(self) -> str:
        """What an interval is called."""
        return f"{100 * self.spec.level:g} % interval"
