"""What an evaluation yields: metrics, and what each item contributed to them. Plain values, no files."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rankclip.data.benchmarks.content import SplitName

if TYPE_CHECKING:
    from torch import Tensor  # importing it costs seconds, and who only reads results needs none

ZERO_SHOT = "zero_shot"
"""Protocol of zero-shot classification; `mean` top-1 averages over the benchmarks measured under it."""


@dataclass(frozen=True)
class Items:
    """Per item (image, or caption where captions are the queries) in the order of the files: `[N]` each."""

    target: Tensor
    """int64: the label, or the number of the item's (first) own image or caption."""
    prediction: Tensor
    """int64: the label, image or caption that the model puts first."""
    value: Tensor
    """float64: the item's contribution; the mean over items is the metric."""


@dataclass(frozen=True)
class Measured:
    """One metric under one protocol: a share, of which more is better, but for some.

    Less is better of `median_rank` (a place, from 1) and `mistake_severity` (a height in a tree of classes);
    what is measured of the geometry of a space only describes it.
    """

    metric: str
    protocol: str
    value: float
    items: Items | None = None
    """Given for the metrics that paired statistics are made from."""

    @classmethod
    def mean(cls, metric: str, protocol: str, items: Items) -> Measured:
        """The metric that is the mean of its items."""
        return cls(metric, protocol, float(items.value.mean()), items)


@dataclass(frozen=True)
class Row:
    """One number: a metric of a model on one split of a benchmark."""

    benchmark: str
    split: SplitName
    measured: Measured
    data_digest: str
    """Digest of the split's images, labels, captions and gains; for a probe also of what it learned on."""
    classes_digest: str = ""
    """Digest of the class names."""
    templates_digest: str = ""
    """Digest of the prompts."""


@dataclass(frozen=True)
class Scores:
    """All numbers of one model on a suite."""

    rows: list[Row] = field(default_factory=list)

    def value(self, benchmark: str, metric: str, split: SplitName) -> float:
        """One number.

        Raises:
            KeyError: it was not measured.
        """
        for row in self.rows:
            if (row.benchmark, row.measured.metric, row.split) == (benchmark, metric, split):
                return row.measured.value
        raise KeyError(f"{metric} of {benchmark} on {split} was not measured")

    def __add__(self, other: Scores) -> Scores:
        return Scores(self.rows + other.rows)
