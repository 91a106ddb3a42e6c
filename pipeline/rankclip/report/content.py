"""Everything that a report shows, gathered and checked before the first file is written."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rankclip.data.inspection.tally import Tally
from rankclip.report import ablation
from rankclip.report.ablation import Roles, Row
from rankclip.report.contact_sheet import Thumbnail
from rankclip.report.examples import Measured
from rankclip.report.headline import Headline
from rankclip.report.runs import Run
from rankclip.report.scores import Scores, Subject


@dataclass(frozen=True)
class Content:
    """What the page and the tables are made from.

    `table`: differences to the baseline; `control`: the treatment's differences to the control, empty without
    one; `chance`: score of guessing by benchmark and metric, where it is known; `tally`: the ledger, counted;
    `card`: the data card as stored.
    """

    subject: Subject
    level: float
    roles: Roles
    scores: Scores
    headline: Headline
    table: Sequence[Row]
    control: Sequence[Row]
    chance: Mapping[tuple[str, str], float]
    examples: Sequence[Measured]
    runs: Sequence[Run]
    tally: Tally
    card: Mapping[str, Any]
    sheet: Sequence[Thumbnail]

    @property
    def main(self) -> list[Row]:
        """The rows worth a line each: the headline metric, or recall at 1 and nDCG where there is none."""
        with_headline = {*self.headline.benchmarks, ablation.MEAN}
        return [
            row
            for row in self.table
            if row.metric == self.headline.metric
            or (row.benchmark not in with_headline and _is_main(row.metric))
        ]


def _is_main(metric: str) -> bool:
    return "true_" not in metric and metric.endswith(("_r1", "_ndcg10"))


def chance_levels(benchmarks: Path, scores: Scores) -> dict[tuple[str, str], float]:
    """What guessing scores: k / classes for top-k, 1 / classes for the mean over classes.

    Args:
        benchmarks: the folder with `wds_<name>/classnames.txt`; sets without that file have no entry.
    """
    chance = {}
    for benchmark, metric in scores.cells:
        names = benchmarks / f"wds_{benchmark}" / "classnames.txt"
        places = _places(metric)
        if places and names.is_file():
            chance[benchmark, metric] = places / len(names.read_text(encoding="utf-8").splitlines())
    return chance


def _places(metric: str) -> int:
    """How many guesses a metric allows; 0 where guessing is not a matter of classes."""
    found = re.fullmatch(r"top(\d+)", metric)
    return int(found[1]) if found else int(metric == "mean_per_class")
