"""Estimates with their uncertainty: over seeds by Student's t, over test examples by the bootstrap.

The unit of replication of a study is the seed: a claim about a method needs the interval over seeds. The
bootstrap over examples tells how well one trained model is measured, which is another question; the two are
never mixed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Estimate:
    """A mean with its spread.

    `n`: number of values; `mean`; `sd`: sample standard deviation (ddof 1); `low`, `high`: interval of the
    mean. What the values cannot tell is NaN: all but `mean` and `n` for one value, everything for none.
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


NOTHING = Estimate(0, math.nan, math.nan, math.nan, math.nan)


def mean_interval(values: Sequence[float], level: float = 0.95) -> Estimate:
    """Mean, standard deviation and t interval of independent values, such as one score a seed.

    The interval is mean +- t(1 - (1 - level)/2; n - 1) sd / sqrt(n). One value has no interval.

    Raises:
        ValueError: a value is not finite, or `level` is not inside (0, 1).
    """
    _check_level(level)
    n = len(values)
    if n == 0:
        return NOTHING
    if not all(math.isfinite(value) for value in values):
        raise ValueError(f"values must be finite, got {list(values)}; find the run that produced the odd one")
    mean = math.fsum(values) / n
    if n == 1:
        return Estimate(1, mean, math.nan, math.nan, math.nan)
    sd = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1))
    half = t_quantile(0.5 + level / 2, n - 1) * sd / math.sqrt(n)
    return Estimate(n, mean, sd, mean - half, mean + half)


def paired_difference(
    treatment: Mapping[int, float], baseline: Mapping[int, float], level: float = 0.95
) -> Estimate:
    """Treatment minus baseline over the seeds that both have, with the t interval of the paired differences.

    Pairing by seed removes what equal seeds share: initial weights, order of the data.

    Args:
        treatment: value by seed.
        baseline: value by seed.
    """
    seeds = sorted(treatment.keys() & baseline.keys())
    return mean_interval([treatment[seed] - baseline[seed] for seed in seeds], level)


def bootstrap_interval(
    values: Sequence[float] | NDArray[np.float64], seed: int, level: float = 0.95, draws: int = 2000
) -> Estimate:
    """Mean of one run's per-example values with the percentile bootstrap interval over examples.

    Args:
        values: one number a test example, such as 1.0 for a right prediction.
        seed: of the resampling; equal seeds give equal intervals.
        draws: number of resamples.

    Raises:
        ValueError: a value is not finite, or `level` is not inside (0, 1).
    """
    _check_level(level)
    array = np.asarray(values, dtype=np.float64)
    n = len(array)
    if n == 0:
        return NOTHING
    if not np.isfinite(array).all():
        raise ValueError("per-example values must be finite; evaluate the run again")
    mean = float(array.mean())
    if n == 1:
        return Estimate(1, mean, math.nan, math.nan, math.nan)
    generator = np.random.default_rng(seed)
    means = np.array([array[generator.integers(0, n, n)].mean() for _ in range(draws)])
    low, high = np.quantile(means, [0.5 - level / 2, 0.5 + level / 2])
    return Estimate(n, mean, float(array.std(ddof=1)), float(low), float(high))


def t_quantile(probability: float, degrees: int) -> float:
    """Quantile of Student's t distribution with `degrees` degrees of freedom."""
    from scipy.special import stdtrit  # scipy.stats costs a second to import and adds nothing here

    return float(stdtrit(degrees, probability))


def _check_level(level: float) -> None:
    if not 0.0 < level < 1.0:
        raise ValueError(f"the confidence level must be inside (0, 1), got {level}")
