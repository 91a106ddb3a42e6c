"""Means over test examples with percentile bootstrap intervals (Efron, Annals of Statistics 1979).

Examples that come together, such as the captions of one image, are resampled together: as if they were
independent, their interval would be too narrow.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rankclip.evaluation.statistics.estimate import NOTHING, Estimate, check_level

DRAWS = 2000
CELLS = 2**17
"""Examples times draws that are gathered at once: 3 MB, which stay in the cache."""

FEW = 16
"""Examples a distinct value from which on values are counted and not gathered."""

Values = Sequence[float] | NDArray[np.float64]


def bootstrap_interval(
    values: Values,
    seed: int,
    level: float = 0.95,
    draws: int = DRAWS,
    clusters: NDArray[np.int64] | None = None,
) -> Estimate:
    """Mean of per-example values with its interval over examples.

    Values that are all equal have no interval: a resample cannot hold what was never seen.

    Args:
        values: one number a test example, such as 1.0 for a right prediction.
        seed: of the resampling; equal seeds give equal intervals.
        draws: number of resamples.
        clusters: `[N]`, the group of each example; none where each stands alone.

    Raises:
        ValueError: a value is not finite, or `level` is not inside (0, 1).
    """
    check_level(level)
    array = np.asarray(values, dtype=np.float64)
    n = len(array)
    if n == 0:
        return NOTHING
    means = bootstrap_means(array, seed, draws, clusters)
    sd = float(array.std(ddof=1)) if n > 1 else math.nan
    return interval_of(means, n, float(array.mean()), sd, level)


def interval_of(means: NDArray[np.float64], n: int, mean: float, sd: float, level: float) -> Estimate:
    """The estimate whose resampled means `[draws]` are these; without interval where they do not vary."""
    low, high = (float(each) for each in np.quantile(means, [0.5 - level / 2, 0.5 + level / 2]))
    if not means.max() > means.min():
        low = high = math.nan
    return Estimate(n, mean, sd, low, high)


def bootstrap_means(
    values: NDArray[np.float64], seed: int, draws: int = DRAWS, clusters: NDArray[np.int64] | None = None
) -> NDArray[np.float64]:
    """Means `[draws]` of resamples of `values` `[N]`, whole clusters at a time.

    Raises:
        ValueError: a value is not finite.
    """
    if not np.isfinite(values).all():
        raise ValueError("per-example values must be finite; evaluate the run again")
    groups = _groups(values, clusters)
    kinds, counts = np.unique(groups, return_counts=True)
    generator = np.random.default_rng(seed)
    if FEW * len(kinds) <= len(groups):
        # how often each distinct value is drawn is multinomial: the same distribution, without the indices
        totals = generator.multinomial(len(groups), counts / len(groups), size=draws) @ kinds
    else:
        totals = _gathered(groups, generator, draws)
    means: NDArray[np.float64] = totals.real / totals.imag
    return means


def _groups(values: NDArray[np.float64], clusters: NDArray[np.int64] | None) -> NDArray[np.complex128]:
    """Sum and size of each cluster `[G]`, as one complex number: it is sorted and added as the pair is."""
    if clusters is None:
        return np.asarray(values + 1j, dtype=np.complex128)
    _, group = np.unique(clusters, return_inverse=True)
    sums: NDArray[np.complex128] = np.bincount(group, weights=values) + 1j * np.bincount(group)
    return sums


def _gathered(
    groups: NDArray[np.complex128], generator: np.random.Generator, draws: int
) -> NDArray[np.complex128]:
    n = len(groups)
    rows = max(1, CELLS // n)
    return np.concatenate(
        [
            groups.take(generator.integers(0, n, (min(rows, draws - start), n))).sum(axis=1)
            for start in range(0, draws, rows)
        ]
    )
