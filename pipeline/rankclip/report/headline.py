"""The one comparison that a study is about, as numbers; `verdict` has it in words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rankclip.evaluation.statistics.additive import Additive, Difference
from rankclip.evaluation.statistics.estimate import NOTHING, Estimate, mean_interval
from rankclip.evaluation.statistics.power import POWER, Detectable, detectable, seeds_needed
from rankclip.report import labels
from rankclip.report.ablation import MEAN, Roles, Values
from rankclip.report.spec import ReportSpec


@dataclass(frozen=True)
class Headline:
    """The mean of the headline metric over its benchmarks.

    `arms`: the level of every arm; `difference`: treatment minus baseline; `control`: treatment minus
    control; both of equal seeds, from the model of all arms, and None where there is no such arm.
    `on_examples`, `control_on_examples`: these over test examples; `least`: the smallest difference that is
    found; `needed`: seeds an arm that would find one of the size seen, None if too many or not known.
    """

    metric: str
    confidence: float
    benchmarks: tuple[str, ...]
    roles: Roles
    arms: Mapping[str, Estimate]
    difference: Difference | None
    control: Difference | None
    on_examples: Estimate
    control_on_examples: Estimate
    least: Detectable
    needed: int | None

    @property
    def subject(self) -> str:
        """What is averaged, in words."""
        name = "zero-shot top-1" if self.metric == "top1" else labels.metric(self.metric)
        return f"mean {name} over {labels.count(len(self.benchmarks), 'benchmark')}"

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
            "minus_baseline_over_examples": _interval_of(self.on_examples),
            "minus_control_over_examples": _interval_of(self.control_on_examples),
            "detectable": _number(self.least.least),
        }


def headline(
    spec: ReportSpec,
    roles: Roles,
    values: Values,
    model: Additive,
    benchmarks: list[str],
    on_examples: Estimate = NOTHING,
    control_on_examples: Estimate = NOTHING,
) -> Headline:
    """The headline of a study.

    Args:
        values: of `ablation.with_means`.
        model: of all arms' means.
        benchmarks: those averaged.
        on_examples: treatment minus baseline over test examples, where it was measured.
        control_on_examples: treatment minus control, likewise.
    """
    means = {arm: cells[MEAN, spec.headline_metric] for arm, cells in values.items()}

    def minus(other: str | None) -> Difference | None:
        if roles.treatment is None or other is None:
            return None
        return model.difference(roles.treatment, other, spec.level)

    difference, arms = minus(roles.baseline), len(model.arms)
    needed = None
    if difference is not None and difference.has_interval and difference.mean:
        needed = seeds_needed(difference.mean, model.sd, arms, POWER, spec.level)
    return Headline(
        spec.headline_metric,
        spec.level,
        tuple(benchmarks),
        roles,
        {arm: mean_interval(list(by_seed.values()), spec.level) for arm, by_seed in means.items()},
        difference,
        minus(roles.control),
        on_examples,
        control_on_examples,
        detectable(model.seeds, model.sd, arms, POWER, spec.level),
        needed,
    )


def _plain(estimate: Estimate | None) -> dict[str, float | int | None] | None:
    return None if estimate is None else {"n_seeds": estimate.n, **_interval_of(estimate)}


def _interval_of(estimate: Estimate) -> dict[str, float | None]:
    return {"mean": _number(estimate.mean), "low": _number(estimate.low), "high": _number(estimate.high)}


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
