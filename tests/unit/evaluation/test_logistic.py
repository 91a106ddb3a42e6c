"""Logistic regression against scikit-learn's."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from rankclip.evaluation.logistic import Regression


def clusters(count: int, dimensions: int, classes: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Overlapping clusters in strongly correlated, shifted dimensions, as image features are."""
    drawing = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % classes
    centres = torch.randn(classes, dimensions, generator=drawing, dtype=torch.float64)
    rows = centres[labels] + 2 * torch.randn(count, dimensions, generator=drawing, dtype=torch.float64)
    mixing = torch.randn(dimensions, dimensions, generator=drawing, dtype=torch.float64)
    mixing *= torch.logspace(0, -2, dimensions, dtype=torch.float64)
    return rows @ mixing + 3, labels


def objective(weight: Tensor, bias: Tensor, rows: Tensor, labels: Tensor, penalty: float) -> float:
    losses = torch.nn.functional.cross_entropy(rows @ weight.T + bias, labels, reduction="sum")
    return float(losses + penalty / 2 * weight.square().sum())


def learn(rows: Tensor, labels: Tensor, penalty: float, **options: Any) -> LogisticRegression:
    return LogisticRegression(C=1 / penalty, **options).fit(rows.numpy(), labels.numpy())


@pytest.mark.parametrize("penalty", [1e-3, 0.1, 10.0, 1e3])
@pytest.mark.parametrize(("count", "dimensions", "classes"), [(300, 12, 5), (40, 60, 3), (120, 8, 2)])
def test_the_classifier_is_scikit_learns_at_its_optimum(
    count: int, dimensions: int, classes: int, penalty: float
) -> None:
    rows, labels = clusters(count, dimensions, classes)
    ours = Regression(rows, labels, classes).fit(penalty)
    theirs = learn(rows, labels, penalty, solver="newton-cholesky", tol=1e-10)
    np.testing.assert_allclose(
        ours.logits(rows).softmax(dim=1).numpy(), theirs.predict_proba(rows.numpy()), atol=1e-4
    )
    fresh, _ = clusters(1000, dimensions, classes, seed=1)
    agree = ours.logits(fresh).argmax(dim=1).numpy() == theirs.predict(fresh.numpy())
    assert agree.mean() >= 0.998


@pytest.mark.filterwarnings("ignore:lbfgs failed to converge")
def test_a_hundred_iterations_get_lower_than_a_thousand_of_scikit_learn() -> None:
    rows, labels = clusters(400, 30, 6)
    ours = Regression(rows, labels, 6).fit(0.01, start=None, iterations=100)
    theirs = learn(rows, labels, 0.01, max_iter=1000)
    reached = objective(
        torch.from_numpy(theirs.coef_), torch.from_numpy(theirs.intercept_), rows, labels, 0.01
    )
    assert objective(ours.weight, ours.bias, rows, labels, 0.01) <= reached


def test_a_start_elsewhere_ends_at_the_same_classifier() -> None:
    rows, labels = clusters(200, 10, 4)
    regression = Regression(rows, labels, 4)
    cold = regression.fit(0.1)
    warm = regression.fit(0.1, start=regression.fit(1e-4))
    torch.testing.assert_close(warm.logits(rows).softmax(1), cold.logits(rows).softmax(1), atol=1e-4, rtol=0)


def test_a_fit_that_starts_at_its_optimum_stays_there() -> None:
    rows, labels = clusters(30, 50, 4)
    regression = Regression(rows, labels, 4)
    found = regression.fit(0.1)
    torch.testing.assert_close(
        regression.fit(0.1, start=found, iterations=1).logits(rows), found.logits(rows)
    )


def test_a_fit_that_runs_out_of_iterations_says_so(caplog: pytest.LogCaptureFixture) -> None:
    rows, labels = clusters(200, 10, 4)
    with caplog.at_level(logging.INFO):
        Regression(rows, labels, 4).fit(1e-3, iterations=2)
    assert "penalty 0.001 stopped after 2 iterations" in caplog.text


def test_a_class_without_a_row_is_never_predicted_and_changes_nothing() -> None:
    rows, labels = clusters(90, 6, 3)
    spread = torch.tensor([0, 2, 5])[labels]
    six = Regression(rows, spread, 6).fit(1.0).logits(rows)
    three = Regression(rows, labels, 3).fit(1.0).logits(rows)
    torch.testing.assert_close(six[:, [0, 2, 5]], three)
    assert bool((six[:, [1, 3, 4]] == -torch.inf).all())


def test_rows_that_are_all_the_same_leave_the_shares_of_the_classes() -> None:
    logits = (
        Regression(torch.ones(10, 3), torch.tensor([0] * 7 + [1] * 2 + [2]), 3)
        .fit(1.0)
        .logits(torch.ones(1, 3))
    )
    torch.testing.assert_close(
        logits.softmax(dim=1), torch.tensor([[0.7, 0.2, 0.1]], dtype=torch.float64), atol=1e-4, rtol=0
    )


def test_one_class_alone_is_always_predicted() -> None:
    rows, _ = clusters(5, 4, 1)
    logits = Regression(rows, torch.full((5,), 1), 3).fit(1.0).logits(rows)
    assert logits.argmax(dim=1).tolist() == [1] * 5
