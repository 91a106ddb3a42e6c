"""What seeds can show: the smallest difference that a study finds, and how many seeds a difference takes."""

from __future__ import annotations

import math
from typing import NamedTuple

from rankclip.evaluation.statistics.estimate import t_quantile

POWER, LEVEL = 0.8, 0.95

MOST_SEEDS = 1000


class Detectable(NamedTuple):
    """The smallest difference that is found, at the measured spread and at the ends of its interval."""

    least: float
    low: float
    high: float


def smallest_difference(
    seeds: int, sd: float, power: float = POWER, level: float = LEVEL, arms: int = 2
) -> float:
    """The true mean difference of two arms that a t-test over seeds finds with this probability.

    With S seeds and the variance pooled over A arms, t has (A - 1)(S - 1) degrees of freedom and, at a true
    difference d, noncentrality d sqrt(S) / sd. Two arms make the paired t-test; one seed finds nothing (inf).

    Args:
        seeds: S.
        sd: standard deviation of the difference of two arms at one seed.
        power: probability of finding it.
        level: of the two-sided test's confidence.
        arms: A.
    """
    from scipy.special import nctdtrinc  # scipy.stats costs a second to import and adds nothing here

    degrees = (arms - 1) * (seeds - 1)
    if degrees < 1:
        return math.inf
    critical = t_quantile(0.5 + level / 2, degrees)
    return float(nctdtrinc(degrees, 1.0 - power, critical)) * sd / math.sqrt(seeds)


def detectable(
    seeds: int, sd: float, arms: int, power: float = POWER, level: float = LEVEL, comparisons: int = 1
) -> Detectable:
    """The smallest difference found where `sd` was itself measured on these arms and seeds.

    The interval is that of the standard deviation, by chi-square at `level`.

    Args:
        comparisons: of how many this is one; the first step of Holm's correction tests at so much smaller a
            level.
    """
    from scipy.special import chdtri

    degrees = (arms - 1) * (seeds - 1)
    if degrees < 1 or not sd > 0.0:
        return Detectable(math.nan, math.nan, math.nan)
    least = smallest_difference(seeds, sd, power, 1.0 - (1.0 - level) / comparisons, arms)
    below, above = (
        math.sqrt(degrees / float(chdtri(degrees, tail))) for tail in (0.5 - level / 2, 0.5 + level / 2)
    )
    return Detectable(least, least * below, least * above)


def seeds_needed(
    difference: float, sd: float, arms: int = 2, power: float = POWER, level: float = LEVEL
) -> int | None:
    """The fewest seeds an arm with which a study finds this true difference; None beyond `MOST_SEEDS`.

    Args:
        difference: of two arms.
        sd: of the difference of two arms at one seed.
    """

    def shows(seeds: int) -> bool:
        return smallest_difference(seeds, sd, power, level, arms) <= abs(difference)

    low, high = 1, MOST_SEEDS
    if not shows(high):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if shows(middle) else (middle, high)
    return high
