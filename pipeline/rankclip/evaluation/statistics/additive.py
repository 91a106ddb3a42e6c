"""Differences between arms from one model of all of them: score = arm + seed + residual.

Equal seeds share initial weights and order of the data, so the seed's effect is common to all arms and drops
out of every difference. What is left, the residual, has one variance, estimated from all A arms and S seeds
together with (A - 1)(S - 1) degrees of freedom (the two-way layout without interaction; Scheffe, The Analysis
of Variance, 1959, chapter 4). Three seeds of three arms then count four degrees where a paired t-test counts
two, and Student's factor falls from 4.3 to 2.8. For two arms it is the paired t-test itself.

Where a compared arm varies more than the rest, the pooled interval is too narrow. No rule mends that at a
price worth paying, since an arm's own spread is known from its own seeds alone: of eight arms and three
seeds, one arm of twice the spread, 13 of 100 null differences are claimed; 4 by the paired test, which finds
39 of 100 true ones among equal arms where the pooled one finds 80; 2 by the larger p of both, which finds 36;
11 by the paired test where `unlike`, which finds 76 (`bench/results/statistics.json`). So `p` is pooled, and
`unlike` and `p_alone` stand beside it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rankclip.evaluation.statistics.estimate import Estimate, check_level, rounding, t_quantile

UNLIKE = 0.05
"""Chance that two arms of the variance of all are called unlike."""


@dataclass(frozen=True)
class Difference(Estimate):
    """Of two arms: `n` seeds, `sd` of a seed's difference under the pooled variance, interval of the mean.

    Without an interval, `p` is NaN.
    """

    degrees: int
    """Of freedom, of the pooled variance."""
    p: float
    """Two-sided, of no difference."""
    p_alone: float
    """The same by the paired t-test of these two arms alone, which needs no equal variances; NaN where they
    differ alike at every seed.
    """
    unlike: bool
    """Whether these two arms differ more from seed to seed than the others let expect (F test at `UNLIKE`).

    The pooled interval is then too narrow for them.
    """


NO_DIFFERENCE = Difference(0, math.nan, math.nan, math.nan, math.nan, 0, math.nan, math.nan, False)


@dataclass(frozen=True)
class Correlation:
    """Share of the variance of a score that arms of equal seed have in common, with its interval.

    NaN where it cannot be told; negative where equal seeds differ more than others.
    """

    value: float
    low: float
    high: float


UNKNOWN = Correlation(math.nan, math.nan, math.nan)


@dataclass(frozen=True)
class Additive:
    """The fitted model of A arms and S seeds."""

    arms: tuple[str, ...]
    scores: NDArray[np.float64]
    """`[A, S]`."""
    variance: float
    """Of a residual; NaN where there are no degrees of freedom, 0 where the scores do not vary."""

    @property
    def seeds(self) -> int:
        """S."""
        return int(self.scores.shape[1])

    @property
    def degrees(self) -> int:
        """Degrees of freedom of `variance`."""
        return (len(self.arms) - 1) * (self.seeds - 1)

    @property
    def sd(self) -> float:
        """Standard deviation of the difference of two arms at one seed."""
        return math.sqrt(2.0 * self.variance)

    def difference(self, arm: str, reference: str, level: float = 0.95) -> Difference:
        """`arm` minus `reference` with its t interval.

        Raises:
            ValueError: `level` is not inside (0, 1).
        """
        from scipy.special import stdtr

        check_level(level)
        own = self.scores[self.arms.index(arm)] - self.scores[self.arms.index(reference)]
        mean = math.fsum(own) / self.seeds
        # scores that do not vary at all tell nothing of how they would
        if not self.variance > 0.0:
            none = math.nan
            return Difference(self.seeds, mean, self.sd, none, none, self.degrees, none, none, False)
        error = self.sd / math.sqrt(self.seeds)
        half = t_quantile(0.5 + level / 2, self.degrees) * error
        p = 2.0 * float(stdtr(self.degrees, -abs(mean) / error))
        low, high = mean - half, mean + half
        squares = float(((own - mean) ** 2).sum())
        alone = math.nan
        if abs(own - mean).max() > rounding(float(abs(self.scores).max())):
            ratio = abs(mean) / math.sqrt(squares / (self.seeds - 1) / self.seeds)
            alone = 2.0 * float(stdtr(self.seeds - 1, -ratio))
        unlike = self._unlike(squares / 2.0)
        return Difference(self.seeds, mean, self.sd, low, high, self.degrees, p, alone, unlike)

    def _unlike(self, squares: float) -> bool:
        """Whether one contrast's share of the residual sum of squares is too large beside the rest of it."""
        from scipy.special import fdtrc

        degrees = self.degrees - (self.seeds - 1)
        rest = self.variance * self.degrees - squares
        if degrees < 1 or not rest > 0.0:
            return False
        ratio = (squares / (self.seeds - 1)) / (rest / degrees)
        return bool(fdtrc(self.seeds - 1, degrees, ratio) < UNLIKE)

    def seed_correlation(self, level: float = 0.95) -> Correlation:
        """Intraclass correlation ICC(3,1) of scores with equal seed, and its F interval.

        Shrout & Fleiss, Psychological Bulletin 1979. Differences of equal seeds vary 1 / (1 - correlation)
        times less than differences of others.
        """
        from scipy.special import fdtri

        if not self.variance > 0.0:
            return UNKNOWN
        arms, seeds = self.scores.shape
        ratio = arms * float(self.scores.mean(axis=0).var(ddof=1)) / self.variance
        upper = float(fdtri(seeds - 1, self.degrees, 0.5 + level / 2))
        lower = float(fdtri(seeds - 1, self.degrees, 0.5 - level / 2))
        return Correlation(*((f - 1) / (f + arms - 1) for f in (ratio, ratio / upper, ratio / lower)))


def fit(scores: Mapping[str, Mapping[int, float]]) -> Additive:
    """The model of scores by arm and seed, from the seeds that all arms have.

    Raises:
        ValueError: there is no arm, no common seed, or a score is not finite.
    """
    common = sorted(set.intersection(*(set(by_seed) for by_seed in scores.values()))) if scores else []
    if not common:
        raise ValueError("no seed is common to all arms, so nothing can be compared; train the missing runs")
    table = np.array([[by_seed[seed] for seed in common] for by_seed in scores.values()], dtype=np.float64)
    if not np.isfinite(table).all():
        raise ValueError("scores must be finite; find the run that produced the odd one")
    residuals = table - table.mean(axis=1, keepdims=True) - table.mean(axis=0) + table.mean()
    degrees = (table.shape[0] - 1) * (table.shape[1] - 1)
    variance = math.nan
    if degrees:
        tiny = bool(abs(residuals).max() <= rounding(float(abs(table).max())))
        variance = 0.0 if tiny else float((residuals**2).sum()) / degrees
    return Additive(tuple(scores), table, variance)
