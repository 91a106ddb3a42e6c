"""The one comparison that a study is about, as numbers and as a sentence."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rankclip.evaluation.statistics import Estimate, mean_interval, paired_difference
from rankclip.report import labels
from rankclip.report.ablation import MEAN, Roles
from rankclip.report.scores import Cell
from rankclip.report.spec import ReportSpec


@dataclass(frozen=True)
class Headline:
    """The mean of the headline metric over its benchmarks.

    `arms`: the level of every arm; `difference`: treatment minus baseline; `control`: treatment minus
    control; both paired by seed and None where there is no such arm.
    """

    metric: str
    confidence: float
    benchmarks: tuple[str, ...]
    roles: Roles
    arms: Mapping[str, Estimate]
    difference: Estimate | None
    control: Estimate | None

    @property
    def subject(self) -> str:
        """What is averaged, in words."""
        name = "zero-shot top-1" if self.metric == "top1" else labels.metric(self.metric)
        return f"mean {name} over {labels.count(len(self.benchmarks), 'benchmark')}"

    def sentence(self) -> str:
        """The result with its intervals, and whether zero is inside them."""
        treatment, baseline = self.roles.treatment, self.roles.baseline
        if treatment is None or self.difference is None:
            level = self.arms[baseline]
            value = labels.percent(level.mean)
            return (
                f"{labels.arm(baseline)} reaches {value} % {self.subject} ({self._interval(level, False)})."
            )
        text = f"{_sentence_start(labels.arm(treatment))} minus {labels.arm(baseline)} is "
        text += f"{_points(self.difference)} of {self.subject} ({self._interval(self.difference, True)})"
        if self.roles.control is not None and self.control is not None:
            text += f"; {labels.arm(treatment)} minus the {_noun(self.roles.control)} is "
            text += f"{_points(self.control)} ({self._interval(self.control, True)})"
        return text + "."

    def verdict(self) -> str:
        """What follows from the intervals, in one plain sentence."""
        treatment, difference = self.roles.treatment, self.difference
        if treatment is None or difference is None:
            return "There is no second arm to compare with."
        if not difference.has_interval:
            return "One seed gives no interval, so nothing follows about the methods."
        name, baseline = _sentence_start(labels.arm(treatment)), labels.arm(self.roles.baseline)
        if difference.contains_zero:
            return f"The seeds do not show a difference between {name} and {baseline}."
        if difference.mean < 0:
            return f"{name} is worse than {baseline} here."
        if self.control is None or self.roles.control is None:
            return f"{name} is better than {baseline} here; without a control the reason stays open."
        if self.control.low > 0:
            return f"{name} is better than {baseline} and than the {_noun(self.roles.control)} here."
        return (
            f"{name} is better than {baseline} here but not shown to be better than the "
            f"{_noun(self.roles.control)}, so the gain is not evidence for the ranking itself."
        )

    def as_json(self) -> dict[str, Any]:
        """The numbers for `dvc metrics`; null where there is no interval."""
        return {
            "metric": self.metric,
            "n_benchmarks": len(self.benchmarks),
            "baseline": self.roles.baseline,
            "treatment": self.roles.treatment,
            "control": self.roles.control,
            f"mean_{self.metric}": {arm: _plain(level) for arm, level in self.arms.items()},
            "minus_baseline": _plain(self.difference),
            "minus_control": _plain(self.control),
        }

    def _interval(self, estimate: Estimate, about_zero: bool) -> str:
        if not estimate.has_interval:
            return f"{labels.count(estimate.n, 'seed')}, so no interval"
        text = f"{100 * self.confidence:g} % interval {labels.interval(estimate, about_zero)}, "
        text += labels.count(estimate.n, "paired seed" if about_zero else "seed")
        if not about_zero:
            return text
        return text + (", zero is inside" if estimate.contains_zero else ", zero is outside")


def headline(
    spec: ReportSpec,
    roles: Roles,
    values: Mapping[str, Mapping[Cell, Mapping[int, float]]],
    benchmarks: list[str],
) -> Headline:
    """The headline of a study.

    Args:
        values: of `ablation.with_means`.
        benchmarks: those averaged.
    """
    means = {arm: cells[MEAN, spec.headline_metric] for arm, cells in values.items()}

    def minus(other: str | None) -> Estimate | None:
        if roles.treatment is None or other is None:
            return None
        return paired_difference(means[roles.treatment], means[other], spec.level)

    return Headline(
        spec.headline_metric,
        spec.level,
        tuple(benchmarks),
        roles,
        {arm: mean_interval(list(by_seed.values()), spec.level) for arm, by_seed in means.items()},
        minus(roles.baseline),
        minus(roles.control),
    )


def _points(estimate: Estimate) -> str:
    return labels.percent(estimate.mean, signed=True) + " points"


def _plain(estimate: Estimate | None) -> dict[str, float | int | None] | None:
    if estimate is None:
        return None
    numbers = {"mean": estimate.mean, "low": estimate.low, "high": estimate.high}
    return {"n_seeds": estimate.n, **{k: v if math.isfinite(v) else None for k, v in numbers.items()}}


def _sentence_start(name: str) -> str:
    return name[:1].upper() + name[1:] if name in labels.PRETTY.values() else name


def _noun(control: str) -> str:
    name = labels.arm(control)
    return name if name != control else f"control {name}"
