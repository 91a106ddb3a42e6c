"""Corrections for many comparisons: p-values that may be held against one level together."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import Literal

Correction = Literal["holm", "benjamini_hochberg", "none"]


def adjusted(p: Sequence[float], method: Correction = "holm") -> list[float]:
    """The p-values of one family of comparisons, corrected, in their order; NaN is no comparison.

    `holm`: the chance of any false claim in the family stays at the level, whatever the dependence (Holm,
    Scandinavian Journal of Statistics 1979). `benjamini_hochberg`: the expected share of false ones among
    the claims does, for independent or positively dependent ones (Benjamini & Hochberg, JRSS B 1995).

    Raises:
        ValueError: a value is not in [0, 1].
    """
    places = sorted((place for place, value in enumerate(p) if not math.isnan(value)), key=lambda at: p[at])
    ascending = [p[place] for place in places]
    if ascending and not 0 <= ascending[0] <= ascending[-1] <= 1:
        raise ValueError(f"p-values must lie in [0, 1], got {list(p)}")
    corrected = list(p)
    for place, value in zip(places, METHODS[method](ascending), strict=True):
        corrected[place] = value
    return corrected


def _holm(ascending: Sequence[float]) -> list[float]:
    m = len(ascending)
    return [min(value, 1.0) for value in accumulate((q * (m - at) for at, q in enumerate(ascending)), max)]


def _benjamini_hochberg(ascending: Sequence[float]) -> list[float]:
    m = len(ascending)
    scaled = [q * m / (at + 1) for at, q in enumerate(ascending)]
    return list(accumulate(reversed(scaled), min))[::-1]


METHODS: Mapping[str, Callable[[Sequence[float]], Sequence[float]]] = {
    "holm": _holm,
    "benjamini_hochberg": _benjamini_hochberg,
    "none": list,
}
