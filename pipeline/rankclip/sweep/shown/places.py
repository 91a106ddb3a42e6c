"""Where the values of a searched key lie between its ends, 0 to 1, on the scale on which it is searched."""

from __future__ import annotations

import math
from typing import Any

from rankclip.sweep.shown import words
from rankclip.sweep.space import Choice, Distribution, LogUniform

NOT_SEARCHED = -0.2
"""Place of a trial under whose other values the key is not searched."""


def place(its: Distribution, value: Any) -> float:
    """Where a value lies; choices are equally far apart, in their order."""
    if isinstance(its, Choice):
        return (its.values.index(value) + 0.5) / len(its.values)
    if isinstance(its, LogUniform):
        return math.log(value / its.low) / math.log(its.high / its.low)
    return float((value - its.low) / (its.high - its.low))


def ticks(its: Distribution) -> list[tuple[float, str]]:
    """Places worth naming: every choice, of a range both ends and one between."""
    if isinstance(its, Choice):
        return [(place(its, value), words.value(value)) for value in its.values]
    middle = math.sqrt(its.low * its.high) if isinstance(its, LogUniform) else (its.low + its.high) / 2
    return [(place(its, value), f"{value:.3g}") for value in (its.low, middle, its.high)]
