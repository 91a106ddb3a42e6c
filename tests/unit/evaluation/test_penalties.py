"""The search for the penalty of a logistic regression."""

from __future__ import annotations

import math

import pytest
import torch

from rankclip.evaluation.linear_layer import Linear
from rankclip.evaluation.logistic import Regression
from rankclip.evaluation.penalties import chosen, search
from tests.unit.evaluation.test_logistic import clusters


@pytest.mark.parametrize("place", [0, 1, 17, 40, 47, 48, 90, 96])
def test_fifteen_scores_find_the_peak_of_ninety_seven_penalties(place: int) -> None:
    tried: list[float] = []

    def score(penalty: float) -> tuple[float]:
        tried.append(penalty)
        return (-abs(math.log10(penalty) - (-6 + place / 8)),)

    assert search(score) == pytest.approx(10 ** (-6 + place / 8))
    assert len(tried) == len(set(tried)) <= 15


def test_of_equally_good_penalties_the_largest_is_taken() -> None:
    assert search(lambda penalty: (1.0 if penalty < 1e3 else 0.0,)) == pytest.approx(10 ** (3 - 1 / 8))


def test_the_chosen_penalty_is_as_good_as_the_best_of_a_grid() -> None:
    rows, labels = clusters(120, 20, 4)
    regression = Regression(rows[:60], labels[:60], 4)
    apart, own = rows[60:], labels[60:]

    def accuracy(fit: Linear) -> float:
        return float((fit.logits(apart).argmax(dim=1) == own).double().mean())

    every: list[float] = []
    fit = None
    for decade in range(6, -7, -1):
        fit = regression.fit(10**decade, fit, iterations=100, tolerance=1e-4)
        every.append(accuracy(fit))
    assert max(every) > min(every) + 0.05  # there is something to choose
    assert accuracy(regression.fit(chosen(regression, apart, own))) >= max(every)


def test_of_penalties_with_one_accuracy_the_surest_of_the_truth_is_chosen() -> None:
    rows = torch.tensor([[-1.0], [1.0]]).repeat(20, 1)
    labels = torch.tensor([0, 1]).repeat(20)
    regression = Regression(rows, labels, 2)
    assert chosen(regression, rows, labels) < 1e-4
