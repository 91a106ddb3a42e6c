"""The L2 penalty of a logistic regression, chosen on rows set apart.

Radford et al., ICML 2021 (CLIP), appendix A.3.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional

from rankclip.evaluation.linear_layer import Linear
from rankclip.evaluation.logistic import Regression

DECADES = (-6, 6)
"""Penalties searched: 10^-6 to 10^6, in steps of an eighth of a decade."""
STEPS_A_DECADE = 8
FIRST_STEP = 2 * STEPS_A_DECADE
"""Steps between the penalties tried first: 10^-6, 10^-4, ..., 10^6."""

SEARCH_ITERATIONS = 200
"""Of fits that are only compared; `SEARCH_TOLERANCE` likewise."""
SEARCH_TOLERANCE = 1e-4


def chosen(regression: Regression, rows: Tensor, labels: Tensor) -> float:
    """The penalty whose classifier has the highest accuracy on `rows`; among equals, the lowest log loss."""
    fitted: dict[float, Linear] = {}

    def score(penalty: float) -> tuple[float, float]:
        larger = min((other for other in fitted if other > penalty), default=None)
        start = None if larger is None else fitted[larger]
        fitted[penalty] = regression.fit(penalty, start, SEARCH_ITERATIONS, SEARCH_TOLERANCE)
        logits = fitted[penalty].logits(rows)
        accuracy = float((logits.argmax(dim=1) == labels).double().mean())
        return accuracy, -float(functional.cross_entropy(logits, labels))

    return search(score)


def search(score: Callable[[float], tuple[float, ...]]) -> float:
    """The penalty of the highest `score`, sought as in CLIP, appendix A.3; of equal scores the larger one.

    First seven penalties two decades apart, then both neighbours of the best at half that distance, and so on
    down to an eighth of a decade: 15 scores in place of 97. Large penalties come first, neighbours follow.
    """
    last = (DECADES[1] - DECADES[0]) * STEPS_A_DECADE
    scores: dict[int, tuple[float, ...]] = {}

    def try_out(places: list[int]) -> int:
        for place in places:
            if 0 <= place <= last and place not in scores:
                scores[place] = score(10 ** (DECADES[0] + place / STEPS_A_DECADE))
        return max(scores, key=lambda place: (scores[place], place))

    best = try_out(list(range(last, -1, -FIRST_STEP)))
    step = FIRST_STEP // 2
    while step:
        best = try_out([best + step, best - step])
        step //= 2
    return 10 ** (DECADES[0] + best / STEPS_A_DECADE)
