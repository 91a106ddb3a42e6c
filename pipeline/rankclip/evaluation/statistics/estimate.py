"""A mean with its spread and Student's interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

ROUNDING = 1e-12
"""Differences of so small a share of the values are rounding, no spread."""


@dataclass(frozen=True)
class Estimate:
    """A mean with its spread.

    `n`: number of values; `mean`; `sd`: sample standard deviation (ddof 1); `low`, `high`: interval of the
    mean. What the values cannot tell is NaN: all but `mean` and `n` for one value, everything for none, the
    interval of values that do not vary, since they tell nothing of how others would.
    """

    n: int
    mean: float
    sd: float
    low: float
    high: float

    @property
    def has_interval(self) -> bool:
        """Whether there were enough values for an interval."""
        return math.isfinite(self.low) and math.isfinite(self.high)

    @property
    def contains_zero(self) -> bool:
        """Whether zero lies in the interval; False when there is no interval."""
        return self.low <= 0.0 <= self.high

    @property
    def excludes_zero(self) -> bool:
        """Whether there is an interval and zero lies outside."""
        return self.has_interval and not self.contains_zero


NOTHING = Estimate(0, math.nan, math.nan, math.nan, math.nan)


def mean_interval(values: Sequence[float], level: float = 0.95) -> Estimate:
    """Mean, standard deviation and t interval of independent values, such as one score a seed.

    The interval is mean +- t(1 - (1 - level)/2; n - 1) sd / sqrt(n). One value has none, nor have equal ones.

    Raises:
        ValueError: a value is not finite, or `level` is not inside (0, 1).
    """
    check_level(level)
    n = len(values)
    if n == 0:
        return NOTHING
    if not all(math.isfinite(value) for value in values):
        raise ValueError(f"values must be finite, got {list(values)}; find the run that produced the odd one")
    mean = math.fsum(values) / n
    if n == 1:
        return Estimate(1, mean, math.nan, math.nan, math.nan)
    if max(abs(value - mean) for value in values) <= rounding(max(map(abs, values))):
        return Estimate(n, mean, 0.0, math.nan, math.nan)
    sd = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1))
    half = t_quantile(0.5 + level / 2, n - 1) * sd / math.sqrt(n)
    return Estimate(n, mean, sd, mean - half, mean + half)


def t_quantile(probability: float, degrees: int) -> float:
    """Quantile of Student's t distribution with `degrees` degrees of freedom."""
    from scipy.special import stdtrit  # scipy.stats costs a second to import and adds nothing here

    return float(stdtrit(degrees, probability))


def rounding(largest: float) -> float:
    """How much values up to `largest` may seem to differ by rounding alone."""
    return ROUNDING * max(1.0, largest)


def check_level(level: float) -> None:
    """Refuses a confidence level that is none.

    Raises:
        ValueError: it is not inside (0, 1).
    """
    if not 0.0 < level < 1.0:
        raise ValueError(f"the confidence level must be inside (0, 1), got {level}")
